"""Credentials of roles, as services take them for a job, an endpoint or a function; and the account's administrator.

A training job and an endpoint fetch theirs from an HTTP address on loopback, by the road of AWS's container credentials
(``AWS_CONTAINER_CREDENTIALS_FULL_URI``), so any SDK inside finds and renews them by itself.
"""

from __future__ import annotations

import json
import secrets
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .authorization import Authorization
from .errors import AwsError
from .folder import write_whole
from .protocol import Response
from .records import Records

HOUR = 3600
ADMINISTRATOR = "administrator"


@dataclass(frozen=True)
class Keys:
    """Temporary credentials of an assumed role; ``expiration`` is ISO 8601 UTC."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: str

    def environment(self) -> dict[str, str]:
        """As Lambda hands them to a function."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }


class Credentials:
    """Issues credentials of roles that trust a service."""

    def __init__(self, records: Records, authorization: Authorization, url: str) -> None:
        self._records, self._authorization, self._url = records, authorization, url
        self._lock = threading.Lock()
        self._vended: dict[str, tuple[str, str, str, str, str | None]] = {}

    def check_trust(self, role_arn: str, service: str, source_arn: str | None = None) -> str | None:
        """Why ``service`` (``sagemaker.amazonaws.com``) may not take the role; None if it may.

        ``source_arn`` is the resource that the service takes it for: conditions of trust policies may name it.
        """
        return self._authorization.trusts(role_arn, service, source_arn)

    def assume(
        self, role_arn: str, service: str, session: str, seconds: int = HOUR, source_arn: str | None = None
    ) -> Keys:
        """Credentials of the role for a service's session; raises ``AccessDenied`` where the role does not trust it."""
        why = self.check_trust(role_arn, service, source_arn)
        if why:
            raise AwsError("AccessDenied", f"{service} is not authorized to assume {role_arn}: {why}.", 403)
        with self._records.lock("iam"), self._records.lock("sts"):
            self._forget_ended()
            assumed = self._records.backend("sts", "aws").assume_role(
                region_name="us-east-1",
                role_session_name=session[:64],
                role_arn=role_arn,
                policy=None,
                duration=seconds,
                external_id=None,
            )
            self._records.keep("sts", "AssumeRole", "us-east-1", {})
        return Keys(
            assumed.access_key_id,
            assumed.secret_access_key,
            assumed.session_token,
            assumed.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def _forget_ended(self) -> None:
        """Sessions whose credentials ended an hour ago (until then the answer is that they have expired) go."""
        sts, keys = self._records.backend("sts", "aws"), self._records.backend("iam", "aws").access_keys
        end = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=HOUR)
        for session in [one for one in sts.assumed_roles if one.expiration < end]:
            sts.assumed_roles.remove(session)
            keys.pop(session.access_key_id, None)

    def vend(
        self, role_arn: str, service: str, session: str, source_arn: str | None = None
    ) -> tuple[str, dict[str, str]]:
        """A credentials address for one container: its id (for :meth:`revoke`), and the environment that names it.

        Raises ``AccessDenied`` as :meth:`assume` does, now rather than at the container's first call.
        """
        self.assume(role_arn, service, session, source_arn=source_arn)
        identifier, token = uuid.uuid4().hex, secrets.token_urlsafe(32)
        with self._lock:
            self._vended[identifier] = (token, role_arn, service, session, source_arn)
        return identifier, {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self._url}/_localaws/credentials/{identifier}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        }

    def revoke(self, identifier: str) -> None:
        """Stop answering for a container that has ended."""
        with self._lock:
            self._vended.pop(identifier, None)

    def answer(self, identifier: str, authorization: str) -> Response:
        """What a container's SDK gets from its credentials address."""
        token, role_arn, service, session, source_arn = self._vended.get(identifier, ("", "", "", "", None))
        if not token or not secrets.compare_digest(token.encode(), authorization.encode()):
            return Response(403, [("Content-Type", "application/json")], b'{"code": "AccessDenied"}')
        keys = self.assume(role_arn, service, session, source_arn=source_arn)
        document = {
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": keys.expiration,
            "RoleArn": role_arn,
        }
        return Response(200, [("Content-Type", "application/json")], json.dumps(document).encode())


def administrator(records: Records, folder: Path) -> dict[str, str]:
    """The access key of the account's administrator: a real IAM user, made at the first start and kept."""
    path = folder / "administrator.json"
    if path.exists():
        saved: dict[str, str] = json.loads(path.read_text())
        return saved
    with records.lock("iam"):
        iam = records.backend("iam", "aws")
        if ADMINISTRATOR not in iam.users:  # else a server was killed before it wrote the key down
            iam.create_user(region_name="us-east-1", user_name=ADMINISTRATOR)
        iam.attach_user_policy("arn:aws:iam::aws:policy/AdministratorAccess", ADMINISTRATOR)
        key = iam.create_access_key(ADMINISTRATOR)
        records.keep("iam", "CreateAccessKey", "us-east-1", {})
    made = {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}
    write_whole(path, json.dumps(made))
    return made
