"""Who is behind an access key, and the policies that person or role has: read from IAM's and STS's records.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .policy import Document, Policies, PolicyError, Principal, parse
from .records import Records

USER, SESSION, ANONYMOUS = "User", "AssumedRole", "Anonymous"


@dataclass(frozen=True)
class Caller:
    """A user, a session of a role, or nobody in particular. ``arn`` is what AWS writes in messages."""

    kind: str
    arn: str = "anonymous"
    user_id: str = "anonymous"
    name: str = ""
    principal: Principal = field(default_factory=Principal)
    policies: Policies = field(default_factory=Policies)
    tags: Mapping[str, str] = field(default_factory=dict)
    issued: datetime | None = None

    def context(self) -> dict[str, Any]:
        """The condition keys that are about the caller."""
        if self.kind == ANONYMOUS:
            return {"aws:PrincipalType": ANONYMOUS, "aws:userid": self.user_id}
        found: dict[str, Any] = {f"aws:PrincipalTag/{key}": value for key, value in self.tags.items()}
        found |= {
            "aws:PrincipalArn": self.principal.arn,
            "aws:PrincipalAccount": self.principal.account,
            "aws:PrincipalType": self.kind,
            "aws:userid": self.user_id,
        }
        if self.kind == USER:
            return found | {"aws:username": self.name}
        # Only temporary credentials say whether there was a second factor; a role's session never has one here.
        issued = self.issued.strftime("%Y-%m-%dT%H:%M:%SZ") if self.issued else None
        return found | {"aws:MultiFactorAuthPresent": "false", "aws:TokenIssueTime": issued}


@dataclass(frozen=True)
class Key:
    """An access key: its secret, its session's token and end if it is temporary, and where its owner is."""

    secret: str
    active: bool
    token: str | None = None
    expiration: datetime | None = None
    owner: Any = None  # moto's session of a role
    user: str | None = None


class Identities:
    """Users, roles and sessions of the account."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._sessions: dict[str, Any] = {}

    def key(self, access_key: str) -> Key | None:
        """An access key of the account, active or not; None for a key that is not of the account."""
        with self._records.lock("iam"):
            held = self._iam.access_keys.get(access_key)
            if held is None:
                return None
            if held.user_name is not None:
                owner = self._iam.users.get(held.user_name)
                known = owner is not None and any(one.access_key_id == access_key for one in owner.access_keys)
                return Key(held.secret_access_key, held.status == "Active", user=held.user_name) if known else None
            session = self._session(access_key)
        if session is None:
            return None
        expiration = session.expiration.replace(tzinfo=UTC)
        return Key(held.secret_access_key, True, session.session_token, expiration, session)

    def owner(self, key: Key) -> Caller | None:
        """Who a key belongs to, with the policies of this moment; None where that user has been deleted since."""
        with self._records.lock("iam"):
            if key.user is None:
                return self._session_caller(key.owner)
            user = self._iam.users.get(key.user)
            return self._user(user) if user is not None else None

    def session(self, role_arn: str, name: str) -> Caller | None:
        """A service's session of a role, as the engines act in it; None where there is no such role."""
        with self._records.lock("iam"):
            role = self.role(role_arn)
            return self._role_caller(role, name) if role is not None else None

    def named(self, arn: str) -> Caller | None:
        """The user, role or group of an ARN, for simulations."""
        with self._records.lock("iam"):
            role = self.role(arn)
            if role is not None:
                return self._role_caller(role, "")
            for user in self._iam.users.values():
                if user.arn == arn:
                    return self._user(user)
            for group in self._iam.groups.values():
                if group.arn == arn:
                    documents = tuple(self._attached(group))
                    return Caller("Group", arn, policies=Policies(identity=documents))
        return None

    def role(self, arn: str) -> Any:
        """moto's role of an ARN, or None."""
        name = arn.rpartition("/")[2]
        with self._records.lock("iam"):
            held = next((role for role in self._iam.roles.values() if role.name == name), None)
        return held if held is not None and held.arn == arn else None

    def entity(self, arn: str) -> Any:
        """moto's role or user of an ARN, or None."""
        with self._records.lock("iam"):
            users = (one for one in self._iam.users.values() if one.arn == arn)
            return self.role(arn) or next(users, None)

    def entity_arn(self, kind: str, name: str) -> str | None:
        """The ARN of an IAM entity by its kind and name, path and all; None if there is none."""
        with self._records.lock("iam"):
            iam = self._iam
            if kind == "role-of-instance-profile":
                profile = next((one for one in iam.instance_profiles.values() if one.name == name), None)
                return str(profile.roles[0].arn) if profile is not None and profile.roles else None
            found: dict[str, Any] = {
                "user": iam.users, "role": iam.roles, "group": iam.groups, "instance-profile": iam.instance_profiles
            }.get(kind, {})  # fmt: skip
            return next((str(one.arn) for one in found.values() if one.name == name), None)

    def trust(self, role_arn: str) -> tuple[Document, ...] | None:
        """A role's trust policy; None where there is no such role."""
        with self._records.lock("iam"):
            role = self.role(role_arn)
            return None if role is None else tuple(_read([role.assume_role_policy_document], "trust"))

    # ---- moto's records, read ----

    @functools.cached_property
    def _iam(self) -> Any:
        return self._records.backend("iam", "aws")

    def _session(self, access_key: str) -> Any:
        found = self._sessions.get(access_key)
        if found is None:
            sessions = self._records.backend("sts", "aws").assumed_roles
            self._sessions = {one.access_key_id: one for one in list(sessions)}
            found = self._sessions.get(access_key)
        return found

    def _user(self, user: Any) -> Caller:
        groups = [group for group in self._iam.groups.values() if user in group.users]
        documents = [*self._attached(user), *(one for group in groups for one in self._attached(group))]
        return Caller(
            USER,
            user.arn,
            user.id,
            user.name,
            Principal(user.account_id, user.arn),
            Policies(identity=tuple(documents)),
            {tag["Key"]: tag["Value"] for tag in user.tags or []},
        )

    def _session_caller(self, session: Any) -> Caller:
        role = self.role(session.role_arn)
        if role is None:  # deleted since: its sessions can do nothing any more
            return Caller(SESSION, session.arn, principal=Principal(session.account_id, session.role_arn, session.arn))
        arns = getattr(session, "policy_arns", None) or []
        inline = [session.policy] if session.policy else []
        limits = (*_read(inline), *self._documents(arns)) if inline or arns else None
        issued = getattr(session, "issued", None)
        return self._role_caller(role, session.session_name, limits, getattr(session, "tags", None), issued)

    def _role_caller(
        self,
        role: Any,
        session: str,
        limits: tuple[Document, ...] | None = None,
        tags: Mapping[str, str] | None = None,
        issued: datetime | None = None,
    ) -> Caller:
        arn = f"arn:aws:sts::{role.account_id}:assumed-role/{role.name}/{session}" if session else role.arn
        boundary = role.permissions_boundary_arn
        return Caller(
            SESSION,
            arn,
            f"{role.id}:{session}" if session else role.id,
            principal=Principal(role.account_id, role.arn, arn if session else ""),
            policies=Policies(
                identity=tuple(self._attached(role)),
                boundary=tuple(self._documents([boundary])) if boundary else None,
                session=limits,
            ),
            tags={tag["Key"]: tag["Value"] for tag in role.tags or []} | dict(tags or {}),
            issued=issued or datetime.now(UTC),
        )

    def _attached(self, entity: Any) -> Iterator[Document]:
        """Inline and attached policies of a user, a group or a role."""
        yield from _read(list(entity.policies.values()))
        yield from _read([_default_document(policy) for policy in entity.managed_policies.values()])

    def _documents(self, arns: list[str]) -> Iterator[Document]:
        """Managed policies; one that is gone allows nothing, and limits all the same."""
        found = [self._iam.managed_policies.get(arn) for arn in arns]
        yield from _read([_default_document(policy) for policy in found if policy is not None])


def _default_document(policy: Any) -> str:
    version = next(one for one in policy.versions if one.version_id == policy.default_version_id)
    return str(version.document)


def _read(texts: list[Any], kind: str = "identity") -> Iterator[Document]:
    for text in texts:
        try:
            yield parse(str(text), kind)
        except PolicyError as error:
            # Policies are checked when they are put: only state of an older version can be here.
            raise PolicyError(f"a stored policy cannot be read: {error}") from error


__all__ = ["ANONYMOUS", "Caller", "Identities", "Key"]
