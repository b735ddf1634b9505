"""One call as the rules see it, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Params = Mapping[str, Any]
ANY = "*"


@dataclass(frozen=True)
class Need:
    """A permission that a call needs: an IAM action on a resource, and what is special about its context."""

    action: str
    resource: str = ANY
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """A call: its operation and input, where it was sent, and by whom (``caller``: an ARN).

    ``entity_arn`` finds the ARN of an IAM user, role, group or instance profile by kind and name (their paths are known
    only to IAM); ``headers`` are the HTTP headers, lower case, for the services whose input is there.
    """

    service: str
    operation: str
    params: Params
    region: str
    account: str
    caller: str = ""
    entity_arn: Callable[[str, str], str | None] = lambda *_: None
    headers: Mapping[str, str] = field(default_factory=dict)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource in the call's region and account."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def iam_arn(self, kind: str, name: str) -> str:
        """The ARN of an IAM entity: with its path if it is there, with the one the call gives it otherwise."""
        path = self.params.get("Path") or "/"
        return self.entity_arn(kind, name) or f"arn:aws:iam::{self.account}:{kind}{path}{name}"

    def action(self, prefix: str) -> str:
        """The action that is named as the operation is."""
        return f"{prefix}:{self.operation}"


Rule = Callable[[Ask], Iterator[Need]]


def pass_role(role_arn: Any, service: str, resource: str | None = None) -> Iterator[Need]:
    """What handing a role to a service needs; nothing where no role is handed."""
    if isinstance(role_arn, str) and role_arn:
        yield Need("iam:PassRole", role_arn, {"iam:PassedToService": service, "iam:AssociatedResourceArn": resource})


def tags_in(params: Params) -> dict[str, str]:
    """The tags that a call gives, in any of the forms that services have."""
    given = next((params[name] for name in ("Tags", "tags", "TagList", "ResourceTags") if params.get(name)), None)
    if given is None:  # EC2's, by the kind of what is made
        given = [tag for one in params.get("TagSpecifications") or [] for tag in one.get("Tags") or []]
    given = given.get("TagSet") if isinstance(given, Mapping) and "TagSet" in given else given
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    pairs = [one for one in given or [] if isinstance(one, Mapping)]
    return {str(_member(one, "Key")): str(_member(one, "Value") or "") for one in pairs}


def _member(pair: Mapping[str, Any], name: str) -> Any:
    return next((pair[one] for one in (name, name.lower(), f"Tag{name}") if one in pair), None)
