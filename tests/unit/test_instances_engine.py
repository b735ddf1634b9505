"""EC2 instances at the moments that last no time: between a look and what follows from it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.instances.commands import TABLE as INVOCATIONS
from helpers.localaws.engines.instances.commands import Commands
from helpers.localaws.engines.instances.engine import InstancesEngine
from helpers.localaws.engines.instances.instance import TABLE, Ask, Instance
from helpers.localaws.operations import commands as operations
from helpers.localaws.store import Store

REGION, ID = "us-east-1", "i-0123456789abcdef0"


class Records:
    """moto's EC2 with the instances that it is given, or none."""

    def __init__(self) -> None:
        self.instances: dict[str, Any] = {}

    def lock(self, _: str) -> threading.RLock:
        return threading.RLock()

    def backend(self, *_: str) -> Any:
        return SimpleNamespace(get_instance_by_id=self.instances.get)


class Record:
    """An instance's record that only has a state."""

    def __init__(self, state: str) -> None:
        self.state, self.exists = state, True

    def enter(self, state: str, _: Any = None) -> None:
        self.state = state

    def change(self, _: Any) -> None:
        pass


@pytest.fixture
def cloud(tmp_path: Path) -> Any:
    store = Store(tmp_path / "documents.sqlite")

    def workplace(*names: str) -> Path:
        path = tmp_path.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    return SimpleNamespace(
        store=store, clock=Clock(1000.0), identity="0" * 32, records=Records(), workplace=workplace, url="http://here"
    )


def instance(cloud: Any, state: str) -> Any:
    made: Any = Instance(cloud, REGION, ID, "secret")
    made.record = Record(state)
    return made


def test_nothing_starts_in_an_instance_whose_processes_are_being_ended(cloud: Any) -> None:
    one, refused = instance(cloud, "running"), []
    one._up = True

    def end(_: float) -> None:
        with pytest.raises(OSError, match="system is not running") as error:
            one.run("true", "late", print)
        refused.append(error)

    one.machine.end = end
    one._end_system(0.0)
    assert refused


def test_nothing_starts_in_an_instance_when_the_server_ends(cloud: Any) -> None:
    one = instance(cloud, "running")
    one._up = True
    one.abandon()
    one.machine.end = one.machine.make = lambda *_: None
    one.record.moto = SimpleNamespace(image_id="ami-0", instance_type="c5.large", user_data=None)
    one._start_system()
    assert not one.up, "it was being started meanwhile"


def test_an_instance_has_ended_when_its_last_words_have_been_read(cloud: Any) -> None:
    one, said = instance(cloud, "stopping"), []
    one.machine.end = lambda _: None
    child = SimpleNamespace(finish_output=lambda _: said.append(one.record.state))
    awaiting = SimpleNamespace(join=lambda _: said.append(one.record.state))
    one._user_data = (child, awaiting)
    one._come_to_rest(Ask.STOP, SimpleNamespace(code="Client.UserInitiatedShutdown"))
    assert (said, one.record.state) == (["stopping", "stopping"], "stopped")


def test_of_two_who_start_an_instance_one_boots_it(cloud: Any) -> None:
    one, boots = instance(cloud, "stopped"), []
    one.boot = lambda: boots.append(one.record.state)
    one.start()
    one.start()
    assert boots == ["pending"]


def test_a_terminated_instance_is_not_started(cloud: Any) -> None:
    one = instance(cloud, "terminated")
    one.start()
    assert one.record.state == "terminated"


def test_a_shutdown_from_before_a_start_is_none(cloud: Any) -> None:
    one, earlier = instance(cloud, "running"), threading.Thread()
    one._thread, one._awake = threading.Thread(), True
    one._power_off("off", earlier)
    one._power_off("reboot", earlier)
    assert one._ask is None


def test_a_launch_that_was_killed_before_it_was_recorded_never_was(cloud: Any) -> None:
    cloud.store.table(TABLE).put(REGION, ID, {"Secret": "secret"})
    InstancesEngine(cloud).recover()
    assert list(cloud.store.table(TABLE).everywhere()) == []


def test_the_end_asks_for_states_without_the_engines_lock(cloud: Any) -> None:
    """Who has the records' lock may want the engine's: to hold one and want the other would be for ever."""
    engine, asked = InstancesEngine(cloud), []

    class Asked:
        @property
        def state(self) -> str:
            asked.append(engine._lock.locked())
            return "stopped"

    engine._instances[REGION, ID] = SimpleNamespace(record=Asked())  # type: ignore[assignment]
    engine.close()
    assert asked == [False]


def test_a_command_on_an_instance_that_is_terminated_meanwhile_fails(cloud: Any, monkeypatch: Any) -> None:
    commands, table = Commands(cloud), cloud.store.table(INVOCATIONS)
    table.put(REGION, f"command/{ID}", {"Status": "Pending"})
    one = instance(cloud, "running")
    one.run = lambda *_, **__: SimpleNamespace(wait=lambda _: -9, finish_output=lambda _: None)
    monkeypatch.setattr(Path, "exists", lambda _: True)  # and gone when it is read
    commands._run(one, "command", "true", 1.0)
    assert table.get(REGION, f"command/{ID}")["Status"] == "Failed"


def test_the_end_waits_until_commands_have_said_how_they_ended(cloud: Any) -> None:
    commands, ends = Commands(cloud), threading.Event()
    cloud.store.table(INVOCATIONS).put(REGION, f"command/{ID}", {"Status": "Pending"})
    one = instance(cloud, "running")

    def wait(_: float) -> int:
        ends.wait()
        return -9

    one.run = lambda *_, **__: SimpleNamespace(wait=wait, finish_output=lambda _: None)
    commands.start(one, {"CommandId": "command"}, "true", 1.0)
    threading.Timer(0.0, ends.set).start()
    commands.close()
    assert cloud.store.table(INVOCATIONS).get(REGION, f"command/{ID}")["Status"] == "Failed"


def test_a_command_that_is_listed_has_its_invocations(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Table:
        def __init__(self, kind: str) -> None:
            self.kind, self.kept = kind, {}

        def put(self, _: str, name: str, document: Any) -> None:
            self.kept[name] = document
            if self.kind == operations.COMMANDS:  # whoever lists now
                seen.append(operations._command(request, document)["Status"])

        def get(self, _: str, name: str) -> Any:
            return self.kept[name]

    tables: dict[str, Table] = {}
    store = SimpleNamespace(table=lambda kind: tables.setdefault(kind, Table(kind)))
    engine = SimpleNamespace(commands=SimpleNamespace(start=lambda *_: None))
    request: Any = SimpleNamespace(
        cloud=SimpleNamespace(store=store, clock=Clock(), instances=engine), region=REGION, account="1"
    )
    targets = [SimpleNamespace(id=ID), SimpleNamespace(id="i-0")]
    monkeypatch.setattr(operations, "_targets", lambda *_: targets)
    operations.send_command(request, {"DocumentName": operations.SHELL, "Parameters": {"commands": ["true"]}})
    assert seen == ["Pending"]
