"""Metric math: the expressions of GetMetricData and of alarms.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html. A value is a number, a text, a
time series or a list of them. A time series has a place for every period of its grid, NaN where there is no data; what
is calculated from missing data is missing too. SEARCH, anomaly detection, LAMBDA and the like are refused by name.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .points import Rows


class ExpressionError(ValueError):
    """An expression that CloudWatch would not take; the message says why."""


class Unsupported(ExpressionError):
    """An expression that CloudWatch would take, and that is not imitated here."""


@dataclass(frozen=True)
class Grid:
    """The periods of a query: ``count`` of them from ``origin`` on, ``step`` real seconds each; data counts to ``end``.

    ``period`` is what their length is called: the same, but for alarms under a time scale (see ``Clock.period``).
    """

    origin: float
    step: float
    count: int
    period: float
    end: float

    def times(self) -> Rows:
        """When each period begins."""
        return self.origin + self.step * np.arange(self.count, dtype=np.float64)


@dataclass(frozen=True)
class Series:
    """A time series on a grid; NaN where it has no data."""

    grid: Grid
    values: Rows
    label: str = ""


Value = float | str | Series | list[Series]
_QUOTED = re.compile(r"""("[^"]*"|'[^']*')""")
_SPELLINGS = [
    (re.compile(r"\b([a-z]\w*)"), r"_\1"),  # an id may be a word that Python keeps for itself
    (re.compile(r"\^"), "**"),
    (re.compile(r"&&|\bAND\b"), " and "),
    (re.compile(r"\|\||\bOR\b"), " or "),
]
_BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_COMPARE: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_WORDS = frozenset("REPEAT LINEAR ASC DESC AVG MIN MAX SUM".split())
_REFUSED = frozenset(
    "SEARCH ANOMALY_DETECTION_BAND LAMBDA INSIGHT_RULE_METRIC DB_PERF_INSIGHTS SERVICE_QUOTA FILTER SELECT".split()
)


def parse(text: str) -> ast.expr:
    """The expression as a tree. Raises :class:`ExpressionError`."""
    parts = _QUOTED.split(text)
    for index in range(0, len(parts), 2):
        for pattern, written in _SPELLINGS:
            parts[index] = pattern.sub(written, parts[index])
    try:
        return ast.parse("".join(parts).strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"Invalid syntax: {error.args[0] if error.args else 'too deep'}") from error


def names(tree: ast.expr) -> Iterator[str]:
    """The ids that an expression names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id.startswith("_"):
            yield node.id[1:]


@dataclass
class Calculator:
    """Evaluates expressions. ``lookup`` gives the value of an id; ``metrics`` are the query's metrics, by id."""

    lookup: Callable[[str], Value]
    grid: Grid
    metrics: Callable[[], dict[str, Series]] = field(default=dict)

    def evaluate(self, text: str) -> Value:
        """The value of an expression. Raises :class:`ExpressionError`."""
        try:
            with np.errstate(all="ignore"):
                return _finite(self._value(parse(text)))
        except RecursionError as error:
            raise ExpressionError("Invalid syntax: too deep") from error

    def _value(self, node: ast.AST) -> Value:
        match node:
            case ast.Constant(value=bool() | None):
                raise ExpressionError("True, False and None are not values")
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id=name):
                return self._named(name)
            case ast.List(elts=items):
                return [one for item in items for one in _as_list(self._value(item))]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _elementwise(np.negative, self._value(operand))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._value(operand)
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _BINARY:
                return _elementwise(_BINARY[type(op)], self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                return _logical(_COMPARE[type(op)], self._value(left), self._value(right))
            case ast.BoolOp(op=op, values=values):
                combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
                result = self._value(values[0])
                for one in values[1:]:
                    result = _logical(combine, result, self._value(one))
                return result
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments)
        raise ExpressionError(f"Invalid syntax: {type(node).__name__} is no part of metric math")

    def _named(self, name: str) -> Value:
        if name in _WORDS:
            return name
        if not name.startswith("_"):
            raise ExpressionError(f"'{name}' is not known: ids begin with a lower-case letter")
        return self.lookup(name[1:])

    def _call(self, name: str, arguments: list[ast.expr]) -> Value:
        if name in _REFUSED:
            raise Unsupported(name)
        values = [self._value(argument) for argument in arguments]
        if name == "METRICS":
            wanted = _text(values[0]) if values else ""
            return [series for one, series in self.metrics().items() if wanted in one]
        if name == "TIME_SERIES":
            [number] = _arguments(name, values, 1)
            return Series(self.grid, np.full(self.grid.count, _number(number)))
        function = FUNCTIONS.get(name)
        if function is None:
            raise ExpressionError(f"Unknown function: {name}")
        try:
            return function(*values)
        except (TypeError, IndexError) as error:
            raise ExpressionError(f"{name} does not take these {len(values)} arguments") from error


# ---- calculating with numbers, series and lists ----


def _elementwise(function: Callable[..., Any], *values: Value) -> Value:
    """Apply a numeric function to numbers, series and (one after the other) the series of lists."""
    lists = [value for value in values if isinstance(value, list)]
    if lists:
        if len({len(one) for one in lists}) > 1:
            raise ExpressionError("lists of time series must be of the same length")
        rows = [[value[i] if isinstance(value, list) else value for value in values] for i in range(len(lists[0]))]
        return [_series(_elementwise(function, *row)) for row in rows]
    grids = {value.grid for value in values if isinstance(value, Series)}
    if len(grids) > 1:
        raise ExpressionError("all metrics of an expression must have the same period")
    numbers = [value.values if isinstance(value, Series) else np.float64(_number(value)) for value in values]
    result = function(*numbers)
    if not grids:
        return float(result)
    first = next(value for value in values if isinstance(value, Series))
    return Series(first.grid, np.asarray(result, np.float64), first.label)


def _logical(function: Callable[..., Any], left: Value, right: Value) -> Value:
    """1 where it holds, 0 where not, missing where a side is missing."""

    def compare(a: Any, b: Any) -> Any:
        return np.where(np.isnan(a) | np.isnan(b), np.nan, function(a, b))

    return _elementwise(compare, left, right)


def _finite(value: Value) -> Value:
    """No infinities: what cannot be calculated is missing."""
    if isinstance(value, Series):
        return Series(value.grid, np.where(np.isfinite(value.values), value.values, np.nan), value.label)
    return [_series(_finite(one)) for one in value] if isinstance(value, list) else value


def _series(value: Value) -> Series:
    if not isinstance(value, Series):
        raise ExpressionError("a time series is needed here")
    return value


def _as_list(value: Value) -> list[Series]:
    return value if isinstance(value, list) else [_series(value)]


def _number(value: Value) -> float:
    if not isinstance(value, float):
        raise ExpressionError("a number is needed here")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise ExpressionError("a text is needed here")
    return value


def _arguments(name: str, values: list[Value], count: int) -> list[Value]:
    if len(values) != count:
        raise ExpressionError(f"{name} takes {count} argument{'s' * (count != 1)}")
    return values


# ---- functions ----


def _nan_if_empty(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction that leaves missing data out, and is missing where all of it is."""

    def reduce(values: Rows, axis: int | None = None) -> Any:
        empty = np.isnan(values).all(axis=axis)
        neutral = np.where(np.isnan(values).all(axis=axis, keepdims=True), 0.0, values)
        return np.where(empty, np.nan, function(neutral, axis=axis))

    return reduce


def _reducer(function: Callable[..., Any]) -> Callable[[Value], Value]:
    """Over a series: a number. Over a list of series: a series, period by period."""
    reduce = _nan_if_empty(function)

    def apply(value: Value) -> Value:
        if isinstance(value, Series):
            return float(reduce(value.values))
        series = _as_list(value)
        return _stacked(series, lambda stack: reduce(stack, axis=0)) if series else []

    return apply


def _stacked(series: list[Series], function: Callable[[Rows], Any]) -> Series:
    if len({one.grid for one in series}) > 1:
        raise ExpressionError("all metrics of an expression must have the same period")
    stack = np.stack([one.values for one in series])
    return Series(series[0].grid, np.asarray(function(stack), np.float64))


def _mapped(function: Callable[[Series], Rows]) -> Callable[[Value], Value]:
    """Of a series: a series. Of a list: each one's."""

    def apply(value: Value) -> Value:
        if isinstance(value, list):
            return [Series(one.grid, function(one), one.label) for one in value]
        series = _series(value)
        return Series(series.grid, function(series), series.label)

    return apply


def _differences(of: Callable[[Series], Rows]) -> Callable[[Series], Rows]:
    """From each data point to the one before it, wherever that is; the first has none."""

    def differ(series: Series) -> Rows:
        known = np.flatnonzero(~np.isnan(series.values))
        result = np.full(series.grid.count, np.nan)
        result[known[1:]] = np.diff(of(series)[known])
        return result

    return differ


_value_change = _differences(lambda series: series.values)
_time_change = _differences(lambda series: series.grid.times())


def _running_sum(series: Series) -> Rows:
    missing = np.isnan(series.values)
    return np.where(missing, np.nan, np.cumsum(np.where(missing, 0, series.values)))


def _fill(value: Value, filling: Value) -> Value:
    if isinstance(value, list):
        return [_series(_fill(one, filling)) for one in value]
    series = _series(value)
    known = np.flatnonzero(~np.isnan(series.values))
    if filling in ("REPEAT", "LINEAR"):
        if not len(known):
            return series
        places = np.arange(series.grid.count)
        filled = (
            np.interp(places, known, series.values[known], left=np.nan)
            if filling == "LINEAR"
            else np.where(places >= known[0], series.values[known[np.searchsorted(known, places, "right") - 1]], np.nan)
        )
        return Series(series.grid, filled, series.label)
    return _elementwise(lambda a, b: np.where(np.isnan(a), b, a), series, filling)


def _if(condition: Value, then: Value, otherwise: Value = float("nan")) -> Value:
    def choose(test: Any, yes: Any, no: Any) -> Any:
        return np.where(np.isnan(test), np.nan, np.where(test != 0, yes, no))

    return _elementwise(choose, condition, then, otherwise)


def _sort(value: Value, by: Value, order: Value, most: Value = float("inf")) -> Value:
    reductions: dict[str, Callable[..., Any]] = {
        "AVG": np.nanmean,
        "MIN": np.nanmin,
        "MAX": np.nanmax,
        "SUM": np.nansum,
    }
    reduce = reductions.get(_text(by))
    if reduce is None or order not in ("ASC", "DESC"):
        raise ExpressionError("SORT takes AVG, MIN, MAX or SUM, then ASC or DESC")
    full = [one for one in _as_list(value) if not np.isnan(one.values).all()]
    full.sort(key=lambda one: float(reduce(one.values)), reverse=order == "DESC")
    return full[: int(min(_number(most), len(full)))]


def _slice(value: Value, start: Value, end: Value | None = None) -> Value:
    series, first = _as_list(value), int(_number(start))
    if end is None:
        return series[first]
    return series[first : int(_number(end))]


def _count(value: Value) -> Value:
    if isinstance(value, list):
        return _stacked(value, lambda stack: (~np.isnan(stack)).sum(axis=0))
    return float((~np.isnan(_series(value).values)).sum())


def _period(value: Value) -> Value:
    return float(_series(value).grid.period)


def _calendar(part: Callable[[Any], Any]) -> Callable[[Value], Value]:
    """A part of each data point's time (UTC)."""

    def of(series: Series) -> Rows:
        times = np.floor(series.grid.times()).astype("datetime64[s]")
        return np.where(np.isnan(series.values), np.nan, part(times).astype(np.float64))

    return _mapped(of)


def _since(unit: str, larger: str, first: int) -> Callable[[Any], Any]:
    """How many ``unit`` have gone by since ``larger`` began, counted from ``first``."""
    return lambda times: (
        (times.astype(f"datetime64[{unit}]") - times.astype(f"datetime64[{larger}]")).astype(int) + first
    )


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "ABS": lambda value: _elementwise(np.abs, value),
    "CEIL": lambda value: _elementwise(np.ceil, value),
    "FLOOR": lambda value: _elementwise(np.floor, value),
    "LOG": lambda value: _elementwise(np.log, value),
    "LOG10": lambda value: _elementwise(np.log10, value),
    "AVG": _reducer(np.nanmean),
    "SUM": _reducer(np.nansum),
    "MIN": _reducer(np.nanmin),
    "MAX": _reducer(np.nanmax),
    "STDDEV": _reducer(np.nanstd),
    "DATAPOINT_COUNT": _count,
    "METRIC_COUNT": lambda value: float(len(_as_list(value))),
    "DIFF": _mapped(_value_change),
    "DIFF_TIME": _mapped(_time_change),
    "RATE": _mapped(lambda series: _value_change(series) / _time_change(series)),
    "RUNNING_SUM": _mapped(_running_sum),
    "FILL": _fill,
    "FIRST": lambda value: _as_list(value)[0],
    "LAST": lambda value: _as_list(value)[-1],
    "IF": _if,
    "PERIOD": _period,
    "REMOVE_EMPTY": lambda value: [one for one in _as_list(value) if not np.isnan(one.values).all()],
    "SLICE": _slice,
    "SORT": _sort,
    "EPOCH": _calendar(lambda times: times.astype(np.int64)),
    "MINUTE": _calendar(_since("m", "h", 0)),
    "HOUR": _calendar(_since("h", "D", 0)),
    "DAY": _calendar(lambda times: (times.astype("datetime64[D]").astype(int) + 3) % 7 + 1),  # Monday is 1
    "DATE": _calendar(_since("D", "M", 1)),
    "MONTH": _calendar(_since("M", "Y", 1)),
    "YEAR": _calendar(lambda times: times.astype("datetime64[Y]").astype(int) + 1970),
}
