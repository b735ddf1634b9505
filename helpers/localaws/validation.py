"""Input checks as AWS makes them: from the botocore models, with AWS's own messages.

One walk over the input collects every violation, since AWS reports them together ("2 validation errors detected: …").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape

from .errors import AwsError

# The code under which a service reports a violated constraint; ValidationException unless listed here.
CODES = {
    "sagemaker-runtime": "ValidationError",
    "iam": "ValidationError",
    "sts": "ValidationError",
    "cloudwatch": "ValidationError",
    "logs": "InvalidParameterException",
    "pricing": "InvalidParameterException",
}
NUMBERS = ("integer", "long", "float", "double")
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}
SHOWN = 1024  # AWS too cuts long values in messages


def validate(service: str, shape: Shape | None, params: dict[str, Any]) -> None:
    """Check ``params`` against the model; raises :class:`AwsError` naming every violation."""
    if shape is None:
        return
    if service == "ec2":
        _validate_ec2(shape, params)
        return
    found = list(violations(shape, params, ""))
    if not found:
        return
    plural = "error" if len(found) == 1 else "errors"
    raise AwsError(
        CODES.get(service, "ValidationException"), f"{len(found)} validation {plural} detected: {'; '.join(found)}"
    )


def _validate_ec2(shape: Shape, params: dict[str, Any]) -> None:
    """EC2 reports one violation at a time, under codes and in words of its own."""
    for name in shape.required_members:
        if params.get(name) is None:
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    for name, value in params.items():
        member = shape.members[name]
        for one in value if member.type_name == "list" else [value]:
            leaf = member.member if member.type_name == "list" else member
            if leaf.type_name == "structure":
                _validate_ec2(leaf, one)
            elif leaf.type_name == "string" and leaf.enum and one not in leaf.enum:
                raise AwsError("InvalidParameterValue", f"Invalid value '{one}' for {name}.")


def violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Every violated constraint of ``value``, in AWS's words."""
    kind = shape.type_name
    expected = PYTHON_TYPES.get(kind)
    if expected and (not isinstance(value, expected) or (kind in NUMBERS and isinstance(value, bool))):
        # AWS's deserialiser stops at the first wrong JSON type, before any constraint is looked at.
        raise AwsError("SerializationException", f"{_json_type(value)} can not be converted to {kind} at '{path}'")
    if kind == "structure":
        yield from _structure(shape, value, path)
    elif kind == "list":
        yield from _bounds(shape, len(value), value, path, "length")
        for index, item in enumerate(value, 1):
            yield from violations(shape.member, item, f"{path}.{index}.member")
    elif kind == "map":
        yield from _bounds(shape, len(value), value, path, "length")
        for key, item in value.items():
            yield from violations(shape.key, key, path)
            yield from violations(shape.value, item, f"{path}.{key}.member")
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind == "blob":
        yield from _bounds(shape, len(value), "…", path, "length")
    elif kind in NUMBERS:
        yield from _bounds(shape, value, value, path, "value")


def _structure(shape: Shape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield f"Value null at '{_member(path, name)}' failed to satisfy constraint: Member must not be null"
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from violations(member, value[name], _member(path, name))


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    enum = shape.enum
    if enum and value not in enum:
        yield _violation(value, path, f"satisfy enum value set: [{', '.join(enum)}]")
    yield from _bounds(shape, len(value), value, path, "length")
    pattern = shape.metadata.get("pattern")
    compiled = _compile(pattern) if pattern else None
    if compiled and not compiled.fullmatch(value):
        yield _violation(value, path, f"satisfy regular expression pattern: {pattern}")


def _bounds(shape: Shape, measured: float, value: Any, path: str, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and measured < low:
        yield _violation(value, path, f"have {what} greater than or equal to {low}")
    if high is not None and measured > high:
        yield _violation(value, path, f"have {what} less than or equal to {high}")


def _violation(value: Any, path: str, constraint: str) -> str:
    shown = str(value)
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: Member must {constraint}"


def _member(path: str, name: str) -> str:
    return f"{path}.{name[0].lower()}{name[1:]}" if path else f"{name[0].lower()}{name[1:]}"


@functools.cache
def _compile(pattern: str) -> re.Pattern[str] | None:
    """The models carry Java patterns; the few that Python cannot read (\\p classes) are not checked."""
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:
        return None


def _json_type(value: Any) -> str:
    names = {dict: "START_OBJECT", list: "START_ARRAY", str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE"}
    return names.get(type(value), "NUMBER_VALUE")
