"""The policies of functions as the evaluator reads them.

https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...policy import Document as Policy
from ...policy import parse

if TYPE_CHECKING:
    from .documents import Functions


def of(documents: Functions, arn: str) -> list[Policy]:
    """The policy of a function, a version or an alias (each has its own); nothing where it has none."""
    _, _, _, region, _, resource = arn.split(":", 5)
    kind, _, rest = resource.partition(":")
    name, _, qualifier = rest.partition(":")
    held = documents.peek(region, name) if kind == "function" else None
    statements = held["policies"].get(qualifier, {}).get("statements") if held else None
    return [parse(json.dumps({"Version": "2012-10-17", "Statement": statements}), "resource")] if statements else []
