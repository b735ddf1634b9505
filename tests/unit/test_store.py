import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.store import Exists, Missing, Store, dumps, loads


@pytest.fixture
def table(tmp_path):
    store = Store(tmp_path / "documents.sqlite")
    yield store.table("job")
    store.close()


def test_documents_come_back_as_they_went(table):
    document = {"when": datetime(2026, 11, 22, tzinfo=UTC), "blob": b"\x00\xff", "deep": [{"a": 1.5}, None, True]}
    table.put("us-east-1", "one", document)
    assert table.get("us-east-1", "one") == document


def test_names_are_unique_in_a_region_only(table):
    table.insert("us-east-1", "one", {"n": 1})
    table.insert("eu-west-1", "one", {"n": 2})
    with pytest.raises(Exists):
        table.insert("us-east-1", "one", {"n": 3})
    assert table.get("us-east-1", "one") == {"n": 1}
    assert table.list("eu-west-1") == [{"n": 2}]
    assert [(region, name) for region, name, _ in table.everywhere()] == [("eu-west-1", "one"), ("us-east-1", "one")]


def test_missing_documents_say_so(table):
    with pytest.raises(Missing):
        table.get("us-east-1", "none")
    with pytest.raises(Missing):
        table.update("us-east-1", "none", lambda document: document.update(a=1))
    assert table.find("us-east-1", "none") is None
    table.delete("us-east-1", "none")


def test_updates_from_many_threads_are_all_kept(table):
    table.put("us-east-1", "counter", {"n": 0})

    def add():
        for _ in range(50):
            table.update("us-east-1", "counter", lambda document: document.update(n=document["n"] + 1))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.get("us-east-1", "counter") == {"n": 400}


def test_a_second_opening_finds_what_the_first_wrote_without_closing(tmp_path):
    Store(tmp_path / "documents.sqlite").table("job").put("us-east-1", "one", {"n": 1})
    again = Store(tmp_path / "documents.sqlite")
    assert again.table("job").get("us-east-1", "one") == {"n": 1}
    again.close()


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.datetimes(timezones=st.just(UTC))


@given(st.dictionaries(st.text(), scalars | st.lists(scalars), max_size=5))
def test_any_document_survives(document):
    if not {"$time", "$bytes"} & document.keys():
        assert loads(dumps(document)) == document
