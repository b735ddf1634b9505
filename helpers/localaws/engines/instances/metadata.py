"""The instance metadata service, version 2, as one instance sees it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html

On AWS it is at http://169.254.169.254, an address that only root could give this machine. So each instance has one of
its own on loopback, which every SDK and the AWS CLI take from ``AWS_EC2_METADATA_SERVICE_ENDPOINT``; a script that asks
with curl is to use ``${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}``. The address holds a secret, since
others on this machine could reach it too. The hop limit is recorded but has
no meaning on loopback.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST_TOKEN = 21_600  # seconds
Facts = Mapping[str, str | Callable[[], str]]


@dataclass(frozen=True)
class Answer:
    """Status, body and time to live (of a token, seconds) of one answer."""

    status: int
    body: str = ""
    ttl: int | None = None


class Metadata:
    """Tokens, and the tree of facts below ``/latest/``; ``now`` counts seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._tokens: dict[str, float] = {}

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], facts: Facts, *, tokens_required: bool
    ) -> Answer:
        """Answer a request; ``headers`` by lower-case name, ``facts`` by path below ``/latest/``."""
        if path.rstrip("/") == "/latest/api/token":
            return self._token(method, headers)
        if method not in ("GET", "HEAD"):
            return Answer(405)
        token = headers.get("x-aws-ec2-metadata-token")
        if (token is None and tokens_required) or (token is not None and not self._valid(token)):
            return Answer(401, "Unauthorized")
        if path.strip("/") == "":
            return Answer(200, "latest")
        if not f"{path.rstrip('/')}/".startswith("/latest/"):
            return Answer(404, "Not Found")
        found = look_up(facts, path.removeprefix("/latest").strip("/"))
        return Answer(404, "Not Found") if found is None else Answer(200, found)

    def _token(self, method: str, headers: Mapping[str, str]) -> Answer:
        if method != "PUT":
            return Answer(405)
        # A request that went through an open proxy comes from elsewhere than this instance.
        if "x-forwarded-for" in headers:
            return Answer(403, "Forbidden")
        given = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not given.isdigit() or not 1 <= int(given) <= LONGEST_TOKEN:
            return Answer(400, "Bad Request")
        token = secrets.token_urlsafe(40)
        with self._lock:
            self._tokens = {one: end for one, end in self._tokens.items() if end > self._now()}
            self._tokens[token] = self._now() + int(given)
        return Answer(200, token, int(given))

    def _valid(self, token: str) -> bool:
        with self._lock:
            return self._tokens.get(token, 0.0) > self._now()


def look_up(facts: Facts, path: str) -> str | None:
    """The fact at a path, or the names below it (folders with a slash), one a line; None where there is neither."""
    if path in facts:
        fact = facts[path]
        return fact if isinstance(fact, str) else fact()
    below = f"{path}/" if path else ""
    rest = [name.removeprefix(below) for name in facts if name.startswith(below)]
    names = {one if "/" not in one else one.split("/")[0] + "/" for one in rest}
    return "\n".join(sorted(names)) if names else None
