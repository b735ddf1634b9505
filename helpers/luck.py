"""What choosing on the test photos measures: luck. Models that know nothing, judged, chosen, and judged again.

The most of many chance results is well above chance. So photos that took part in a choice (of a learning rate, an
epoch, a network) can no longer tell how good the chosen model is; fresh ones can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FRESH_PHOTOS = 100_000


@dataclass(frozen=True)
class Chosen:
    """The best of many guessers: ``top1`` is every one's accuracy on the test photos, (guessers,)."""

    top1: Any
    photos: int
    classes: int
    fresh: float

    @property
    def best(self) -> float:
        """The accuracy of the chosen one on the photos that it was chosen on."""
        return float(self.top1.max())

    @property
    def chance(self) -> float:
        """What guessing gets right in the long run."""
        return 1 / self.classes


def choose(guessers: int, photos: int, classes: int, seed: int = 0) -> Chosen:
    """Have ``guessers`` models guess the class of each of ``photos``, choose the best, and show it fresh photos."""
    random = np.random.default_rng(seed)
    right = random.integers(classes, size=(guessers, photos)) == random.integers(classes, size=photos)
    # The chosen one guesses on fresh photos as it did before: it knows nothing that could be taken along.
    fresh = random.integers(classes, size=FRESH_PHOTOS) == random.integers(classes, size=FRESH_PHOTOS)
    return Chosen(right.mean(axis=1), photos, classes, float(fresh.mean()))


def margin(accuracy: float, photos: int) -> float:
    """How far the accuracy on so many photos may be from the true one: 1.96 standard errors, right 19 times of 20.

    >>> round(margin(0.9, 120), 3)
    0.054
    """
    return float(1.96 * np.sqrt(accuracy * (1 - accuracy) / photos))
