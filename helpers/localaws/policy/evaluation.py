"""What policies decide together, within one account.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
"""

from __future__ import annotations

from dataclasses import dataclass

from .context import Context
from .documents import Document, Principals, Statement


@dataclass(frozen=True)
class Principal:
    """Who asks, as resource policies name it.

    ``arn`` is a user's or a role's; a session of a role has its own in ``session``. A service (``service`` is
    ``lambda.amazonaws.com``) has neither.
    """

    account: str = ""
    arn: str = ""
    session: str = ""
    service: str = ""


@dataclass(frozen=True)
class Policies:
    """Everything that has a say. An absent boundary or session policy does not limit; an empty one allows nothing."""

    identity: tuple[Document, ...] = ()
    boundary: tuple[Document, ...] | None = None
    session: tuple[Document, ...] | None = None
    resource: tuple[Document, ...] = ()
    # A role's trust policy must itself allow; elsewhere in the same account the identity's policies suffice.
    resource_must_allow: bool = False

    def by_kind(self) -> list[tuple[str, tuple[Document, ...]]]:
        """The documents by AWS's name of their kind."""
        return [
            ("an identity-based policy", self.identity),
            ("a resource-based policy", self.resource),
            ("a permissions boundary", self.boundary or ()),
            ("a session policy", self.session or ()),
        ]


@dataclass(frozen=True)
class Decision:
    """Whether it is allowed, the statements that decided, and ``reason`` in AWS's words where it is not."""

    allowed: bool
    reason: str
    explicit: bool = False
    matched: tuple[tuple[Document, Statement], ...] = ()


Matched = tuple[tuple[Document, Statement], ...]


def decide(principal: Principal, action: str, resource: str, context: Context, policies: Policies) -> Decision:
    """AWS's evaluation: an explicit deny wins; then something must allow, and every limit must allow too."""
    denied = _denied(principal, action, resource, context, policies)
    if denied:
        return denied
    granted, directly = _by_resource(principal, action, resource, context, policies.resource)
    if policies.resource_must_allow and not granted:
        return _refusal("resource-based policy", action)
    if directly:
        return Decision(True, "", matched=granted)
    by_identity = _allows(policies.identity, action, resource, context)
    # A grant to the whole account leaves it to the account's identity policies; one to the role itself does not.
    limited_grant = granted if any(_names(one, principal) for _, one in granted) else ()
    if not by_identity and not limited_grant:
        return _refusal("identity-based policy", action)
    for documents, name in ((policies.boundary, "permissions boundary"), (policies.session, "session policy")):
        if documents is not None and not _allows(documents, action, resource, context):
            return _refusal(name, action)
    return Decision(True, "", matched=by_identity + limited_grant)


def _denied(principal: Principal, action: str, resource: str, context: Context, policies: Policies) -> Decision | None:
    for kind, documents in policies.by_kind():
        for document in documents:
            for statement in document.statements:
                if (
                    not statement.allows
                    and _is_addressed(statement.principals, principal)
                    and statement.applies(action, resource, context)
                ):
                    reason = f"with an explicit deny in {kind}"
                    return Decision(False, reason, explicit=True, matched=((document, statement),))
    return None


def _allows(documents: tuple[Document, ...], action: str, resource: str, context: Context) -> Matched:
    return tuple(
        (document, statement)
        for document in documents
        for statement in document.statements
        if statement.allows and statement.applies(action, resource, context)
    )


def _by_resource(
    principal: Principal, action: str, resource: str, context: Context, documents: tuple[Document, ...]
) -> tuple[Matched, bool]:
    """What the resource's policy allows, and whether it does so directly, whatever limits the principal has.

    Direct is a grant to a user, to a role's session, to a service or to everybody; one to a role stays within the
    role's boundary and session policy.
    """
    granted = tuple(
        (document, statement)
        for document in documents
        for statement in document.statements
        if statement.allows
        and _is_addressed(statement.principals, principal)
        and statement.applies(action, resource, context)
    )
    return granted, any(_is_direct(statement.principals, principal) for _, statement in granted)


def _is_direct(principals: Principals | None, principal: Principal) -> bool:
    if principals is None or principals.negated:
        return principals is not None
    itself = {("Service", principal.service), ("AWS", "*"), ("AWS", principal.session or principal.arn)}
    return bool(principals.members & (itself - {("Service", ""), ("AWS", "")}))


def _names(statement: Statement, principal: Principal) -> bool:
    return statement.principals is not None and ("AWS", principal.arn) in statement.principals.members


def _is_addressed(principals: Principals | None, principal: Principal) -> bool:
    if principals is None:
        return True
    names = {("AWS", "*")}
    if principal.service:
        names |= {("Service", principal.service), ("Service", "*")}
    else:
        named = (principal.arn, principal.session, principal.account)
        names |= {("AWS", name) for name in named if name}
        names |= {("AWS", f"arn:aws:iam::{principal.account}:root")}
    return bool(principals.members & names) != principals.negated


def _refusal(kind: str, action: str) -> Decision:
    return Decision(False, f"because no {kind} allows the {action} action")


__all__ = ["Decision", "Policies", "Principal", "decide"]
