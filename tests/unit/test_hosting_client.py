"""HTTP to a model server that behaves badly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from helpers.localaws.engines.hosting.model_client import ModelClient, ModelGone, ModelTimeout, ModelUnreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Behaviour = Callable[[socket.socket], None]


@contextmanager
def server(*behaviours: Behaviour) -> Iterator[ModelClient]:
    """A server that treats its connections, one after the other, as told; and a client of it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            for behave in behaviours:
                connection, _ = listener.accept()
                with connection:
                    behave(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = ModelClient(listener.getsockname()[1])
        yield client
        client.close()
        thread.join(60)
        assert not thread.is_alive()


def read_request(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    return received


def answer(*parts: bytes) -> Behaviour:
    """Read one request for every part, and send the part."""

    def behave(connection: socket.socket) -> None:
        for part in parts:
            read_request(connection)
            connection.sendall(part)

    return behave


def post(client: ModelClient, body: bytes = b"photo", seconds: float = 60.0) -> bytes:
    return client.request("POST", "/invocations", body, {"Content-Type": "image/jpeg"}, seconds).body


def test_a_connection_is_used_again() -> None:
    with server(answer(OK, OK, OK)) as client:
        assert [post(client) for _ in range(3)] == [b"ok"] * 3


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    closed = threading.Event()

    def answer_and_close(connection: socket.socket) -> None:
        answer(OK)(connection)
        connection.close()
        closed.set()

    with server(answer_and_close, answer(OK)) as client:
        assert post(client) == b"ok"
        assert closed.wait(60)
        assert post(client) == b"ok"


def test_status_headers_and_a_chunked_body_are_taken() -> None:
    chunked = b"HTTP/1.1 418 No\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with server(answer(chunked, OK)) as client:
        reply = client.request("POST", "/", b"", {}, 60.0)
        assert (reply.status, reply.header("x-a"), reply.header("x-b"), reply.body) == (418, "b", None, b"abcde")
        assert post(client) == b"ok"


def test_a_server_that_does_not_answer_times_out() -> None:
    done = threading.Event()
    with server(lambda connection: (read_request(connection), done.wait(60), None)[2]) as client:
        with pytest.raises(ModelTimeout, match=r"no answer in 0.2 s"):
            post(client, seconds=0.2)
        done.set()


def test_a_server_that_answers_too_slowly_times_out() -> None:
    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while True:
                connection.sendall(b".")
                threading.Event().wait(0.02)
        except OSError:
            return

    with server(drip) as client, pytest.raises(ModelTimeout):
        post(client, seconds=0.3)


@pytest.mark.parametrize(
    "parts",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
    ids=["nothing", "no HTTP", "half an answer"],
)
def test_a_broken_answer_is_told_from_none_at_all(parts: bytes) -> None:
    with server(answer(parts)) as client:
        with pytest.raises(ModelUnreachable) as caught:
            post(client)
        assert not isinstance(caught.value, ModelGone)


def test_a_port_without_a_server_is_told_from_a_broken_answer() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = ModelClient(probe.getsockname()[1])
        with pytest.raises(ModelGone):
            post(client)


def test_an_answer_that_comes_before_the_body_is_read_counts() -> None:
    def refuse(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    with server(refuse) as client:
        reply = client.request("POST", "/", b"x" * 20_000_000, {}, 60.0)
        assert (reply.status, reply.body) == (413, b"big")
