"""What a state folder says of itself, to several that ask and write at the same time."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import psutil
import pytest

from helpers.localaws import folder as state
from helpers.localaws.__main__ import SDK_SETTINGS, _claim, environment
from helpers.localaws.server import Door, _listening, _listening_as_before
from helpers.localaws.store import Store
from helpers.localaws.tags import Tags


def test_of_two_that_make_the_id_at_the_same_time_one_does_and_both_have_it(tmp_path, monkeypatch):
    write = Path.write_text

    def slow(self, text):  # the other one makes it between the question whether it is there and the making
        if self.name.startswith("id."):
            write(tmp_path / "id", "the other's")
        return write(self, text)

    monkeypatch.setattr(Path, "write_text", slow)
    assert state.identity(tmp_path) == state.identity(tmp_path) == "the other's"
    assert [path.name for path in tmp_path.iterdir()] == ["id"]


def test_without_links_the_id_is_made_too(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    assert len(state.identity(tmp_path)) == 32
    assert [path.name for path in tmp_path.iterdir()] == ["id"]


def test_a_folder_that_another_start_makes_its_own_at_the_time_holds_no_other_files(tmp_path):
    (tmp_path / f"id.{os.getpid() + 1}{state.PART}").write_text("half")
    _claim(tmp_path)
    assert (tmp_path / "id").exists()


def test_whoever_reads_while_a_file_is_written_has_all_of_one_or_the_other(tmp_path, monkeypatch):
    path, seen, write = tmp_path / "file", [], Path.write_text
    path.write_text("old")

    def watched(self, text):
        seen.append(path.read_text())
        done = write(self, text)
        seen.append(path.read_text())
        return done

    monkeypatch.setattr(Path, "write_text", watched)
    state.write_whole(path, "new")
    assert (seen, path.read_text()) == (["old", "old"], "new")
    assert path.stat().st_mode & 0o077 == 0


def test_the_settings_that_another_sdk_may_be_reading_are_left_as_they_are(tmp_path):
    (tmp_path / "administrator.json").write_text("{}")
    file = Path(environment(tmp_path, "http://127.0.0.1:1")["SAGEMAKER_USER_CONFIG_OVERRIDE"])
    assert file.read_text() == SDK_SETTINGS
    before = file.stat()
    environment(tmp_path, "http://127.0.0.1:1")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(("moved", "runs"), [(0.0, True), (1.01, True), (-1.01, True), (60.0, False)])
def test_a_server_is_known_though_the_clock_was_set(tmp_path, moved, runs):
    state.announce(tmp_path, "http://127.0.0.1:1", 1.0)
    saved = json.loads((tmp_path / "server.json").read_text())
    assert saved["started"] == psutil.Process().create_time()
    found = state.running(tmp_path, announced=saved | {"started": saved["started"] + moved})
    assert (found is not None) is runs


def test_what_is_asked_before_the_leftovers_are_cleared_up_waits_but_for_the_inner_addresses():
    asked: list[str] = []
    door = Door(lambda environ, _: [asked.append(environ["PATH_INFO"]) or b""])
    waiting = threading.Thread(target=door, args=({"PATH_INFO": "/bucket"}, None))
    waiting.start()
    door({"PATH_INFO": "/_localaws/credentials/x"}, None)
    assert asked == ["/_localaws/credentials/x"]
    assert waiting.is_alive()
    door.open()
    waiting.join()
    assert asked[-1] == "/bucket"


def test_a_port_is_taken_as_soon_as_it_is_known(tmp_path):
    first = _listening_as_before(tmp_path)
    port = first.bind_addr[1]
    with pytest.raises(OSError, match="No socket could be created"):
        _listening(port)
    (tmp_path / "port").write_text(str(port))
    second = _listening_as_before(tmp_path)  # the last port is another's by now
    assert second.bind_addr[1] not in (0, port)
    first.stop()
    second.stop()
    third = _listening_as_before(tmp_path)
    assert third.bind_addr[1] == port
    third.stop()


def test_tags_that_two_add_at_the_same_time_are_both_kept(tmp_path):
    store = Store(tmp_path / "documents.sqlite")
    tags, read = Tags(store), Tags.of
    arn, taken = "arn:aws:sagemaker:us-east-1:123456789012:model/m", []

    def of(self, arn):  # between reading and writing, nobody else may
        other = threading.Thread(target=lambda: taken.append(store.locked().acquire(blocking=False)))
        other.start()
        other.join()
        return read(self, arn)

    tags.of = of.__get__(tags)  # type: ignore[method-assign]
    tags.add(arn, {"a": "1"})
    tags.remove(arn, ["a"])
    assert taken == [False, False]
    store.close()
