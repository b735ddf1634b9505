"""A variant's instances: who takes the next request, who leaves, who is replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.hosting.instance import InstanceFailed
from helpers.localaws.engines.hosting.metrics import Load
from helpers.localaws.engines.hosting.variant import NoInstance, UnknownSession, Variant


class Instance:
    """An instance without a process."""

    def __init__(self, number: int, fails: bool, on_start: Callable[[], None]) -> None:
        self.id, self.load, self.running, self.stopped = f"i-{number}", Load(), True, threading.Event()
        self._fails, self._on_start = fails, on_start

    def start(self, on_exit: Callable[[Instance], None]) -> None:
        self._on_exit = on_exit
        self._on_start()
        if self._fails:
            raise InstanceFailed("no reason")

    def stop(self, _: float) -> None:
        self.running = False
        self.stopped.set()

    def die(self) -> None:
        self.running = False
        self._on_exit(self)


class Fleet:
    """A variant of such instances; ``failing`` are the numbers of those that do not start."""

    def __init__(self, failing: tuple[int, ...] = (), strategy: str = "") -> None:
        self.made: list[Instance] = []
        self.on_start: Callable[[], None] = lambda: None
        self._failing = failing
        self.variant = Variant("v", Clock(1000), self._make, None, strategy)  # type: ignore[arg-type]

    def _make(self) -> Any:
        self.made.append(Instance(len(self.made), len(self.made) in self._failing, self.on_start))
        return self.made[-1]


def test_the_least_busy_instance_is_taken() -> None:
    fleet = Fleet()
    first, second = fleet.variant.add(), fleet.variant.add()
    with fleet.variant.lease(None) as one, fleet.variant.lease(None) as other:
        assert {one, other} == {first, second}
        assert fleet.variant.in_flight == 2
    with fleet.variant.lease(None, avoid=[first]) as one:
        assert one is second
    assert fleet.variant.in_flight == 0


def test_random_routing_uses_every_instance() -> None:
    fleet = Fleet(strategy="RANDOM")
    both = {fleet.variant.add(), fleet.variant.add()}
    seen = set()
    for _ in range(100):
        with fleet.variant.lease(None) as one:
            seen.add(one)
    assert seen == both


def test_without_instances_there_is_nobody_to_ask() -> None:
    with pytest.raises(NoInstance), Fleet().variant.lease(None):
        raise AssertionError


def test_an_instance_that_does_not_start_is_stopped_and_not_taken() -> None:
    fleet = Fleet(failing=(0,))
    with pytest.raises(InstanceFailed):
        fleet.variant.add()
    assert fleet.made[0].stopped.is_set()
    assert fleet.variant.instances == []


def test_one_that_is_removed_finishes_its_request_and_gets_no_more() -> None:
    fleet = Fleet()
    leaving: Any = fleet.variant.add()
    with fleet.variant.lease(None):
        staying = fleet.variant.add()
        removal = threading.Thread(target=fleet.variant.remove, args=(leaving, 0))
        removal.start()
        deadline = time.monotonic() + 60
        while leaving in fleet.variant.instances:
            assert time.monotonic() < deadline
        for _ in range(5):
            with fleet.variant.lease(None) as one:
                assert one is staying
        assert not leaving.stopped.is_set()
    removal.join(60)
    assert leaving.stopped.is_set()


def test_one_that_dies_is_replaced_even_if_the_first_replacement_fails() -> None:
    fleet = Fleet(failing=(1, 2))
    dead: Any = fleet.variant.add()
    dead.die()
    assert dead.stopped.is_set()
    assert [one.id for one in fleet.variant.instances] == ["i-3"]


def test_one_that_dies_while_leaving_is_not_replaced() -> None:
    fleet = Fleet()
    one: Any = fleet.variant.add()
    fleet.variant.remove(one, 0)
    one.die()
    assert len(fleet.made) == 1


def test_a_variant_that_stops_takes_no_more_instances() -> None:
    fleet = Fleet()
    one: Any = fleet.variant.add()
    fleet.variant.stop(0)
    assert one.stopped.is_set()
    one.die()
    with pytest.raises(InstanceFailed):
        fleet.variant.add()
    assert fleet.variant.instances == []
    assert fleet.made == [one]


def test_a_variant_has_stopped_when_nothing_is_being_started_any_more() -> None:
    """What starts makes a folder and a log: an endpoint that is gone must not have them again a moment later."""
    fleet, starts, go, order = Fleet(), threading.Event(), threading.Event(), list[str]()

    class Changed(threading.Condition):
        def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
            go.set()
            return super().wait_for(predicate, timeout)

    def on_start() -> None:
        starts.set()
        go.wait(10)
        order.append("started")

    def stop() -> None:
        fleet.variant.stop(0)
        order.append("stopped")

    def add() -> None:
        with pytest.raises(InstanceFailed):
            fleet.variant.add()

    fleet.on_start, fleet.variant._changed = on_start, Changed()
    threads = [threading.Thread(target=add), threading.Thread(target=stop)]
    threads[0].start()
    assert starts.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert order == ["started", "stopped"]


def test_sessions_stay_with_their_instance_until_they_are_closed() -> None:
    fleet = Fleet()
    fleet.variant.add()
    with fleet.variant.lease("NEW_SESSION") as holder:
        fleet.variant.note_session("s-1; Expires=2099-01-01T00:00:00Z", None, holder)
    fleet.variant.add()
    for _ in range(10):
        with fleet.variant.lease("s-1") as one:
            assert one is holder
    fleet.variant.note_session(None, "s-1", holder)
    with pytest.raises(UnknownSession), fleet.variant.lease("s-1"):
        raise AssertionError


def test_a_session_ends_with_its_instance() -> None:
    fleet = Fleet()
    holder: Any = fleet.variant.add()
    fleet.variant.note_session("s-1", None, holder)
    holder.die()
    with pytest.raises(UnknownSession), fleet.variant.lease("s-1"):
        raise AssertionError


def test_it_has_as_many_as_it_is_resized_to() -> None:
    fleet = Fleet()
    fleet.variant.resize(3, 0)
    assert len(fleet.variant.instances) == 3
    oldest = fleet.variant.instances[0]
    fleet.variant.resize(1, 0)
    assert fleet.variant.instances == [oldest]
    assert [one.stopped.is_set() for one in fleet.made] == [False, True, True]


def test_one_that_fails_to_start_leaves_the_others() -> None:
    fleet = Fleet(failing=(2,))
    fleet.variant.resize(2, 0)
    with pytest.raises(InstanceFailed):
        fleet.variant.resize(4, 0)
    assert len(fleet.variant.instances) == 3
    fleet.variant.resize(2, 0)
    assert len(fleet.variant.instances) == 2


def test_who_resizes_while_one_is_to_be_replaced_does_not_replace_it_too() -> None:
    """Two would have started for one place; the one that came second failed, and with it the change of capacity."""
    fleet = Fleet()
    fleet.variant.resize(2, 0)
    dead: Any = fleet.variant.instances[1]
    made: list[int] = []

    def stop(_: float) -> None:
        fleet.variant.resize(2, 0)
        made.append(len(fleet.made))

    dead.stop = stop
    dead.die()
    assert made == [2]
    assert len(fleet.made) == 3
    assert len(fleet.variant.instances) == 2


def test_a_replacement_that_is_not_wanted_any_more_is_given_up() -> None:
    fleet = Fleet()
    fleet.variant.resize(2, 0)
    dead: Any = fleet.variant.instances[1]
    # By the time the replacement has started, one instance less is wanted.
    fleet.on_start = lambda: fleet.variant.resize(1, 0)
    dead.die()
    assert len(fleet.made) == 3
    assert len(fleet.variant.instances) == 1
    assert fleet.made[2].stopped.is_set()
