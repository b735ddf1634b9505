"""The figures of money: what there is to choose, what is planned, what was billed, what goes on. In charts' style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .charts import BLUE, GREY, ORANGE, SERIES, SKY, VERMILION, in_style, new_figure
from .costs import Choice, Line, total

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 12
SMALL = 0.0001  # USD


def prices(choices: Sequence[Choice]) -> Figure:
    """USD an hour of instance types, cheapest on top; the chosen one dark, the price on spot as a mark."""
    rows = sorted(choices, key=lambda one: -one.usd_hour)
    with in_style():
        figure, axes = new_figure(0.9 + 0.28 * len(rows))
        ax = axes[0, 0]
        for place, row in enumerate(rows):
            size = f"{row.vcpu} vCPU, {row.gib:g} GiB" if row.vcpu and row.gib else ""
            ax.barh(place, row.usd_hour, color=BLUE if row.marked else SKY, height=0.7)
            told = f"${row.usd_hour:.3f}  {size}" + ("  chosen" if row.marked else "")
            ax.annotate(told, (row.usd_hour, place), (5, 0), textcoords="offset points", va="center", size=8)
        spot = [(row.spot_usd_hour, place) for place, row in enumerate(rows) if isinstance(row.spot_usd_hour, float)]
        if spot:
            ax.plot(*zip(*spot, strict=True), "D", color=ORANGE, mec="white", ms=6, label="on spot")
            ax.legend(loc="upper right")
        ax.set_yticks(range(len(rows)), [row.type for row in rows])
        ax.set(xlabel="USD an hour", xlim=(0, 1.35 * max(row.usd_hour for row in rows)))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.set_axisbelow(True)
    return figure


def lines(given: Sequence[Line], budget: float | None = None) -> Figure:
    """Lines of an estimate or a bill, the dearest on top; many are put together by what they are. Budget: dashed."""
    amounts = _amounts(given)
    with in_style():
        figure, axes = new_figure(0.9 + 0.3 * max(1, len(amounts)))
        ax = axes[0, 0]
        for place, usd in enumerate(amounts.values()):
            ax.barh(-place, usd, color=BLUE, height=0.7)
            told = f"${usd:.4f}" if usd >= SMALL else f"less than ${SMALL}"
            ax.annotate(told, (usd, -place), (4, 0), textcoords="offset points", va="center", size=8)
        ax.set_yticks([-place for place in range(len(amounts))], list(amounts))
        most = max([*amounts.values(), budget or 0.0], default=0.0)
        if budget:
            ax.axvline(budget, color=VERMILION, lw=1.5, ls="--")
            ax.annotate(
                f"budget ${budget:.2f}", (budget, 0), (-4, 0), textcoords="offset points", ha="right", color=VERMILION
            )
        ax.set(xlabel="USD", title=f"${total(given):.4f} together", xlim=(0, 1.15 * most or 1))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.set_axisbelow(True)
    return figure


def _amounts(given: Sequence[Line]) -> Mapping[str, float]:
    """USD by name, the dearest first; where there are too many names, by their first word."""
    named = [(line.what, line.usd) for line in given]
    if len(named) > MOST_BARS:
        named = [(name.split(" ")[0].rstrip(","), usd) for name, usd in named]
    sums: dict[str, float] = {}
    for name, usd in named:
        sums[name] = sums.get(name, 0.0) + usd
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def forgotten(meters: Sequence[Line], days: int = 30, budget: float | None = None) -> Figure:
    """What meters (lines of one hour each) come to if nobody ends them, stacked, over so many days; budget: dashed."""
    ends = [day for day in (2, 7, 30) if day <= days]
    with in_style():
        figure, axes = new_figure(3.0)
        ax, hour = axes[0, 0], total(meters)
        if meters:
            tops = [[0.0, line.usd * 24 * days] for line in meters]
            names = [f"{line.what}: ${line.usd:.3f} an hour" for line in meters]
            ax.stackplot([0, days], *tops, labels=names, colors=SERIES, alpha=0.75)
            ax.legend(loc="upper left")
        for day in ends:
            ax.plot([day], [hour * 24 * day], "o", color=VERMILION, clip_on=False)
            told = f"${hour * 24 * day:,.0f} after {day} days"
            side, shift = ("left", (-8, 22)) if day < 0.2 * days else ("right", (-6, 8))  # off the axis at the left
            ax.annotate(told, (day, hour * 24 * day), shift, textcoords="offset points", ha=side, size=8)
        if budget:
            ax.axhline(budget, color=GREY, lw=1.5, ls="--")
            ax.annotate(f"budget ${budget:.2f}", (days, budget), (0, 3), textcoords="offset points", ha="right", size=8)
        ax.set(xlabel="days", title="USD, if nobody ends it", xlim=(0, days), ylim=(0, None))
        ax.grid()
        ax.set_axisbelow(True)
    return figure
