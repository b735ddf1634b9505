"""Policy documents, read and checked as IAM checks them when they are put.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from .conditions import Condition, ConditionError, condition
from .context import Context
from .patterns import Pattern, pattern

VERSIONS = ("2012-10-17", "2008-10-17")
MEMBERS = frozenset({"Version", "Id", "Statement"})
STATEMENT_MEMBERS = frozenset(
    "Sid Effect Principal NotPrincipal Action NotAction Resource NotResource Condition".split()
)
PRINCIPAL_KINDS = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})
_ACTION = re.compile(r"\*+|[a-zA-Z0-9-]+:[a-zA-Z0-9*?-]+")


class PolicyError(ValueError):
    """A document that IAM would refuse as ``MalformedPolicyDocument``."""


@dataclass(frozen=True)
class Principals:
    """Who a statement of a resource policy is about: ``(kind, value)`` pairs; ``("AWS", "*")`` is everybody."""

    members: frozenset[tuple[str, str]]
    negated: bool


@dataclass(frozen=True)
class Statement:
    """One statement. ``start`` and ``end`` are its places in the document's text."""

    sid: str
    allows: bool
    actions: tuple[Pattern, ...]
    not_actions: bool
    resources: tuple[Pattern, ...]
    not_resources: bool
    principals: Principals | None
    conditions: tuple[Condition, ...]
    start: int = 0
    end: int = 0

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Whether the statement is about this action on this resource under these circumstances (principals aside)."""
        return (
            any(_is_action(one, action) for one in self.actions) != self.not_actions
            and self._is_about(resource, context)
            and all(one.holds(context) for one in self.conditions)
        )

    def _is_about(self, resource: str, context: Context) -> bool:
        if not self.resources:  # a trust policy: it is about the role that carries it
            return True
        return any(one.matches_resource(resource, context) for one in self.resources) != self.not_resources


@dataclass(frozen=True)
class Document:
    """A policy; ``name`` says which in messages and simulations."""

    text: str
    statements: tuple[Statement, ...]


@functools.lru_cache(4096)
def parse(text: str, kind: str = "identity") -> Document:
    """Read a policy of a kind: ``identity``, ``resource`` (with principals) or ``trust`` (that, without resources).

    Raises :class:`PolicyError` with the reason. The same text is read once.
    """
    try:
        read = json.loads(text)
    except ValueError as error:
        raise PolicyError(f"This policy contains invalid Json: {error}") from error
    if not isinstance(read, dict) or not set(read) <= MEMBERS:
        raise PolicyError("Syntax errors in policy.")
    if read.get("Version", VERSIONS[1]) not in VERSIONS:
        raise PolicyError("The policy must contain a valid version string")
    given = read.get("Statement")
    statements = given if isinstance(given, list) else [given]
    if not statements or not all(isinstance(one, dict) for one in statements):
        raise PolicyError("Syntax errors in policy: a policy has at least one statement.")
    variables = read.get("Version") == VERSIONS[0]
    places = _places(text, len(statements))
    made = [
        _statement(one, kind, variables=variables, place=place) for one, place in zip(statements, places, strict=True)
    ]
    sids = [one.sid for one in made if one.sid]
    if len(sids) != len(set(sids)):
        raise PolicyError("Statement IDs (SID) in a single policy must be unique.")
    return Document(text, tuple(made))


def _statement(given: dict[str, Any], kind: str, *, variables: bool, place: tuple[int, int]) -> Statement:
    unknown = set(given) - STATEMENT_MEMBERS
    if unknown:
        raise PolicyError(f"Syntax errors in policy: '{min(unknown)}' is no element of a statement.")
    if given.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError("Syntax errors in policy: Effect is Allow or Deny.")
    actions, not_actions = _either(given, "Action", required=True)
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise PolicyError(f"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. ({action})")
    if kind == "trust" and ("Resource" in given or "NotResource" in given):
        raise PolicyError("Has prohibited field Resource")
    resources, not_resources = _either(given, "Resource", required=kind != "trust")
    for resource in resources:
        if not resource.startswith(("arn:", "*", "${")):
            raise PolicyError(f'Resource {resource} must be in ARN format or "*".')
    return Statement(
        sid=str(given.get("Sid", "")),
        allows=given["Effect"] == "Allow",
        actions=tuple(pattern(action.lower(), variables=False) for action in actions),
        not_actions=not_actions,
        resources=tuple(pattern(resource, variables=variables) for resource in resources),
        not_resources=not_resources,
        principals=_principals(given, kind),
        conditions=tuple(_conditions(given.get("Condition", {}), variables=variables)),
        start=place[0],
        end=place[1],
    )


def _either(given: dict[str, Any], name: str, *, required: bool) -> tuple[list[str], bool]:
    """The values of ``Action`` or ``NotAction`` (exactly one of them), and whether it is the negated one."""
    if name in given and f"Not{name}" in given:
        raise PolicyError(f"Syntax errors in policy: {name} and Not{name} exclude each other.")
    negated = f"Not{name}" in given
    values = _texts(given.get(f"Not{name}" if negated else name, []), name)
    if required and not values:
        raise PolicyError(f"Policy statement must contain {name.lower()}s.")
    return values, negated


def _principals(given: dict[str, Any], kind: str) -> Principals | None:
    negated = "NotPrincipal" in given
    named = given.get("NotPrincipal" if negated else "Principal")
    if kind == "identity":
        if named is not None:
            raise PolicyError("Policy document should not specify a principal.")
        return None
    if named is None or (negated and "Principal" in given):
        raise PolicyError("Missing required field Principal")
    if named == "*":
        return Principals(frozenset({("AWS", "*")}), negated)
    if not isinstance(named, dict) or not named or not set(named) <= PRINCIPAL_KINDS:
        raise PolicyError("Invalid principal in policy")
    members = {(kind, value) for kind, values in named.items() for value in _texts(values, "Principal")}
    for _, value in members:
        if "*" in value and value != "*":
            raise PolicyError(f'Invalid principal in policy: "AWS":"{value}"')
    return Principals(frozenset(members), negated)


def _conditions(given: Any, *, variables: bool) -> list[Condition]:
    if not isinstance(given, dict) or not all(isinstance(keys, dict) for keys in given.values()):
        raise PolicyError("Syntax errors in policy: a condition is an operator, a key and values.")
    try:
        return [
            condition(operator, key, _texts(values, "Condition"), variables=variables)
            for operator, keys in given.items()
            for key, values in keys.items()
        ]
    except ConditionError as error:
        raise PolicyError(f"Syntax errors in policy: {error}.") from error


def _texts(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str | int | float) for one in values):
        raise PolicyError(f"Syntax errors in policy: the values of {name} are texts.")
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]


def _is_action(wanted: Pattern, action: str) -> bool:
    return wanted.matches(action.lower(), _NOTHING)


def _places(text: str, count: int) -> list[tuple[int, int]]:
    """Where each statement is written: what a simulation shows of the statements that matched."""
    found = re.search(r'"Statement"\s*:\s*\[?\s*', text)
    places, at, decoder = [], found.end() if found else 0, json.JSONDecoder()
    for _ in range(count):
        end = decoder.raw_decode(text, at)[1]
        places.append((at, end))
        following = re.compile(r"[\s,]*").match(text, end)
        at = following.end() if following else end
    return places


_NOTHING = Context()
