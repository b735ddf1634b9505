"""Load on a server of the test's own: what is sent, what is counted, and what a stall looks like."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import boto3
import numpy as np
import pytest

from helpers import load
from helpers.load import Result, Step

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Answers with what ``respond`` says, and remembers what it was asked."""

    def __init__(self, respond: Callable[[int], Answer], threads: bool) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        lock, server = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    number = len(server.asked)
                    server.asked.append((self.path, dict(self.headers.items()), body))
                status, headers, content = respond(number)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Quick(ThreadingHTTPServer if threads else HTTPServer):  # type: ignore[misc]
            request_queue_size, daemon_threads = 128, True

        self._server = Quick(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def cloud(self) -> Any:
        """As much of a connection as a load needs."""
        session = boto3.Session("AKIDEXAMPLE", "secret", region_name="us-east-1")
        client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=self.url))
        return SimpleNamespace(session=session, region="us-east-1", client=lambda _: client)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(respond: Callable[[int], Answer] = lambda _: (200, {}, b"{}"), threads: bool = True) -> Server:
        made.append(Server(respond, threads))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_users_ask_until_the_count_is_used_up(servers: Callable[..., Server]) -> None:
    server = servers()
    result = load.run(load.endpoint(server.cloud(), "dogs", b"photo"), [Step(4, 60)], count=41)
    assert len(server.asked) == len(result.seconds) == 41
    assert result.errors == {}
    path, headers, body = server.asked[0]
    assert (path, body) == ("/endpoints/dogs/invocations", b"photo")
    assert headers["Content-Type"] == "image/jpeg"
    assert "Credential=AKIDEXAMPLE" in headers["Authorization"]
    assert "/us-east-1/sagemaker/aws4_request" in headers["Authorization"]
    (row,) = result.summary()
    assert row["requests"] == 41
    assert 0 < row["p50"] <= row["p95"] <= row["p99"]
    assert sum(window["requests"] for window in result.windows(0.5)) == 41


def test_a_load_that_is_given_up_asks_no_more(servers: Callable[..., Server]) -> None:
    asked = threading.Event()

    def respond(_: int) -> Answer:
        asked.set()
        return 200, {}, b"{}"

    server = servers(respond)
    running = load.start(load.endpoint(server.cloud(), "dogs", b"photo"), [Step(1, 3600)])
    assert asked.wait(60)
    assert running.cancel()
    ended = [thread for thread in threading.enumerate() if thread.name == "load"]
    for thread in ended:
        thread.join(60)
        assert not thread.is_alive()


def test_functions_are_invoked_by_their_own_address(servers: Callable[..., Server]) -> None:
    server = servers(lambda _: (200, {"X-Amz-Function-Error": "Unhandled"}, b"{}"))
    result = load.run(load.function(server.cloud(), "dogs", {"url": "u"}, "live"), [Step(1, 60)], count=2)
    path, headers, body = server.asked[0]
    assert path == "/2015-03-31/functions/dogs/invocations?Qualifier=live"
    assert json.loads(body) == {"url": "u"}
    assert "/lambda/aws4_request" in headers["Authorization"]
    assert result.errors == {"Function error: Unhandled": 2}


def test_errors_are_counted_by_code_and_left_out_of_the_latency(servers: Callable[..., Server]) -> None:
    answers: list[Answer] = [
        (200, {}, b"{}"),
        (429, {"x-amzn-ErrorType": "TooManyRequestsException:http://x"}, b"{}"),
        (400, {}, b'{"__type": "com.amazonaws#ThrottlingException"}'),
        (503, {}, b"<html>"),
        (200, {}, b"{}"),
    ]
    server = servers(lambda number: answers[number])
    result = load.run(load.endpoint(server.cloud(), "dogs", b""), [Step(1, 60)], count=5)
    assert result.errors == {"TooManyRequestsException": 1, "ThrottlingException": 1, "HTTP 503": 1}
    assert result.throttled == 2
    assert result.summary()[0]["errors"] == result.errors


def test_a_server_that_is_not_there_is_an_error_too(servers: Callable[..., Server]) -> None:
    server = servers()
    with socket.socket() as nobody:  # that has the port to itself, but does not listen
        nobody.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        result = load.run(load.endpoint(server.cloud(), "dogs", b""), [Step(1, 60)], count=2)
    assert result.errors == {"ClientConnectorError": 2}
    assert np.isnan(result.percentile(50))


def test_a_stall_delays_all_that_was_due_meanwhile(servers: Callable[..., Server]) -> None:
    """The server stops for a second. The requests of that second have waited, though they could not be sent."""

    def respond(number: int) -> Answer:
        time.sleep(1.0 if number == 0 else 0.0)
        return 200, {"Connection": "close"}, b"{}"

    server = servers(respond, threads=False)
    result = load.run(load.endpoint(server.cloud(), "dogs", b""), [Step(20, 1)], open_loop=True)
    assert len(result.seconds) == 20
    assert result.errors == {}
    waited = {round(at, 2): seconds for at, seconds in zip(result.at, result.seconds, strict=True)}
    assert waited[0.0] >= 1.0
    assert waited[0.5] >= 0.5
    assert result.percentile(50) >= 0.4


def test_steps_are_told_apart(servers: Callable[..., Server]) -> None:
    server = servers(lambda _: (200, {}, b"{}"))
    requests = load.endpoint(server.cloud(), "dogs", b"")
    result = load.run(requests, [Step(20, 0.5), Step(0, 0.5), Step(40, 0.5)], open_loop=True)
    assert [(row["level"], row["requests"]) for row in result.summary()] == [(20, 10), (40, 20)]
    assert {row["level"] for row in result.windows(0.5)} >= {20, 40}


def test_a_client_that_is_the_bottleneck_says_so() -> None:
    assert Result([], 0.0, client_share=0.3, client_lag=0.001).warning == ""
    assert "client was busy 97% of the time" in Result([], 0.0, client_share=0.97).warning
    assert "80 ms late" in Result([], 0.0, client_lag=0.08).warning
