"""The ways to name a function: name, name:qualifier, partial ARN, full ARN."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import AwsError
from .faults import invalid, refuse, violated

LATEST = "$LATEST"
MAX_NAME = 64
_PATTERN = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?"
    r"(?:(?P<region>[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9-_]+)"
    r"(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True)
class FunctionReference:
    """A function, and which version of it: ``qualifier`` is ``$LATEST``, a version's number, an alias, or None."""

    name: str
    qualifier: str | None = None
    region: str | None = None
    account: str | None = None


def parse(text: str, qualifier: str | None = None) -> FunctionReference:
    """Read ``FunctionName`` (and ``Qualifier``, where the operation has one).

    Raises ``ValidationException`` for what is no function's name, ``InvalidParameterValueException`` where the name has
    a qualifier of its own that differs.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        violated(text, "functionName", f"satisfy regular expression pattern: {_PATTERN.pattern}")
    if len(found["name"]) > MAX_NAME:
        violated(found["name"], "functionName", f"have length less than or equal to {MAX_NAME}")
    if qualifier and found["qualifier"] and qualifier != found["qualifier"]:
        invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return FunctionReference(found["name"], qualifier or found["qualifier"], found["region"], found["account"])


def resolve(text: str, qualifier: str | None, region: str, account: str) -> FunctionReference:
    """:func:`parse`, for a request in ``region`` of ``account``; raises where the ARN belongs elsewhere."""
    reference = parse(text, qualifier)
    if reference.region and reference.region != region:
        refuse(
            "ResourceNotFoundException",
            f"Functions from '{reference.region}' are not reachable in this region ('{region}')",
            404,
        )
    if reference.account and reference.account != account:
        raise AwsError(
            "AccessDeniedException", f"The account {reference.account} gives no access to its functions.", 403
        )
    return reference


def function_arn(region: str, account: str, name: str, qualifier: str | None = None) -> str:
    """The ARN of a function, or of a version or an alias of it."""
    return f"arn:aws:lambda:{region}:{account}:function:{name}" + (f":{qualifier}" if qualifier else "")


def is_version(qualifier: str | None) -> bool:
    """Whether a qualifier is the number of a published version."""
    return bool(qualifier) and str(qualifier).isdecimal()
