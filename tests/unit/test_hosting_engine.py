"""The engine of endpoints beside the end of the server."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.hosting import HostingEngine
from helpers.localaws.store import Store


def test_nothing_begins_once_the_server_ends_and_what_has_begun_is_waited_for() -> None:
    cloud: Any = SimpleNamespace(store=Store(Path(":memory:")), clock=Clock())
    engine, go, done = HostingEngine(cloud), threading.Event(), list[str]()

    def work() -> None:
        go.wait(60)
        done.append("begun before")

    engine._in_background("before", work)
    closing = threading.Thread(target=engine.close)
    closing.start()
    assert engine._closing.wait(60)
    engine._in_background("after", lambda: done.append("begun after"))
    assert closing.is_alive()
    go.set()
    closing.join(60)
    assert not closing.is_alive()
    assert done == ["begun before"]
    assert not any(thread.name == "after" for thread in threading.enumerate())
