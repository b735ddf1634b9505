"""Ports of 127.0.0.1 that stay free until whoever they were reserved for listens at them.

A port that is only found free may be another's before it is used: a system hands out ports by itself, to connections
too, and several embedded AWSs may choose at once.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
# Below the range that systems hand out by themselves.
PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Reservation:
    """A port, until it is released or this process ends.

    The ports of UDP are others than those of TCP: who has the one says that the other is his, and is not in its way.
    """

    port: int
    _held: socket.socket

    def release(self) -> None:
        """Let others have it."""
        self._held.close()


def reserve(ports: Iterable[int] | None = None) -> Reservation:
    """A port that nobody listens at (of TCP) and nobody else has reserved; raises ``RuntimeError`` where all are taken.

    ``ports`` are tried in their order; by default, a hundred of :data:`PORTS` at random.
    """
    for port in random.sample(PORTS, 100) if ports is None else ports:
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            held.close()
            continue
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)):
                return Reservation(port, held)
        held.close()
    raise RuntimeError(f"no free port between {PORTS.start} and {PORTS.stop}")
