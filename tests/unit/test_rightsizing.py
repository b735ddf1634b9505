"""What would do instead of the instance that was measured."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers import charts
from helpers.costs import Choice
from helpers.metrics import Use, rightsize

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def choice(name: str, vcpu: int | None, gib: float | None, usd: float) -> Choice:
    return Choice("", name, vcpu, gib, usd, "-", "a test")


CHOICES = [
    choice("ml.c5.2xlarge", 8, 16, 0.408),
    choice("ml.c5.xlarge", 4, 8, 0.204),
    choice("ml.c5.large", 2, 4, 0.1),
    choice("ml.t3.medium", 2, 4.5, 0.05),
    choice("ml.m5.large", 1, 8, 0.12),
    choice("ml.new.large", None, None, 0.01),
]


def rows(cpu: float, memory: float, hosts: int = 1) -> list[Use]:
    """Twenty looks; the peaks are in the middle."""
    return [
        Use(f"algo-{host + 1}", NOON + timedelta(seconds=2 * i), cpu if i == 10 else 1, memory if i == 10 else 5, 20)
        for host in range(hosts)
        for i in range(20)
    ]


def test_each_candidate_is_judged_by_the_peaks() -> None:
    fits = rightsize(rows(cpu=190, memory=26), "ml.c5.2xlarge", CHOICES)
    assert [fit.type for fit in fits] == ["ml.t3.medium", "ml.c5.large", "ml.m5.large", "ml.c5.xlarge", "ml.c5.2xlarge"]
    verdicts = {fit.type: (fit.fits, fit.why) for fit in fits}
    assert verdicts == {
        "ml.t3.medium": (False, "memory peak 4.2 of 4.5 GiB: less than 20% to spare"),
        "ml.c5.large": (False, "memory peak 4.2 of 4 GiB: would be killed"),
        "ml.m5.large": (False, "memory peak 4.2 of 8 GiB; slower: 1.9 cores were busy, it has 1"),
        "ml.c5.xlarge": (True, "memory peak 4.2 of 8 GiB; 1.9 of 4 vCPUs were busy"),
        "ml.c5.2xlarge": (True, "memory peak 4.2 of 16 GiB; 1.9 of 8 vCPUs were busy"),
    }


def test_nothing_is_argued_from_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        rightsize([], "ml.c5.2xlarge", CHOICES)
    with pytest.raises(ValueError, match=r"ml\.g5\.xlarge, which was measured, is not among"):
        rightsize(rows(100, 10), "ml.g5.xlarge", CHOICES)
    with pytest.raises(ValueError, match="nothing was measured"):
        charts.utilisation([])


def test_the_figure_has_a_line_for_each_host_and_the_limits_that_matter() -> None:
    figure = charts.utilisation(rows(cpu=190, memory=26, hosts=2), "ml.c5.2xlarge", CHOICES)
    cpu, memory, disk = figure.axes
    assert [line.get_label() for line in cpu.lines[:2]] == ["algo-1", "algo-2"]
    assert cpu.lines[0].get_ydata().max() == 1.9  # type: ignore[union-attr]
    assert memory.lines[0].get_ydata().max() == pytest.approx(0.26 * 16)  # type: ignore[union-attr]
    assert sorted(line.get_ydata()[0] for line in cpu.lines[2:]) == [1, 2, 4]  # type: ignore[index]
    assert sorted(line.get_ydata()[0] for line in memory.lines[2:]) == [4, 4.5, 8]  # type: ignore[index]
    assert [text.get_text() for text in disk.texts] == ["full"]
    assert charts.utilisation(rows(190, 26)).axes[1].get_title(loc="left") == "memory, %"
