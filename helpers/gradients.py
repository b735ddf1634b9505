"""What instances that train together tell each other at every step: the gradients of their shares of the batch.

A gradient says for each weight in which direction the loss falls. Losses are means over photos, so the gradient of the
whole batch is the mean of the shares' gradients, each weighted by its photos. ``DistributedDataParallel`` takes the
plain mean: the same, where all shares are as large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

WEIGHTS = 4


@dataclass(frozen=True)
class Step:
    """One step of training: ``photos`` of each instance's share, its gradient (instances, weights), and the whole's."""

    photos: list[int]
    gradients: Any
    whole: Any

    @property
    def averaged(self) -> Any:
        """The plain mean over instances, (weights,)."""
        return self.gradients.mean(axis=0)

    @property
    def weighted(self) -> Any:
        """The mean over instances by their photos, (weights,)."""
        return np.average(self.gradients, axis=0, weights=self.photos)

    def rows(self) -> list[dict[str, Any]]:
        """For a table: each instance's gradient, their plain mean, and the gradient of the whole batch."""
        named = [*((f"algo-{n}", *one) for n, one in enumerate(zip(self.photos, self.gradients, strict=True), 1))]
        named += [("their average", sum(self.photos), self.averaged), ("one instance", sum(self.photos), self.whole)]
        return [
            {"gradient of": name, "photos": photos, **{f"weight {n}": round(float(w), 4) for n, w in enumerate(of, 1)}}
            for name, photos, of in named
        ]


def step(photos: int, instances: int, seed: int = 0) -> Step:
    """A batch of ``photos`` (four numbers each, of two classes) shared as evenly as can be; logistic loss."""
    random = np.random.default_rng(seed)
    inputs, labels = random.normal(size=(photos, WEIGHTS)), random.integers(2, size=photos)
    weights = random.normal(size=WEIGHTS)
    shares = np.array_split(np.arange(photos), instances)
    gradients = [_gradient(inputs[share], labels[share], weights) for share in shares]
    return Step([len(share) for share in shares], np.array(gradients), _gradient(inputs, labels, weights))


def _gradient(inputs: Any, labels: Any, weights: Any) -> Any:
    probabilities = 1 / (1 + np.exp(-inputs @ weights))
    return (probabilities - labels) @ inputs / len(labels)
