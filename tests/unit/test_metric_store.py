"""Statistics against brute force, and what the store keeps, how finely and for how long."""

import json
import math
import statistics as plain
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.cloudwatch import Metrics, metric
from helpers.localaws.engines.cloudwatch.points import COUNT, MAX, MIN, SUM, TIME, by_minute, condense, value_rows
from helpers.localaws.engines.cloudwatch.statistics import Periods, known, parse

NOW = 1_800_000_000.0
BARKS = metric("us-east-1", "Dogs", "Barks", {"Breed": "Beagle"})
SAMPLES = st.lists(
    st.tuples(st.integers(0, 5 * 60 - 1), st.integers(-20, 20), st.integers(1, 4)), min_size=1, max_size=40
)


def one_by_one(samples: list[tuple[int, int, int]]) -> dict[int, list[float]]:
    """Every single value, by minute."""
    found: dict[int, list[float]] = {}
    for second, value, count in samples:
        found.setdefault(second // 60, []).extend([float(value)] * count)
    return {minute: sorted(values) for minute, values in sorted(found.items())}


def counted(samples: list[tuple[int, int, int]], statistic: str) -> dict[int, float]:
    rows = np.concatenate([value_rows(float(second), [value], [count], 60) for second, value, count in samples])
    periods = Periods(rows, 0.0, 60.0)
    return dict(zip(periods.indices.tolist(), periods.statistic(statistic).tolist(), strict=True))


@given(SAMPLES)
def test_simple_statistics_are_those_of_the_single_values(samples):
    by = {"SampleCount": len, "Sum": sum, "Average": plain.fmean, "Minimum": min, "Maximum": max}
    for name, function in by.items():
        expected = {minute: function(values) for minute, values in one_by_one(samples).items()}
        assert counted(samples, name) == pytest.approx(expected)


@given(SAMPLES, st.integers(1, 100))
def test_a_percentile_is_the_sample_of_that_rank(samples, percent):
    for minute, found in counted(samples, f"p{percent}").items():
        values = one_by_one(samples)[minute]
        assert found == values[max(0, math.ceil(len(values) * percent / 100 - 1e-9) - 1)]


@given(SAMPLES, st.integers(-20, 19), st.integers(1, 20))
def test_bounds_in_values_are_above_the_low_and_up_to_the_high(samples, low, width):
    high = low + width
    for minute, values in one_by_one(samples).items():
        inside = [value for value in values if low < value <= high]
        if low < 0:  # bounds are written without a sign
            continue
        bounds = f"({low}:{high})"
        assert counted(samples, f"TC{bounds}")[minute] == len(inside)
        assert counted(samples, f"TS{bounds}")[minute] == sum(inside)
        assert counted(samples, f"PR{bounds}")[minute] == pytest.approx(100 * len(inside) / len(values))
        trimmed = counted(samples, f"TM{bounds}")[minute]
        assert trimmed == pytest.approx(plain.fmean(inside)) if inside else math.isnan(trimmed)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("tm90", 5.0),  # 1…9
        ("TM(10%:90%)", 5.5),  # 2…9
        ("TM(25%:75%)", 5.5),
        ("IQM", 5.5),
        ("tc90", 9),
        ("ts90", 45),
        ("wm90", 5.4),  # 1…9 and 9
        ("WM(10%:90%)", (1 + 44 + 9) / 10),
        ("PR(:3)", 30),
        ("PR(3:)", 70),
        ("TS(3:7)", 22),
        ("p100", 10),
        ("p0.1", 1),
    ],
)
def test_trimmed_and_winsorized_statistics_of_one_to_ten(statistic, expected):
    assert counted([(0, value, 1) for value in range(1, 11)], statistic) == {0: pytest.approx(expected)}


@pytest.mark.parametrize("name", ["p101", "p", "average", "TM(90%:10%)", "TM(10%:5)", "TM(:)", "PR(10%:)", "", "sum"])
def test_what_is_no_statistic(name):
    assert not known(name)
    assert parse(name) is None


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 9)), min_size=1, max_size=600))
def test_condensed_values_have_the_same_sum_count_and_extremes_and_nearly_the_same_percentiles(samples):
    values, counts = np.array(samples, np.float64).T
    few, weights = condense(values, counts)
    assert weights.sum() == counts.sum()
    assert (few * weights).sum() == pytest.approx((values * counts).sum(), abs=1e-3)
    assert (few.min(), few.max()) == (values.min(), values.max())
    single = np.sort(np.repeat(values, counts.astype(int)))
    again = np.sort(np.repeat(few, weights.astype(int)))
    assert np.allclose(single, again, rtol=0.011, atol=1e-9)


@given(SAMPLES)
def test_a_tidied_minute_counts_as_before(samples):
    rows = np.concatenate([value_rows(float(second), [value], [count], 1) for second, value, count in samples])
    tidy = by_minute(rows, before=180.0)
    assert by_minute(tidy, before=180.0).shape == tidy.shape
    assert all(time % 60 == 0 or time >= 180 for time in tidy[:, TIME])
    for name in ("SampleCount", "Sum", "Minimum", "Maximum", "p50", "tm90"):
        before, after = Periods(rows, 0.0, 60.0), Periods(tidy, 0.0, 60.0)
        assert after.statistic(name) == pytest.approx(before.statistic(name), nan_ok=True)
        assert before.indices.tolist() == after.indices.tolist()


def test_a_statistic_set_stays_one_when_its_minute_is_tidied():
    rows = np.array([[5.0, 4, 10, 1, 5, 1], [6.0, 2, 4, 2, 2, 1], [7.0, 2, 9, 0, 9, 1]])
    sets = by_minute(rows, before=600)
    sets = sets[sets[:, MIN] != sets[:, MAX]]
    assert sets[:, [COUNT, SUM, MIN, MAX]].tolist() == [[6, 19, 0, 9]]
    assert math.isnan(Periods(rows, 0.0, 60.0).statistic("p50")[0])


def test_points_are_fine_for_three_hours_and_kept_for_fifteen_days(tmp_path: Path):
    moment = [NOW]
    metrics = Metrics(tmp_path / "m.sqlite", now=lambda: moment[0])
    hour, day = 3600.0, 86400.0
    for age in (1.0, 2 * hour, 4 * hour, 4 * hour - 1, 14 * day, 16 * day):
        metrics.put(BARKS, [age], at=NOW - age, resolution=1)
    metrics.store.tidy()

    def kept() -> list[float]:
        return sorted(NOW - at for at in metrics.store.rows(BARKS, 0, NOW + 1)[:, TIME])

    assert kept() == pytest.approx([1, 2 * hour, 4 * hour, 4 * hour, 14 * day], abs=60)
    assert [age for age in kept() if age > 3 * hour and (NOW - age) % 60] == []
    metrics.close()
    again = Metrics(tmp_path / "m.sqlite", now=lambda: moment[0])
    assert len(again.store.rows(BARKS, 0, NOW + 1)) == 5
    moment[0] += 20 * day
    again.store.tidy()
    assert list(again.list("us-east-1")) == []
    again.close()
    assert list(Metrics(tmp_path / "m.sqlite").list("us-east-1")) == []


def test_what_was_saved_survives_a_kill(tmp_path: Path):
    script = (
        "import os, sys, json\nfrom pathlib import Path\n"
        "from helpers.localaws.engines.cloudwatch import Metrics, metric\n"
        "metrics = Metrics(Path(sys.argv[1]))\n"
        "for number in range(100):\n"
        "    metrics.put(metric('us-east-1', 'Dogs', 'Barks', {'Breed': 'Beagle'}), [number], at=1000.0 + number)\n"
        "    metrics.store.save() if number == 89 else None\n"
        "print(json.dumps('ready'), flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "m.sqlite")]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert json.loads(done.stdout) == "ready"
    metrics = Metrics(tmp_path / "m.sqlite", now=lambda: 2000.0)
    rows = metrics.store.rows(BARKS, 0, 2000)
    assert rows[:90, SUM].tolist() == list(range(90))
    metrics.put(BARKS, [1.0], at=1999.0)
    metrics.close()
    metrics = Metrics(tmp_path / "m.sqlite", now=lambda: 2000.0)
    assert len(metrics.store.rows(BARKS, 0, 2000)) == len(rows) + 1
    metrics.close()
