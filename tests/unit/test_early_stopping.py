"""The median rule of AWS's early stopping."""

from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.early_stopping import FEWEST, falls_behind

CURVES = st.lists(st.lists(st.floats(-100, 100), min_size=1, max_size=5), max_size=6)
OTHERS = [[3.0, 2.0, 1.0], [4.0, 2.0, 0.0], [5.0, 3.0, 1.0]]  # running averages at epoch 2: 2.5, 3, 4


def test_worse_than_the_median_of_the_running_averages():
    assert falls_behind([9.0, 3.01], OTHERS, maximise=False)
    assert not falls_behind([9.0, 3.0], OTHERS, maximise=False), (
        "only the newest value counts; the median itself is fine"
    )
    assert falls_behind([9.0, 2.99], OTHERS, maximise=True)
    assert not falls_behind([0.0, 3.0], OTHERS, maximise=True)


def test_trials_that_did_not_come_so_far_do_not_count():
    assert not falls_behind([9.0] * 3, [*OTHERS[:2], [1.0]], maximise=False)
    assert not falls_behind([9.0] * 4, OTHERS, maximise=False), "nothing to compare with"


@given(st.lists(st.floats(-100, 100), max_size=5), CURVES)
def test_minimising_is_maximising_upside_down(values, others):
    mirrored = [[-value for value in other] for other in others]
    assert falls_behind(values, others, maximise=False) == falls_behind([-v for v in values], mirrored, maximise=True)


@given(st.lists(st.floats(-100, 100), max_size=5), CURVES, st.booleans())
def test_few_trials_stop_none(values, others, maximise):
    assert not falls_behind(values, others[: FEWEST - 1], maximise=maximise)
