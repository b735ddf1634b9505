"""Condition operators.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from .context import Context
from .patterns import Pattern, pattern

# Whether one value of the request fits one value of the policy.
Test = Callable[[str, Pattern, Context], bool]


def _number(text: str) -> Any:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return None


def _date(text: str) -> Any:
    """ISO 8601, or seconds since 1970."""
    if re.fullmatch(r"-?\d+(\.\d+)?", text) and len(text) != len("2026"):
        return datetime.fromtimestamp(float(text), UTC)
    try:
        found = datetime.fromisoformat(f"{text}-01-01" if len(text) == len("2026") else text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _network(text: str) -> Any:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower())


def _bytes(text: str) -> Any:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _comparing(read: Callable[[str], Any], compare: Callable[[Any, Any], bool]) -> Test:
    """Read both values and compare them; what cannot be read fits nothing."""

    def test(value: str, wanted: Pattern, context: Context) -> bool:
        text = wanted.text(context)
        left, right = read(value), read(text) if text is not None else None
        return left is not None and right is not None and compare(left, right)

    return test


def _within(address: Any, network: Any) -> bool:
    return bool(address.version == network.version and address.subnet_of(network))


def _like(value: str, wanted: Pattern, context: Context) -> bool:
    return wanted.matches(value, context)


def _arn_like(value: str, wanted: Pattern, context: Context) -> bool:
    return wanted.matches_arn(value, context)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
POSITIVE: dict[str, Test] = {
    "StringEquals": _comparing(str, operator.eq),
    "StringEqualsIgnoreCase": _comparing(str.lower, operator.eq),
    "StringLike": _like,
    **{f"Numeric{name}": _comparing(_number, compare) for name, compare in _COMPARISONS.items()},
    **{f"Date{name}": _comparing(_date, compare) for name, compare in _COMPARISONS.items()},
    "Bool": _comparing(_boolean, operator.eq),
    "BinaryEquals": _comparing(_bytes, operator.eq),
    "IpAddress": _comparing(_network, _within),
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
READERS: dict[str, Callable[[str], Any]] = {
    "Numeric": _number,
    "Date": _date,
    "Bool": _boolean,
    "Null": _boolean,
    "Binary": _bytes,
    "IpAddress": _network,
    "NotIpAddress": _network,
}
_NAMES = {name.lower(): name for name in (*POSITIVE, *NEGATED, "Null")}
_OPERATOR = re.compile(r"(?:(?P<every>forallvalues|foranyvalue):)?(?P<name>[a-z]+?)(?P<if_exists>ifexists)?")


class ConditionError(ValueError):
    """An operator that IAM does not have, or a value that its operator cannot read."""


@dataclass(frozen=True)
class Condition:
    """One operator on one key: ``{"StringLike": {"s3:prefix": ["a/*", "b/*"]}}``."""

    operator: str
    key: str
    values: tuple[Pattern, ...]
    quantifier: str
    if_exists: bool

    def holds(self, context: Context) -> bool:
        """Whether the request's context fulfils the condition."""
        found = context.get(self.key)
        if self.operator == "Null":
            return any((not found) == (value.source.lower() == "true") for value in self.values)
        if not found:
            if self.quantifier:
                return self.quantifier == "forallvalues" or (self.if_exists and found is None)
            return self.if_exists or self.operator in NEGATED
        fits = (self._fits(value, context) for value in found)
        if self.quantifier == "forallvalues" or (not self.quantifier and self.operator in NEGATED):
            return all(fits)
        return any(fits)

    def _fits(self, value: str, context: Context) -> bool:
        """One value of the request against all of the policy: any must fit, or, negated, none."""
        test = POSITIVE[NEGATED.get(self.operator, self.operator)]
        return any(test(value, wanted, context) for wanted in self.values) != (self.operator in NEGATED)


def condition(operator_name: str, key: str, values: list[str], *, variables: bool) -> Condition:
    """Read one condition; raises :class:`ConditionError`."""
    found = _OPERATOR.fullmatch(operator_name.lower())
    name = _NAMES.get(found["name"]) if found else None
    if found is None or name is None or (name == "Null" and (found["if_exists"] or found["every"])):
        raise ConditionError(f"Unknown condition operator: {operator_name}")
    reader = next((read for prefix, read in READERS.items() if name.startswith(prefix)), None)
    for value in values:
        if reader and "${" not in value and reader(value) is None:
            raise ConditionError(f"Invalid value for the operator {operator_name}: {value}")
    patterns = tuple(pattern(value, variables=variables) for value in values)
    return Condition(name, key, patterns, found["every"] or "", bool(found["if_exists"]))
