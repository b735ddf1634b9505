"""What choosing among guessers measures, and how sure an accuracy is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import charts, luck


def test_the_best_of_many_guessers_looks_good_and_is_not() -> None:
    chosen = luck.choose(guessers=50, photos=120, classes=12)
    assert chosen.top1.shape == (50,)
    assert chosen.best > 1.5 * chosen.chance
    assert chosen.fresh == pytest.approx(chosen.chance, rel=0.05)
    assert luck.choose(50, 120, 12).best == chosen.best, "the same seed draws the same guesses"


def test_few_photos_flatter_more() -> None:
    assert luck.choose(50, 30, 12).best > luck.choose(50, 3000, 12).best


@given(st.floats(0.01, 0.99), st.integers(10, 10_000))
def test_half_the_margin_takes_four_times_the_photos(accuracy: float, photos: int) -> None:
    assert luck.margin(accuracy, 4 * photos) == pytest.approx(luck.margin(accuracy, photos) / 2)


def test_the_figure_names_both_accuracies_of_the_chosen_one() -> None:
    chosen = luck.choose(50, 120, 12)
    legend = charts.luck(chosen).axes[0].get_legend()
    assert legend is not None
    words = [text.get_text() for text in legend.get_texts()]
    assert [word.rpartition(": ")[2] for word in words] == [f"{chosen.best:.1%}", f"{chosen.fresh:.1%}"]
