"""Metric math, against plain Python."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.cloudwatch.expressions import Calculator, ExpressionError, Grid, Series, Unsupported

NONE = float("nan")
GRID = Grid(origin=1_800_000_000.0, step=60.0, count=4, period=60.0, end=1_800_000_240.0)


def series(*values: float, label: str = "") -> Series:
    return Series(GRID, np.array(values, np.float64), label)


METRICS = {
    "m1": series(1, 2, NONE, 4, label="one"),
    "m2": series(10, NONE, 30, 40, label="two"),
    "in": series(5, 5, 5, 5),
    "never": series(NONE, NONE, NONE, NONE),
}


def calculate(text: str) -> Any:
    value = Calculator(METRICS.__getitem__, GRID, lambda: METRICS).evaluate(text)
    if isinstance(value, Series):
        return [None if math.isnan(one) else one for one in value.values]
    return [calculate_one.label for calculate_one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m1 + 1", [2, 3, None, 5]),
        ("m1 + m2", [11, None, None, 44]),
        ("-m1 ^ 2", [-1, -4, None, -16]),
        ("m2 / (m1 - 1)", [None, None, None, 40 / 3]),
        ("in * 2", [10, 10, 10, 10]),
        ("m1 > 1", [0, 1, None, 1]),
        ("m1 > 1 AND m2 >= 40", [0, None, None, 1]),
        ("m1 == 1 || m1 == 4", [1, 0, None, 1]),
        ("AVG(m1)", 7 / 3),
        ("SUM([m1, m2])", [11, 2, 30, 44]),
        ("MAX(METRICS())", [10, 5, 30, 40]),
        ('SUM(METRICS("m"))', [11, 2, 30, 44]),
        ("m1 - AVG(m1)", [1 - 7 / 3, 2 - 7 / 3, None, 4 - 7 / 3]),
        ("FILL(m1, 0)", [1, 2, 0, 4]),
        ("FILL(m1, REPEAT)", [1, 2, 2, 4]),
        ("FILL(m1, LINEAR)", [1, 2, 3, 4]),
        ("FILL(never, 7)", [7, 7, 7, 7]),
        ("RATE(m1)", [None, 1 / 60, None, 2 / 120]),
        ("DIFF(m1)", [None, 1, None, 2]),
        ("DIFF_TIME(m1)", [None, 60, None, 120]),
        ("RUNNING_SUM(m1)", [1, 3, None, 7]),
        ("IF(m1 > 1, m1, 0)", [0, 2, None, 4]),
        ("IF(m1 > 1, m1)", [None, 2, None, 4]),
        ("PERIOD(m1)", 60),
        ("m1 * PERIOD(m1)", [60, 120, None, 240]),
        ("TIME_SERIES(3)", [3, 3, 3, 3]),
        ("DATAPOINT_COUNT(m1)", 3),
        ("METRIC_COUNT([m1, m2])", 2),
        ("REMOVE_EMPTY([m1, never])", ["one"]),
        ("SORT([m1, m2], MAX, DESC)", ["two", "one"]),
        ("SORT([m1, m2], MAX, DESC, 1)", ["two"]),
        ("SLICE([m1, m2], 1)", [10, None, 30, 40]),
        ("FIRST([m1, m2])", [1, 2, None, 4]),
        ("ABS(-m1)", [1, 2, None, 4]),
        ("LOG10(m2)", [1, None, math.log10(30), math.log10(40)]),
        ("HOUR(in)", [8, 8, 8, 8]),
        ("DAY(in)", [5, 5, 5, 5]),  # 15 January 2027, a Friday
        ("YEAR(in) * 10000 + MONTH(in) * 100 + DATE(in)", [20270115] * 4),
    ],
)
def test_what_an_expression_gives(text, expected):
    found = calculate(text)
    if isinstance(expected, list) and expected and not isinstance(expected[0], str):
        assert [None if one is None else pytest.approx(one) for one in expected] == found
    else:
        assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m1 +",
        "m1 = 2",
        "1 < m1 < 3",
        "m1.values",
        "__import__('os')",
        "(lambda: 1)()",
        "[m1 for m1 in m2]",
        "M1",
        "MEDIAN(m1)",
        "AVG()",
        "AVG(3)",
        "FILL(m1)",
        "FIRST([])",
        "SORT(m1, MEDIAN, ASC)",
        "m1 % 2",
        "True",
        "m1[0]",
        "'text' + 1",
        "(" * 500 + "m1" + ")" * 500,
        "-" * 2000 + "m1",
    ],
)
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(ExpressionError):
        calculate(text)


def test_what_is_not_imitated_is_refused_by_name():
    with pytest.raises(Unsupported, match="SEARCH"):
        calculate("SEARCH('{AWS/EC2,InstanceId} MetricName=\"CPUUtilization\"', 'Average')")


NUMBERS = st.integers(0, 99).map(str)
ARITHMETIC = st.recursive(
    NUMBERS | st.sampled_from(["m1", "m2", "in"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})")
        | inner.map(lambda one: f"(-{one})")
    ),
    max_leaves=12,
)


@given(ARITHMETIC)
def test_arithmetic_is_pythons_period_by_period(text):
    found = Calculator(METRICS.__getitem__, GRID).evaluate(text)
    for place in range(GRID.count):
        values = {name: float(one.values[place]) for name, one in METRICS.items()}
        try:
            expected = eval(text.replace("in", "within"), {}, {**values, "within": values["in"]})
        except ZeroDivisionError:
            continue
        got = found.values[place] if isinstance(found, Series) else found
        assert got == pytest.approx(expected, nan_ok=True)
