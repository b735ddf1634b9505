"""What a training run cost, what an accuracy cost, and when a second instance pays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import charts
from helpers.comparison import Run, Scaling, common_accuracy, margin, table


def run(name: str = "one", instances: int = 1, seconds: float = 10.0, billed: float = 1.0, epochs: int = 4) -> Run:
    """A run of epochs that last ``seconds``, 20 seconds of overhead, and an accuracy that rises by 0.2 an epoch."""
    history = [{"epoch": i + 1, "seconds": seconds, "valid": {"top1": 0.2 * (i + 1)}} for i in range(epochs)]
    training = 20 + epochs * seconds
    return Run(name, "ml.c5.2xlarge", instances, training + 5, training, training * billed, 0.36, 0.8, history)


def test_a_run_costs_its_billable_seconds_on_every_instance() -> None:
    assert run().usd == pytest.approx(60 / 3600 * 0.36)
    assert run(instances=2, billed=0.5).usd == pytest.approx(run().usd)


def test_an_accuracy_costs_what_was_spent_when_it_was_reached() -> None:
    one = run()
    assert one.usd_to_reach(0.5) == pytest.approx(one.usd * (20 + 3 * 10) / 60), "the third epoch reaches 0.6"
    assert one.usd_to_reach(0.9) is None
    assert one.curve()[-1] == (pytest.approx(one.usd), pytest.approx(0.8))


def test_the_table_prices_what_all_runs_have_reached() -> None:
    runs = [run("one"), run("two", instances=2, epochs=3)]
    assert common_accuracy(runs) == pytest.approx(0.6)
    rows = table(runs, 0.7)
    assert [row["$ to 70%"] for row in rows] == [f"{runs[0].usd:.5f}", "never"]


def test_scaling_is_measured_from_two_runs_of_the_same_work() -> None:
    scaling = Scaling.measured(run(), run(instances=2, seconds=6.0, billed=0.4))
    assert scaling.serial == pytest.approx(0.2)
    assert scaling.time(2) == pytest.approx(0.6)
    assert scaling.cost(2, spot=False) == pytest.approx(1.2)
    assert scaling.cost(2, spot=True) == pytest.approx(0.48)
    with pytest.raises(ValueError, match="as many epochs"):
        Scaling.measured(run(), run(instances=2, epochs=3))


@given(st.floats(0, 3), st.floats(0.05, 1))
def test_a_second_spot_instance_pays_up_to_the_point_that_is_named(serial: float, spot: float) -> None:
    scaling = Scaling(serial, spot)
    difference = 1 - scaling.cost(2, spot=True)
    assert difference * (scaling.most_serial - serial) >= -1e-9, "the signs agree: it pays below the point, not above"


@given(st.floats(0, 1))
def test_more_instances_are_never_slower_and_never_cheaper(serial: float) -> None:
    scaling = Scaling(serial, 0.4)
    times, costs = zip(*((row["time"], row["cost on demand"]) for row in scaling.instances(6)), strict=True)
    assert list(times) == sorted(times, reverse=True)
    assert list(costs) == sorted(costs)


def test_the_figure_shows_every_run_in_both_panels() -> None:
    runs = [run("one instance"), run("two spot instances", instances=2, seconds=6, billed=0.4), run("EC2", seconds=14)]
    time, money = charts.time_and_money(runs, 0.8).axes
    assert [label.get_text() for label in time.get_yticklabels()] == ["one instance", "two spot\ninstances", "EC2"]
    assert [text.get_text() for text in money.get_legend().get_texts()] == [one.name for one in runs]


@given(st.floats(0.01, 0.99), st.integers(10, 10_000))
def test_half_the_margin_takes_four_times_the_photos(accuracy: float, photos: int) -> None:
    assert margin(accuracy, 4 * photos) == pytest.approx(margin(accuracy, photos) / 2)
    assert margin(accuracy, photos) == pytest.approx(margin(1 - accuracy, photos)), "what is wrong is as sure"
