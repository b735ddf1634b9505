"""Recorded requests against botocore's models: a walk of its own, stricter than botocore's validator.

botocore checks required members, types and lower bounds before it sends; patterns, enumerations, upper bounds, unions,
deprecated operations and members it leaves to the service. Nothing here is taken from the embedded AWS's validation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.model import Shape

NUMBERS = {"integer": (int,), "long": (int,), "float": (int, float), "double": (int, float)}
CUT = {"$bytes", "$characters"}


@functools.cache
def _service(name: str) -> Any:
    return botocore.session.get_session().get_service_model(name)


def complaints(entry: dict[str, Any]) -> list[str]:
    """What is wrong with one recorded request, in words; nothing where it is as the model has it."""
    service, operation = entry["service"], entry["operation"]
    try:
        model = _service(service)
    except botocore.exceptions.UnknownServiceError:
        return [f"there is no service {service}"]
    if operation not in model.operation_names:
        return [f"{service} has no operation {operation}"]
    operation_model = model.operation_model(operation)
    found = [f"the operation {operation} is deprecated"] if operation_model.deprecated else []
    found += [f"{name} is no member" for name in entry["unknown"]]
    if entry["parameters"] is None:
        return [*found, "the request cannot be read"]
    if operation_model.input_shape is None:
        return found
    return found + list(constraints(operation_model.input_shape, entry["parameters"], operation, required=True))


def input_shape(service: str, operation: str) -> Shape | None:
    """The model of an operation's input."""
    shape: Shape | None = _service(service).operation_model(operation).input_shape
    return shape


def constraints(shape: Shape, value: Any, path: str, *, required: bool) -> Iterator[str]:
    """Violated constraints of a value; whether members are missing only where ``required`` is asked for."""
    if isinstance(value, dict) and len(value) == 1 and value.keys() <= CUT:
        if shape.type_name not in ("blob", "string"):
            yield f"{path} is cut, but a {shape.type_name}"
        yield from _bounds(shape, next(iter(value.values())), path)
        return
    walk = {"structure": _structure, "map": _map, "list": _list, "string": _string}.get(shape.type_name)
    if walk:
        yield from walk(shape, value, path, required)
    elif shape.type_name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, NUMBERS[shape.type_name]):
            yield f"{path} is no {shape.type_name}: {value!r}"
        else:
            yield from _bounds(shape, value, path)
    elif shape.type_name == "boolean" and not isinstance(value, bool):
        yield f"{path} is no boolean: {value!r}"


def _structure(shape: Shape, value: Any, path: str, required: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no structure: {value!r}"
        return
    if required:
        yield from (f"{path}.{name} is required" for name in shape.required_members if value.get(name) is None)
    if shape.metadata.get("union") and len(value) != 1:
        yield f"{path} must have one member, and has {sorted(value)}"
    for name, one in value.items():
        member = shape.members.get(name)
        if member is None:
            yield f"{path}.{name} is no member"
            continue
        if member.metadata.get("deprecated"):
            yield f"{path}.{name} is deprecated"
        yield from constraints(member, one, f"{path}.{name}", required=required)


def _map(shape: Shape, value: Any, path: str, required: bool) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is no map: {value!r}"
        return
    yield from _bounds(shape, len(value), path)
    for key, one in value.items():
        if not key.startswith("$"):  # the key is cut
            yield from constraints(shape.key, key, f"{path} key", required=required)
        yield from constraints(shape.value, one, f"{path}[{key}]", required=required)


def _list(shape: Shape, value: Any, path: str, required: bool) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} is no list: {value!r}"
        return
    yield from _bounds(shape, len(value), path)
    for one in value:
        yield from constraints(shape.member, one, f"{path}[]", required=required)


def _string(shape: Shape, value: Any, path: str, _: bool) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} is no string: {value!r}"
        return
    yield from _bounds(shape, len(value), path)
    if shape.enum and value not in shape.enum:
        yield f"{path} is none of the model's values: {value!r}"
    pattern = _pattern(shape.metadata.get("pattern") or "")
    if pattern and not pattern.fullmatch(value):
        yield f"{path} does not match {pattern.pattern}: {value[:80]!r}"


def _bounds(shape: Shape, measured: float, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and measured < low:
        yield f"{path} is {measured}, below {low}"
    if high is not None and measured > high:
        yield f"{path} is {measured}, above {high}"


@functools.cache
def _pattern(text: str) -> re.Pattern[str] | None:
    r"""The models' patterns are Java's; those that Python reads otherwise (``\p{L}``) are translated."""
    if not text:
        return None
    for theirs, ours in ((r"\p{L}", r"^\W\d_"), (r"\p{Z}", r"\s"), (r"\p{N}", r"\d")):
        if theirs in text:
            # A class within a class: letters of any alphabet cannot be written as one, so any such text is let pass.
            return None if theirs == r"\p{L}" else _pattern(text.replace(theirs, ours))
    try:
        return re.compile(text, re.S)
    except re.error:
        return None
