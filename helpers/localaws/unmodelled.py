"""What a request says that its operation's model does not have: AWS may ignore it, or refuse the request for it.

Parsing drops such members, as AWS's deserialisers do. Here they are looked for in what came over the wire.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.model import Shape

from .protocol import Call

# Of the query protocols, and of signatures in a query string.
ENVELOPE = frozenset({"Action", "Version"})
SIGNATURE = ("X-Amz-", "AWSAccessKeyId", "Signature", "Expires")


def names(call: Call) -> list[str]:
    """Dotted paths of what the model has no member for, sorted; of XML bodies nothing is looked at."""
    return sorted(set(_unknown(call)))


def _unknown(call: Call) -> Iterator[str]:
    shape = call.model.input_shape
    if call.protocol in ("query", "ec2"):
        for key in call.wire.values:
            if key not in ENVELOPE and not _has(shape, key.split("."), call.protocol):
                yield key
        return
    if call.protocol != "json":
        yield from _of_query_string(call, shape)
    if call.protocol in ("json", "rest-json") and not _is_payload(shape):
        yield from _of_document(shape, _read(call.body), "")


def _is_payload(shape: Shape | None) -> bool:
    return shape is not None and "payload" in shape.serialization


def _read(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None


def _of_document(shape: Shape | None, value: Any, path: str) -> Iterator[str]:
    """JSON, by the names on the wire."""
    kind = shape.type_name if shape is not None else "structure"
    if kind == "structure" and isinstance(value, dict):
        members = {one.serialization.get("name", name): one for name, one in shape.members.items()} if shape else {}
        for name, one in value.items():
            if name in members:
                yield from _of_document(members[name], one, f"{path}{name}.")
            else:
                yield f"{path}{name}"
    elif shape is not None and kind == "list" and isinstance(value, list):
        for one in value:
            yield from _of_document(shape.member, one, path)
    elif shape is not None and kind == "map" and isinstance(value, dict):
        for one in value.values():
            yield from _of_document(shape.value, one, f"{path}*.")


def _of_query_string(call: Call, shape: Shape | None) -> Iterator[str]:
    """Of REST services; what the operation's address itself has (``?tagging``) is no parameter."""
    known = set(_fixed(call.model.http["requestUri"]))
    for name, member in shape.members.items() if shape is not None else ():
        if member.serialization.get("location") == "querystring":
            if member.type_name == "map":
                return
            known.add(member.serialization.get("name", name))
    # Clients name the operation in S3's query now and then, as the model's address does.
    known.add("x-id")
    yield from (name for name in call.wire.args if name not in known and not name.startswith(SIGNATURE))


def _fixed(address: str) -> Iterator[str]:
    for part in address.partition("?")[2].split("&"):
        yield part.partition("=")[0]


def _has(shape: Shape | None, path: list[str], protocol: str) -> bool:
    """Whether a form's key (``Tags.member.1.Key``, ``TagSpecification.1.Tag.1.Key``) leads to a member."""
    if not path:
        return True
    if shape is None:
        return False
    if shape.type_name == "structure":
        member = next((one for name, one in shape.members.items() if _on_wire(name, one, protocol) == path[0]), None)
        return member is not None and _has(member, path[1:], protocol)
    if shape.type_name == "list":
        if not path[0].isdigit():  # "member", or the item's own name
            path = path[1:]
        return path == [] or (path[0].isdigit() and _has(shape.member, path[1:], protocol))
    if shape.type_name == "map":
        return len(path) >= 2  # entry.1.key, entry.1.value
    return False


def _on_wire(name: str, member: Shape, protocol: str) -> str:
    """What botocore's serialisers write for a member."""
    if protocol == "ec2":
        given: str = member.serialization.get("queryName") or member.serialization.get("name", name)
        return given if "queryName" in member.serialization else given[0].upper() + given[1:]
    inner = member.member.serialization.get("name") if member.serialization.get("flattened") else None
    return str(inner or member.serialization.get("name", name))


__all__ = ["names"]
