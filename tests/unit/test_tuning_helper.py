"""What a tuning job's trials are said to show: the original's objective, the figure, typed hyperparameters."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from helpers import charts, tuning

ROWS: list[dict[str, Any]] = [
    {"trial": "t-001", "batch-size": 16, "learning-rate": 1e-4, "objective": 2.5},
    {"trial": "t-002", "batch-size": 128, "learning-rate": 3e-3, "objective": 0.9},
    {"trial": "t-003", "batch-size": 64, "learning-rate": 1e-2, "objective": None},
    {"trial": "t-004", "batch-size": 64, "learning-rate": 1e-2, "objective": 1.2},
]


def test_the_originals_objective():
    assert tuning.objective_as_the_original(sum_loss=4.89 * 835, photos=835, batch_size=32) == 4.89 * 835 // 27 == 151.0
    assert tuning.objective_as_the_original(sum_loss=0.9 * 835, photos=835, batch_size=512) == 375.0


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.integers(500, 2000))
def test_it_prefers_a_small_batch_to_a_good_model(good, bad, photos):
    """A model as bad as chance with batches of 16 beats any that loses more than a tenth of it with batches of 512."""
    small = tuning.objective_as_the_original(bad * photos, photos, 16)
    large = tuning.objective_as_the_original(good * photos, photos, 512)
    if good > bad / 10:
        assert large >= small


def rendered(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_figure_shows_both_rankings():
    figure = charts.trials(ROWS, photos=835)
    left, right = figure.axes
    assert rendered(figure).size[0] == 750
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["16", "64", "128"]
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["trial 1, 16", "trial 4, 64", "trial 2, 128"]
    widths = [bar.get_width() for bar in right.patches]  # type: ignore[attr-defined]
    assert widths == sorted(widths)
    assert "best" in words(figure)
    assert "the original's choice" in words(figure)
    assert "0.900 a photo, the best" in words(figure)


def test_where_both_agree_one_ring_says_so():
    figure = charts.trials([{**row, "batch-size": 16} for row in ROWS], photos=835)
    assert "best, and the original's choice" in words(figure)
    assert "best" not in words(figure)
    rendered(charts.trials(ROWS[:1], photos=10))


def test_without_any_objective_there_is_no_figure():
    with pytest.raises(ValueError, match="no trial has a value"):
        charts.trials(ROWS[2:3], photos=835)


def test_ranked_as_the_original_the_smallest_batch_is_first():
    ranked = tuning.ranked_as_the_original(ROWS, photos=835)
    assert [row["number"] for row in ranked] == [1, 4, 2], "without the one that has no objective"
    assert ranked[0]["original"] == tuning.objective_as_the_original(2.5 * 835, 835, 16)
