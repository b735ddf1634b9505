"""What the series costs: a dated price list, an estimate before anything starts, the bill of what ran.

On the embedded AWS nothing is charged; its figures say what the same seconds would have cost on AWS.
"""

from __future__ import annotations

from dataclasses import dataclass

# On-demand prices of us-east-1 in USD an hour, from the AWS Price List on this date. Spot has no list price: the
# figure is the managed-spot price the project this series starts from paid, and moves with the market.
DATED = "2026-11"
REGION = "us-east-1"
HOURLY = {
    "ml.t3.medium": 0.05,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.m5.xlarge": 0.23,
    "ml.g4dn.xlarge": 0.7364,
    "ml.g5.xlarge": 1.408,
}
SPOT_HOURLY = {"ml.c5.2xlarge": 0.174}
LAMBDA_GB_SECOND = 0.0000166667
LAMBDA_REQUEST = 0.20 / 1e6
S3_GB_MONTH = 0.023


class UnknownPrice(KeyError):
    """The price list has no such instance type; choose one it has, or add its price with a date."""


@dataclass(frozen=True)
class Line:
    """One line of an estimate or a bill."""

    what: str
    quantity: float
    unit: str
    usd: float


def instance(what: str, instance_type: str, count: int, seconds: float, spot: bool = False) -> Line:
    """``count`` instances for ``seconds`` billable seconds each; raises :class:`UnknownPrice`."""
    return Line(
        what, count * seconds / 3600, f"h {instance_type}", count * seconds / 3600 * hourly(instance_type, spot)
    )


def function(what: str, requests: int, seconds: float, memory_mb: int) -> Line:
    """``requests`` invocations of ``seconds`` billed in all, at a memory size."""
    gb_seconds = seconds * memory_mb / 1024
    return Line(what, gb_seconds, "GB-s", gb_seconds * LAMBDA_GB_SECOND + requests * LAMBDA_REQUEST)


def storage(what: str, size_bytes: float, days: float) -> Line:
    """``size_bytes`` in S3 for ``days``."""
    return Line(what, size_bytes / 1e9, "GB", size_bytes / 1e9 * S3_GB_MONTH * days / 30)


def hourly(instance_type: str, spot: bool = False) -> float:
    """USD an hour for one instance; raises :class:`UnknownPrice`."""
    try:
        return (SPOT_HOURLY if spot else HOURLY)[instance_type]
    except KeyError:
        raise UnknownPrice(f"{instance_type}{' (spot)' if spot else ''} is not in the price list of {DATED}") from None


def total(lines: list[Line]) -> float:
    """USD of all lines."""
    return sum(line.usd for line in lines)


def within_budget(lines: list[Line], budget_usd: float) -> list[Line]:
    """The lines, if they fit the budget; raises ``ValueError`` before anything is started if they do not."""
    if total(lines) > budget_usd:
        raise ValueError(
            f"this would cost ${total(lines):.2f}, above the budget of ${budget_usd:.2f}; nothing was started"
        )
    return lines
