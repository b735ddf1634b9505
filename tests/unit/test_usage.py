"""For how long an endpoint had how many instances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helpers.usage import _last_change, instance_seconds

START = datetime(2026, 11, 23, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_instances_are_counted_from_change_to_change() -> None:
    changes = [(at(30), 1), (at(10), 3)]
    assert instance_seconds(START, at(60), 1, changes) == 60 * (10 + 3 * 20 + 30)
    assert instance_seconds(START, at(20), 1, changes) == 60 * (10 + 3 * 10), "what is yet to come is not billed"
    assert instance_seconds(START, at(60), 2, []) == 2 * 3600


@pytest.mark.parametrize(("status", "known"), [("InService", [(at(40), 1)]), ("Updating", [])])
def test_a_change_by_hand_is_known_once_it_is_done(status: str, known: list[Any]) -> None:
    variants = [{"VariantName": "A", "CurrentInstanceCount": 1}, {"VariantName": "B", "CurrentInstanceCount": 7}]
    endpoint = {"EndpointStatus": status, "LastModifiedTime": at(40), "ProductionVariants": variants}
    assert list(_last_change(endpoint, "A")) == known
