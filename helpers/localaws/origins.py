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
    if not _is_loopback(urlsplit(f"//{host}").hostname or ""):
        return _refuse(f"The embedded AWS is not the host '{host[:100]}'.")
    if origin and not _is_loopback(urlsplit(origin).hostname or ""):
        return _refuse(f"The embedded AWS does not answer pages of '{origin[:100]}'.")
    return None


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
