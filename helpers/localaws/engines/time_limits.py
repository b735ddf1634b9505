"""For how long a training job may run, and for how long it may take in all.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .clock import Clock
from .training_cluster import Ending


class TimeLimits:
    """A job's StoppingCondition. ``MaxRuntimeInSeconds`` is for the training of all attempts together, and for nothing
    between them; ``MaxWaitTimeInSeconds`` (spot jobs) for everything from the job's creation on. Both are true seconds:
    what a job computes is no waiting of AWS's that a time scale could make shorter.
    """

    def __init__(self, condition: dict[str, Any], clock: Clock) -> None:
        self._clock, self._began, self._ran = clock, clock.monotonic(), 0.0
        self._runtime: float = condition["MaxRuntimeInSeconds"]
        self._wait: float | None = condition.get("MaxWaitTimeInSeconds")

    def left(self) -> dict[Ending, float]:
        """Seconds until each limit is reached by a job that runs from now on; not below 0."""
        left = {Ending.MAX_RUNTIME: self._runtime - self._ran}
        if self._wait is not None:
            left[Ending.MAX_WAIT] = self._wait - (self._clock.monotonic() - self._began)
        return {ending: max(0.0, seconds) for ending, seconds in left.items()}

    @property
    def up(self) -> Ending | None:
        """The limit that a job which is not running has reached, if any."""
        return next((ending for ending, seconds in self.left().items() if seconds == 0), None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside as run."""
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._ran += self._clock.monotonic() - began
