"""The names of a training job's hosts, algo-1 and on; copied into a container's Python and imported at its start.

On AWS they resolve to the instances' addresses. Here all hosts are on this machine's loopback, and the system's own
resolver asks files that belong to root; so Python's resolver is the one that knows them. A script on one host reaches
what listens on another by its name, and whatever asks the system (a C library, ``ping``) does not know it.
"""

import functools
import re
import socket
from collections.abc import Callable
from typing import Any

LOOPBACK = "127.0.0.1"
NAME = re.compile(r"algo-[0-9]+")


def address(host: Any) -> Any:
    """Where a job's host is; any other name is itself."""
    return LOOPBACK if isinstance(host, str) and NAME.fullmatch(host) else host


def _knowing_names(usual: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(usual)
    def resolve(host: Any, *more: Any, **options: Any) -> Any:
        return usual(address(host), *more, **options)

    return resolve


def install() -> None:
    """Have Python's resolver know the names."""
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        setattr(socket, name, _knowing_names(getattr(socket, name)))
