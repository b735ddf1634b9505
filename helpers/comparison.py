"""Ways to train the same model side by side: time, money, what an accuracy cost, and when one more instance pays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

HOUR = 3600.0


@dataclass(frozen=True)
class Run:
    """One way to train, and what came of it. ``history`` and ``top1`` (of the test) are the training report's.

    ``billable_seconds`` are those of each instance, as AWS tells them: of a spot job they are fewer than it trained,
    so that ``usd_per_hour`` is the on-demand price for spot jobs too.
    """

    name: str
    instance_type: str
    instances: int
    wall_seconds: float
    training_seconds: float
    billable_seconds: float
    usd_per_hour: float
    top1: float
    history: Sequence[Mapping[str, Any]] = field(repr=False)

    @classmethod
    def of(cls, name: str, summary: Mapping[str, Any], report: Mapping[str, Any], usd_per_hour: float) -> Run:
        """From a ``summary`` of helpers.training or helpers.compute and the training program's report."""
        return cls(
            name,
            str(summary["instance_type"]),
            int(summary["instance_count"]),
            float(summary["wall_seconds"]),
            float(summary["training_seconds"]),
            float(summary["billable_seconds"]),
            usd_per_hour,
            float(report["test"]["top1"]),
            report["history"],
        )

    @property
    def usd(self) -> float:
        """What the run cost."""
        return self.instances * self.billable_seconds / HOUR * self.usd_per_hour

    @property
    def loop_seconds(self) -> float:
        """Seconds of all epochs."""
        return float(sum(entry["seconds"] for entry in self.history))

    def curve(self) -> list[tuple[float, float]]:
        """After each epoch: USD spent since the start, and validation accuracy.

        What comes before the first epoch (starting, downloading, work that an interruption cost) is spent before it.
        """
        # The test after the last epoch, and the upload, belong to the bill but not to reaching an accuracy.
        elapsed = max(0.0, self.training_seconds - self.loop_seconds)
        usd_per_second = self.usd / max(self.training_seconds, self.loop_seconds)
        points = []
        for entry in self.history:
            elapsed += entry["seconds"]
            points.append((elapsed * usd_per_second, float(entry["valid"]["top1"])))
        return points

    def usd_to_reach(self, accuracy: float) -> float | None:
        """USD spent when validation accuracy first was at least ``accuracy``; None if it never was."""
        return next((usd for usd, reached in self.curve() if reached >= accuracy), None)


def table(runs: Sequence[Run], accuracy: float) -> list[dict[str, Any]]:
    """A row for each run; ``accuracy`` is the validation accuracy whose price is told."""
    return [
        {
            "run": run.name,
            "instances": f"{run.instances} x {run.instance_type}",
            "wall s": round(run.wall_seconds),
            "billable s": round(run.billable_seconds),
            "$/h": run.usd_per_hour,
            "$": round(run.usd, 5),
            f"$ to {accuracy:.0%}": "never" if (usd := run.usd_to_reach(accuracy)) is None else f"{usd:.5f}",
            "test top-1": run.top1,
        }
        for run in runs
    ]


def margin(accuracy: float, photos: int) -> float:
    """How far an accuracy on so many photos may be from the true one: 1.96 standard errors, right 19 times of 20.

    >>> round(margin(0.9, 120), 3)
    0.054
    """
    return 1.96 * math.sqrt(accuracy * (1 - accuracy) / photos)


def common_accuracy(runs: Sequence[Run]) -> float:
    """The highest validation accuracy that every run has reached: what they can all be priced by."""
    return min(max(float(entry["valid"]["top1"]) for entry in run.history) for run in runs)


@dataclass(frozen=True)
class Scaling:
    """How training spreads over instances, by Amdahl's law from two measured runs of the same work.

    ``serial`` is the share of one instance's epoch that more instances do not shorten: what each must do for itself,
    and what they say to each other. ``spot`` is the price of a spot second as a share of an on-demand one.
    """

    serial: float
    spot: float

    @classmethod
    def measured(cls, one: Run, more: Run) -> Scaling:
        """From the epochs of a run on one instance and of a run on several. Raises ``ValueError`` for unequal work."""
        if len(one.history) != len(more.history) or one.instances != 1 or more.instances < 2:
            raise ValueError("one run on one instance and one on several, of as many epochs, tell how training scales")
        n = more.instances
        share = more.loop_seconds / one.loop_seconds  # of one instance's time that n instances take
        spot = more.billable_seconds / more.training_seconds if more.training_seconds else 1.0
        return cls(max(0.0, (n * share - 1) / (n - 1)), spot)

    def time(self, instances: int) -> float:
        """Time of the epochs on so many instances, as a share of that on one."""
        return self.serial + (1 - self.serial) / instances

    def cost(self, instances: int, *, spot: bool) -> float:
        """Cost of the epochs on so many instances, as a share of that on one on-demand instance."""
        return instances * self.time(instances) * (self.spot if spot else 1.0)

    @property
    def most_serial(self) -> float:
        """A second spot instance costs no more than one on-demand instance while ``serial`` is at most this.

        2 x time(2) x spot = (1 + serial) x spot <= 1.
        """
        return 1 / self.spot - 1

    def instances(self, most: int = 4) -> list[dict[str, Any]]:
        """A row for each number of instances: time and costs against one on-demand instance."""
        return [
            {
                "instances": n,
                "time": round(self.time(n), 3),
                "cost on demand": round(self.cost(n, spot=False), 3),
                "cost on spot": round(self.cost(n, spot=True), 3),
                "cheaper than one on demand": self.cost(n, spot=True) < 1,
            }
            for n in range(1, most + 1)
        ]
