"""Who may talk to the embedded AWS at all: programs on this machine, and no web page.

A page in the user's browser can send requests to loopback, and by DNS rebinding even under its own name. Requests that
come from another machine, that ask for a host that is not this one, or that a page of another site has made are refused
before anything is looked at.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any
from urllib.parse import urlsplit

from .protocol import Response

LOCALHOST = "localhost"


def refusal(environ: dict[str, Any]) -> Response | None:
    """The answer (403) to a request that is not from this machine, for this machine; None for one that is."""
    peer, host, origin = (environ.get(name, "") for name in ("REMOTE_ADDR", "HTTP_HOST", "HTTP_ORIGIN"))
    if peer and not _is_loopback(peer):
        return _refuse(f"The embedded AWS answers this machine only, not {peer}.")
    if not _is_loopback(_host_of(f"//{host}")):
        return _refuse(f"The embedded AWS is not the host '{host[:100]}'.")
    if origin and not _is_loopback(_host_of(origin)):
        return _refuse(f"The embedded AWS does not answer pages of '{origin[:100]}'.")
    # What a page only embeds (a picture, a script, a form's GET) names no origin; browsers say at least that it is
    # another site's. A person's own click or address line is no page's doing.
    if not origin and environ.get("HTTP_SEC_FETCH_SITE") == "cross-site" and not _is_navigation(environ):
        return _refuse("The embedded AWS does not answer pages of other sites.")
    return None


def _is_navigation(environ: dict[str, Any]) -> bool:
    """Whether a person follows a link that shows the answer instead of what was there."""
    wanted = {"HTTP_SEC_FETCH_MODE": "navigate", "HTTP_SEC_FETCH_DEST": "document", "HTTP_SEC_FETCH_USER": "?1"}
    return environ["REQUEST_METHOD"] == "GET" and all(environ.get(name) == value for name, value in wanted.items())


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == LOCALHOST or name.endswith(f".{LOCALHOST}"):
        return True
    try:
        return ipaddress.ip_address(name.split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(message: str) -> Response:
    document = {"__type": "AccessDeniedException", "message": message}
    return Response(403, [("Content-Type", "application/json")], json.dumps(document).encode())
