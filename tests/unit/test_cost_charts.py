"""The figures of money: they say the sums of what they are given, and stand empty lists."""

import pytest

from helpers import charts, cost_charts, meters
from helpers.costs import Choice, Line


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def labels(figure):
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_prices_show_the_chosen_type_and_the_cheapest_on_top():
    choices = [
        Choice("→", "ml.c5.2xlarge", 8, 16, 0.408, 0.174, "list"),
        Choice("", "ml.m5.xlarge", 4, 16, 0.23, "-", "list"),
        Choice("", "ml.odd", None, None, 1.0, "-", "list"),
    ]
    figure = cost_charts.prices(choices)
    assert labels(figure) == ["ml.odd", "ml.c5.2xlarge", "ml.m5.xlarge"], "upwards"
    assert [text for text in texts(figure) if "chosen" in text] == ["$0.408  8 vCPU, 16 GiB  chosen"]
    (spot,) = figure.axes[0].lines
    assert list(spot.get_xdata()) == [0.174]


def test_lines_add_up_and_the_budget_is_drawn():
    given = [Line("training a", 1, "h", 0.2), Line("endpoint b", 1, "h", 0.3)]
    figure = cost_charts.lines(given, budget=5.0)
    assert figure.axes[0].get_title(loc="left") == "$0.5000 together"
    assert labels(figure) == ["endpoint b", "training a"]
    assert "budget $5.00" in texts(figure)


def test_many_lines_are_put_together_by_what_they_are():
    given = [Line(f"training {number}", 1, "h", 0.01) for number in range(20)] + [Line("endpoint e", 1, "h", 0.5)]
    figure = cost_charts.lines(given)
    assert labels(figure) == ["endpoint", "training"]
    assert texts(figure) == ["$0.5000", "$0.2000"]


def test_what_is_forgotten_grows():
    lines = [Line("endpoint e", 1, "h ml.c5.xlarge", 0.204), Line("notebook instance n", 1, "h", 0.05)]
    figure = cost_charts.forgotten(lines, budget=5.0)
    assert [text for text in texts(figure) if "days" in text] == [
        "$12 after 2 days",
        "$43 after 7 days",
        "$183 after 30 days",
    ]
    assert meters.over(lines, 7) == pytest.approx(0.254 * 24 * 7)


@pytest.mark.parametrize("draw", [cost_charts.lines, cost_charts.forgotten])
def test_nothing_is_no_error(draw, tmp_path):
    draw([]).savefig(tmp_path / "empty.png")


def test_seen_and_unseen_says_each_score():
    scores = {"as reported": 0.9, "on photos it never saw": 0.4}
    figure = charts.seen_and_unseen({"right": {**scores, "as reported": 0.5}, "wrong": scores})
    assert texts(figure) == ["50%", "40%", "90%", "40%"]


def test_luck_is_marked():
    figure = charts.best_by_luck([0.05, 0.1, 0.1, 0.2], 0.08, 1 / 12)
    assert texts(figure) == ["chosen: its test score, 20%", "the same model, new photos, 8%"]
