"""What several callers ask for at once, where only one of them can be the first."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.notebook_instances import TABLE, NotebookInstances
from helpers.localaws.operations import budgets
from helpers.localaws.quotas import Quotas
from helpers.localaws.store import Store

REGION, NAME = "us-east-1", "asked"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "documents.sqlite")


class Watching(Clock):
    """A clock that is asked in the middle of it all, and sees whether anybody else could come in between."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store, self.alone = store, list[bool]()

    def now(self) -> datetime:
        asking = threading.Thread(target=self._ask)
        asking.start()
        asking.join()
        return super().now()

    def _ask(self) -> None:
        taken = self._store.locked().acquire(blocking=False)
        self.alone.append(not taken)
        if taken:
            self._store.locked().release()


@pytest.mark.parametrize("present", ["Stopping", "Deleting", None])
def test_a_notebook_instance_that_another_call_has_moved_is_not_moved_back(store: Store, present: str | None) -> None:
    instances, table = NotebookInstances(store, Clock()), store.table(TABLE)
    seen = {"NotebookInstanceName": NAME, "NotebookInstanceStatus": "InService"}
    if present:
        table.put(REGION, NAME, {**seen, "NotebookInstanceStatus": present, "LastModifiedTime": Clock().now()})
    instead = instances.enter(REGION, seen, "Stopping")
    assert instead is not None
    assert instead.get("NotebookInstanceStatus") == present
    assert (table.find(REGION, NAME) or {}).get("NotebookInstanceStatus") == present


def test_a_notebook_instance_moves_once(store: Store) -> None:
    instances = NotebookInstances(store, Clock(0.001))
    seen = {"NotebookInstanceName": NAME, "NotebookInstanceStatus": "InService"}
    store.table(TABLE).put(REGION, NAME, seen)
    assert instances.enter(REGION, seen, "Stopping") is None
    assert (instances.enter(REGION, seen, "Stopping") or {})["NotebookInstanceStatus"] == "Stopping"


def test_nobody_asks_for_a_quota_between_another_ones_look_and_request(store: Store) -> None:
    clock = Watching(store)
    Quotas(store, clock).request(REGION, "L-49679826", 100.0, "arn:aws:iam::1:root")
    assert clock.alone
    assert all(clock.alone)


def test_nobody_changes_a_budget_between_anothers_look_and_change(store: Store) -> None:
    clock = Watching(store)
    limit = {"Amount": "1", "Unit": "USD"}
    request: Any = SimpleNamespace(cloud=SimpleNamespace(store=store, clock=clock), account="1")
    budget = {"BudgetName": NAME, "BudgetType": "COST", "TimeUnit": "MONTHLY", "BudgetLimit": limit}
    budgets.create_budget(request, {"AccountId": "1", "Budget": budget})
    clock.alone.clear()
    budgets.update_budget(request, {"AccountId": "1", "NewBudget": budget})
    assert clock.alone == [True]
