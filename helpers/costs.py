"""What the series costs: the choices with their prices, an estimate before anything starts, the bill of what ran.

On the embedded AWS nothing is charged; its figures say what the same seconds would have cost on AWS. Where the prices
are from stands in every row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import usage
from .prices import EC2, LAMBDA, S3, PriceList, UnknownPrice, snapshot

if TYPE_CHECKING:
    from .cloud import Cloud

# The sizes that a reader may want to choose from, by what they are for.
CHOICES = {
    "training": "ml.m5.xlarge ml.c5.xlarge ml.c5.2xlarge ml.c5.4xlarge ml.g4dn.xlarge ml.g5.xlarge".split(),
    "endpoint": "ml.t2.medium ml.m5.large ml.c5.large ml.c5.xlarge ml.c5.2xlarge ml.g4dn.xlarge".split(),
    "notebook": "ml.t3.medium ml.t3.large ml.t3.xlarge ml.m5.xlarge".split(),
    "ec2": "t3.medium c5.large c5.xlarge c5.2xlarge g4dn.xlarge".split(),
}
# What costs by the hour or the second.
HOURLY = ("training", "endpoint", "notebook instance", "EC2", "function")
SPOT_KINDS = ("training", "ec2")


class OverBudget(ValueError):
    """What is to start would take the project over its budget; nothing was started."""


@dataclass(frozen=True)
class Line:
    """One line of an estimate or a bill; ``source`` says where its price is from."""

    what: str
    quantity: float
    unit: str
    usd: float
    source: str = ""


@dataclass(frozen=True)
class Choice:
    """One instance type to choose: virtual CPUs, GiB of memory, USD an hour; ``marked`` where it is the chosen one."""

    marked: str
    type: str
    vcpu: int | None
    gib: float | None
    usd_hour: float
    spot_usd_hour: float | str
    source: str


# ---- before ----


def choices(cloud: Cloud, kind: str, chosen: str) -> list[Choice]:
    """The instance types for a ``kind`` (training, endpoint, notebook, ec2) with their prices, the chosen one marked.

    Raises :class:`UnknownPrice` where the chosen one has no price.
    """
    rows = []
    for name in dict.fromkeys([*CHOICES[kind], chosen]):
        try:
            price = cloud.prices.instance(kind, name)
        except UnknownPrice:
            if name == chosen:
                raise
            continue
        spot = _spot_hour(cloud.prices, kind, name)
        mark = "→" if name == chosen else ""
        rows.append(Choice(mark, name, price.vcpu, price.memory_gib, price.usd, spot, price.source))
    return sorted(rows, key=lambda row: row.usd_hour)


def _spot_hour(prices: PriceList, kind: str, name: str) -> float | str:
    try:
        return prices.instance(kind, name, spot=True).usd if kind in SPOT_KINDS else "-"
    except UnknownPrice:
        return "-"


def instance(
    what: str,
    instance_type: str,
    count: int,
    seconds: float,
    spot: bool = False,
    *,
    kind: str = "training",
    prices: PriceList | None = None,
) -> Line:
    """``count`` instances for ``seconds`` each, by default at the snapshot's prices; raises :class:`UnknownPrice`.

    ``spot`` is for estimates. The *billable* seconds of a spot training job already are what is paid: charge them
    without it.
    """
    price = (prices or snapshot()).instance(kind, instance_type, spot)
    hours = count * seconds / 3600
    return Line(what, hours, f"h {instance_type}", hours * price.usd, price.source)


def function(what: str, requests: int, seconds: float, memory_mb: int, prices: PriceList | None = None) -> Line:
    """``requests`` invocations of ``seconds`` billed in all, at a memory size."""
    listed = prices or snapshot()
    run, request = listed.of(LAMBDA, "Lambda-GB-Second"), listed.of(LAMBDA, "Request")
    gb_seconds = seconds * memory_mb / 1024
    return Line(what, gb_seconds, "GB-s", gb_seconds * run.usd + requests * request.usd, run.source)


def provisioned(
    what: str, count: int, hours: float, memory_mb: int, busy_seconds: float = 0.0, prices: PriceList | None = None
) -> Line:
    """``count`` provisioned environments for some hours, idle or not, and the seconds in which they were at work.

    What is at work there costs less than on demand; charge those invocations' requests by :func:`function` with 0 s.
    """
    listed = prices or snapshot()
    wait, run = listed.of(LAMBDA, "Lambda-Provisioned-Concurrency"), listed.of(LAMBDA, "Lambda-Provisioned-GB-Second")
    gb_seconds = count * hours * 3600 * memory_mb / 1024
    usd = gb_seconds * wait.usd + busy_seconds * memory_mb / 1024 * run.usd
    return Line(what, gb_seconds, "GB-s provisioned", usd, wait.source)


def storage(what: str, size_bytes: float, days: float, prices: PriceList | None = None) -> Line:
    """``size_bytes`` in S3 for ``days``."""
    price = (prices or snapshot()).of(S3, "TimedStorage-ByteHrs")
    months = size_bytes / 2**30 * days / usage.MONTH_DAYS
    return Line(what, months, "GB-month", months * price.usd, price.source)


def volume(what: str, gigabytes: float, hours: float, prices: PriceList | None = None) -> Line:
    """An EBS gp3 volume for some hours."""
    price = (prices or snapshot()).of(EC2, "EBS:VolumeUsage.gp3")
    months = gigabytes * hours / (24 * usage.MONTH_DAYS)
    return Line(what, months, "GB-month", months * price.usd, price.source)


def total(lines: Iterable[Line]) -> float:
    """USD of all lines."""
    return sum(line.usd for line in lines)


def within_budget(lines: list[Line], budget_usd: float, spent_usd: float = 0.0) -> list[Line]:
    """The lines, if they fit what is left of the budget; raises :class:`OverBudget` before anything is started."""
    if spent_usd + total(lines) > budget_usd:
        spent = f", with ${spent_usd:.2f} spent already," if spent_usd else ""
        raise OverBudget(
            f"this would cost ${total(lines):.2f}{spent} above the budget of ${budget_usd:.2f}; nothing was started. "
            "Raise budget_usd, choose a smaller instance type, or tear down what is not needed"
        )
    return lines


def estimate(cloud: Cloud, *lines: Line) -> list[Line]:
    """What the project has cost so far and what is to start, as rows to show; raises :class:`OverBudget`.

    Storage is left out of what it has cost: to list a bucket takes longer than its cents are worth here.
    """
    so_far = total(bill(cloud, *HOURLY))
    within_budget(list(lines), cloud.settings.budget_usd, so_far)
    spent = [Line("spent so far", 1.0, cloud.settings.project, so_far, "the bill")] if so_far else []
    return [*spent, *lines]


# ---- after ----


def bill(cloud: Cloud, *about: str) -> list[Line]:
    """What the project has cost: one line for each thing that is still to be found in the cloud, by tag and name.

    Training jobs (trials too) by billable seconds, endpoints and instances from start to end or now, functions by the
    REPORT lines of their logs, storage by age. Not in it: requests to S3, CloudWatch, and traffic, which are cents.
    ``about`` chooses lines by how they begin: ``training``, ``endpoint dog-breeds``, ``function``, ``EC2``, ``bucket``.
    """
    lines = []
    for used in usage.find(cloud, *about):
        price = cloud.prices.of(used.service, used.usage_type)
        lines.append(Line(used.what, used.quantity, used.unit, used.quantity * price.usd, price.source))
    return lines
