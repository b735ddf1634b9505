"""How many environments of a function are busy at once, moment by moment, when requests come as they please.

The rate times the duration is the mean (Little's law). Requests do not come evenly, so there are often more at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Busy:
    """A simulated load: after each arrival or end, at ``at`` seconds, ``environments`` are busy."""

    at: Any
    environments: Any
    rate: float
    duration: float

    @property
    def mean(self) -> float:
        """How many are busy on average over time."""
        return float(np.average(self.environments[:-1], weights=np.diff(self.at)))

    @property
    def most(self) -> int:
        """How many were ever busy at once."""
        return int(self.environments.max())

    def within(self, provisioned: int) -> float:
        """The share of requests that find one of so many environments idle; the others wait for one that is started."""
        before = self.environments[self._arrivals] - 1
        return float((before < provisioned).mean())

    @property
    def _arrivals(self) -> Any:
        return np.flatnonzero(np.diff(self.environments, prepend=0) > 0)


def simulate(rate: float, duration: float, seconds: float = 60.0, seed: int = 0) -> Busy:
    """``rate`` requests a second at random moments (a Poisson process) for ``seconds``, each ``duration`` seconds long.

    Raises ``ValueError`` where not one request comes.
    """
    random = np.random.default_rng(seed)
    arrivals = np.sort(random.uniform(0, seconds, random.poisson(rate * seconds)))
    if not len(arrivals):
        raise ValueError(f"{rate:g} requests a second are none in {seconds:g} seconds")
    at = np.concatenate([arrivals, arrivals + duration])
    order = np.argsort(at, kind="stable")
    change = np.repeat([1, -1], len(arrivals))[order]
    return Busy(at[order], np.cumsum(change), rate, duration)
