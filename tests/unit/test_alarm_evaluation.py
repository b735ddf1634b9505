"""When an alarm is one: AWS's documented examples, and every case by brute force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.cloudwatch.evaluation import (
    ALARM,
    BREACHING,
    COMPARISONS,
    IGNORE,
    INSUFFICIENT_DATA,
    MISSING,
    NOT_BREACHING,
    OK,
    STATES,
    TREATMENTS,
    Rule,
    evaluate,
)
from helpers.localaws.engines.cloudwatch.reasons import reason

KEPT = "the state before"
POINTS = {"X": 5.0, "0": 0.0, "-": None}
ORDER = (MISSING, IGNORE, BREACHING, NOT_BREACHING)


def rule(datapoints: int, periods: int, missing: str = MISSING, comparison: str = "GreaterThanThreshold") -> Rule:
    return Rule(1.0, comparison, periods, datapoints, missing)


# "Configuring how CloudWatch alarms treat missing data", in the order of its tables: missing, ignore, breaching, not.
@pytest.mark.parametrize(
    ("datapoints", "points", "expected"),
    [
        (3, "0 - X - X", (OK, OK, OK, OK)),
        (3, "0 - - - -", (OK, OK, OK, OK)),
        (3, "- - - - -", (INSUFFICIENT_DATA, KEPT, ALARM, OK)),
        (3, "0 X X - X", (ALARM, ALARM, ALARM, ALARM)),
        (3, "- - - - X", (INSUFFICIENT_DATA, KEPT, ALARM, OK)),
        (3, "X - - - -", (ALARM, KEPT, ALARM, OK)),
        (3, "- - X - -", (ALARM, KEPT, ALARM, OK)),
        (3, "- - - - 0", (OK, OK, OK, OK)),
        (2, "0 - X - X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0 0 X 0 X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0 - X - -", (OK, OK, ALARM, OK)),
        (2, "- - - - 0", (OK, OK, ALARM, OK)),
        (2, "- - - - X", (INSUFFICIENT_DATA, KEPT, ALARM, OK)),
        (2, "- - - X -", (ALARM, KEPT, ALARM, OK)),
    ],
)
@pytest.mark.parametrize("before", STATES)
def test_missing_data_is_treated_as_in_awss_tables(datapoints, points, expected, before):
    values = [POINTS[point] for point in points.split()]
    for treatment, state in zip(ORDER, expected, strict=True):
        assert evaluate(rule(datapoints, 3, treatment), values, before).state == (before if state == KEPT else state)


@given(st.data())
def test_m_of_n_is_a_count_where_nothing_is_missing(data):
    periods = data.draw(st.integers(1, 10))
    datapoints = data.draw(st.integers(1, periods))
    comparison = data.draw(st.sampled_from(sorted(COMPARISONS)))
    treatment, before = data.draw(st.sampled_from(TREATMENTS)), data.draw(st.sampled_from(STATES))
    values = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=periods, max_size=periods + 5))
    bad = {
        "GreaterThanOrEqualToThreshold": [1.0, 2.0],
        "GreaterThanThreshold": [2.0],
        "LessThanThreshold": [0.0],
        "LessThanOrEqualToThreshold": [0.0, 1.0],
    }[comparison]
    expected = ALARM if sum(value in bad for value in values[len(values) - periods :]) >= datapoints else OK
    assert evaluate(rule(datapoints, periods, treatment, comparison), values, before).state == expected


RANGES = st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda mn: st.tuples(
        st.just((min(mn), max(mn))),
        st.lists(st.sampled_from([None, 0.0, 5.0]), min_size=max(mn) + 2, max_size=max(mn) + 2),
        st.sampled_from(STATES),
    )
)


@given(RANGES)
def test_missing_data_never_outweighs_real_data(case):
    (datapoints, periods), values, before = case
    states = {one: evaluate(rule(datapoints, periods, one), values, before).state for one in TREATMENTS}
    real = [value for value in values if value is not None]
    if len(real) >= periods:
        assert len(set(states.values())) == 1
        return
    # Filled in, the gaps are data points like others: all that is left to decide is counting.
    breaching = sum(value == 5.0 for value in real)
    assert (states[BREACHING] == ALARM) == (breaching + periods - len(real) >= datapoints)
    assert (states[NOT_BREACHING] == ALARM) == (breaching >= datapoints)
    assert {states[BREACHING], states[NOT_BREACHING]} <= {ALARM, OK}
    if not real:
        assert (states[MISSING], states[IGNORE]) == (INSUFFICIENT_DATA, before)
    if 0.0 in real and breaching < datapoints:
        assert states[MISSING] == states[IGNORE] == OK


@given(RANGES, st.sampled_from(TREATMENTS))
def test_evaluating_again_changes_nothing(case, treatment):
    (datapoints, periods), values, before = case
    first = evaluate(rule(datapoints, periods, treatment), values, before)
    assert evaluate(rule(datapoints, periods, treatment), values, first.state) == first


def test_reasons_are_cloudwatchs():
    times = [1_800_000_000.0 + 60 * minute for minute in range(5)]

    def say(values, datapoints=2, treatment=MISSING):
        wanted = rule(datapoints, 3, treatment)
        return reason(wanted, evaluate(wanted, values, OK), values, times)

    assert say([0.0, 0.0, 2.0, 0.0, 3.0]) == (
        "Threshold Crossed: 2 out of the last 3 datapoints [3.0 (15/01/27 08:04:00), 2.0 (15/01/27 08:02:00)] were "
        "greater than the threshold (1.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert say([0.0, 0.0, 2.0, 2.0, 0.5], 3) == (
        "Threshold Crossed: 1 out of the last 3 datapoints [0.5 (15/01/27 08:04:00)] was not greater than the "
        "threshold (1.0) (minimum 1 datapoint for ALARM -> OK transition)."
    )
    assert say([None] * 5) == "Insufficient Data: 3 datapoints were unknown."
    assert say([None] * 5, treatment=BREACHING) == (
        "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as "
        "[Breaching]."
    )
