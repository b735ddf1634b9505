"""When a trial is not worth going on with: the median rule.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

FEWEST = 3  # trials that a median is taken of; of fewer, it says little (AWS does not tell how many it asks for)


def falls_behind(values: Sequence[float], others: Sequence[Sequence[float]], *, maximise: bool) -> bool:
    """Whether a trial's newest value is worse than the median of the others' running averages up to the same epoch.

    ``values`` are the trial's objective, one for each epoch so far; ``others`` those of trials that have completed.
    """
    epoch = len(values)
    averages = [fmean(other[:epoch]) for other in others if len(other) >= epoch > 0]
    if len(averages) < FEWEST:
        return False
    middle = median(averages)
    return values[-1] < middle if maximise else values[-1] > middle
