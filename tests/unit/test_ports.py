"""A port that is reserved is nobody else's, and free for whom it was reserved."""

import socket

import pytest

from helpers.localaws.engines.ports import LOOPBACK, PORTS, reserve


def test_nobody_else_gets_it_and_it_can_be_listened_at():
    first = reserve()
    second = reserve([first.port, *PORTS])
    assert second.port != first.port
    with socket.create_server((LOOPBACK, first.port)):
        first.release()
        third = reserve([first.port, *PORTS])
        assert third.port != first.port, "somebody listens there"
    third.release()
    again = reserve([first.port, *PORTS])
    assert again.port == first.port
    for one in (second, again):
        one.release()


def test_none_is_left():
    held = reserve()
    with pytest.raises(RuntimeError, match="no free port"):
        reserve([held.port])
    held.release()
