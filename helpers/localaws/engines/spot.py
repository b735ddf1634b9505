"""The spot market: when it takes a job's instances back, for how long there are none, and what they cost.

On AWS a market decides; here a setting does (``up --spot-interruptions N|none|random``), so that what an interruption
does to a job can be seen whenever somebody wants to see it:

- ``N`` (1 by default): the first N times that a job has a checkpoint in S3 which it wrote since its last start. A job
  that never writes one is not interrupted: all that could be shown is that it starts from scratch.
- ``random``: at times drawn from the job's name, a minute apart on average at first, checkpoint or not.
- ``none``: never.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

# What a second on spot costs, in seconds on demand. AWS's share moves with its market; this is the one that the project
# this series starts from paid for ml.c5.2xlarge, 0.174 of 0.408 USD an hour.
SHARE = 0.174 / 0.408
SHORTEST_WAIT, LONGEST_WAIT = 10.0, 30.0  # seconds without capacity
MEAN_RUN = 60.0  # seconds
RANDOM, NEVER = "random", "none"
FILE = "spot-interruptions"


@dataclass(frozen=True)
class SpotMarket:
    """How often each job is interrupted: ``interruptions`` times, or at ``random``."""

    interruptions: int = 1
    random: bool = False

    @classmethod
    def parse(cls, text: str) -> SpotMarket:
        """Read ``N``, ``none`` or ``random``; raises ``ValueError`` for anything else."""
        if text == RANDOM:
            return cls(0, random=True)
        if text == NEVER:
            return cls(0)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"{text!r} is neither a number nor 'none' nor 'random'")
        return cls(int(text))

    @classmethod
    def of(cls, folder: Path) -> SpotMarket:
        """The market that a state folder is set to."""
        try:
            return cls.parse((folder / FILE).read_text())
        except FileNotFoundError:
            return cls()


class SpotPlan:
    """What the market does to one job, from its start to its end; the same for every job of that name."""

    def __init__(self, market: SpotMarket, job: str) -> None:
        self.interruptions = 0
        self._market, self._job, self._taken = market, job, False

    def seconds(self) -> float | None:
        """How long the instances stay this time, in seconds of running; None for as long as they are wanted."""
        if not self._market.random:
            return None
        # Twice as long each time: a job that writes no checkpoints comes to its end some day, too.
        return self._drawn("run").expovariate(1 / (MEAN_RUN * 2**self.interruptions))

    def checkpoint_saved(self) -> bool:
        """Say that a checkpoint of this attempt is in S3; True, once an attempt, where the instances go for it."""
        take = not self._taken and self.interruptions < self._market.interruptions
        self._taken = self._taken or take
        return take

    def interrupted(self) -> float:
        """Say that the instances are gone; returns for how many seconds there are no others."""
        wait = self._drawn("wait").uniform(SHORTEST_WAIT, LONGEST_WAIT)
        self.interruptions += 1
        self._taken = False
        return wait

    def _drawn(self, what: str) -> random.Random:
        return random.Random(f"{self._job}/{self.interruptions}/{what}")


def billable(seconds: int) -> int:
    """BillableTimeInSeconds of spot instances that were there for ``seconds``.

    AWS bills a spot job as fewer seconds at the on-demand price, not as all of them at a lower price: that is why its
    savings are (1 - BillableTimeInSeconds / TrainingTimeInSeconds) x 100 %. Whoever multiplies billable seconds with a
    spot price counts the discount twice.
    """
    return math.ceil(seconds * SHARE)
