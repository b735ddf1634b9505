"""How many environments a load keeps busy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import charts, concurrency
from helpers.concurrency import Busy


def test_the_mean_is_the_rate_times_the_duration() -> None:
    assert concurrency.simulate(10, 0.3, seconds=2000).mean == pytest.approx(3, rel=0.05)
    assert concurrency.simulate(10, 0.3).most > 6, "requests come as they please"


@given(st.floats(0.5, 20), st.floats(0.01, 2), st.integers(0, 20))
def test_everybody_who_comes_leaves_and_more_ready_is_never_worse(rate: float, duration: float, seed: int) -> None:
    busy = concurrency.simulate(rate, duration, 30, seed)
    assert busy.environments[-1] == 0
    assert busy.environments.min() >= 0
    shares = [busy.within(ready) for ready in range(busy.most + 1)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_request_finds_one_idle_or_not() -> None:
    # Three come one after the other, the third when two are at work; then all end.
    busy = Busy(np.arange(6.0), np.array([1, 2, 3, 2, 1, 0]), 1.0, 3.0)
    assert busy.mean == pytest.approx(9 / 5)
    assert [busy.within(ready) for ready in range(4)] == [0, pytest.approx(1 / 3), pytest.approx(2 / 3), 1]


def test_no_load_is_an_error() -> None:
    with pytest.raises(ValueError, match="are none"):
        concurrency.simulate(1e-9, 0.3)


def test_the_figure_shows_what_is_kept_ready_and_what_is_more() -> None:
    axes = charts.busy(concurrency.simulate(10, 0.3), provisioned=4).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["more: started on demand", "4 kept ready", "mean 3"]
    assert axes.get_title(loc="left") == "busy environments: 10 requests a second of 0.3 s each"
