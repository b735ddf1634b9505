"""Checkpoint files: two names in turn, and nothing damaged is ever believed."""

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tiny_photos import TRAIN_SRC

sys.path.insert(0, str(TRAIN_SRC))
import checkpoints
import torch
from checkpoints import MARK, NAMES, Checkpoints


def state(number: int) -> dict:
    return {"model": {"weight": torch.full((4,), float(number))}, "number": number}


@pytest.fixture
def pair(tmp_path):
    """A folder of two checkpoints, 1 before 2."""
    saved = Checkpoints(tmp_path)
    paths = [saved.save(state(1), 1, 40), saved.save(state(2), 2, 3)]
    return tmp_path, *paths


def loaded(folder):
    found = Checkpoints(folder).load()
    return found and found["number"]


def test_two_names_are_written_in_turn(tmp_path):
    saved = Checkpoints(tmp_path / "new")
    written = [saved.save(state(number), number, 0).name for number in range(5)]
    assert written == [NAMES[0], NAMES[1], NAMES[0], NAMES[1], NAMES[0]]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == list(NAMES)
    assert loaded(tmp_path / "new") == 4


def test_what_was_loaded_is_not_written_over(pair):
    folder, _, newest = pair
    again = Checkpoints(folder)
    assert again.load()["number"] == 2
    assert again.save(state(3), 2, 9) != newest
    newest.unlink()
    assert loaded(folder) == 3


@pytest.mark.parametrize(("later", "earlier"), [((2, 0), (1, 99)), ((1, 100), (1, 99)), ((10, 0), (9, 0))])
def test_the_newest_is_the_one_that_is_farthest_in_the_run(tmp_path, later, earlier):
    for first, second in ((later, earlier), (earlier, later)):
        saved = Checkpoints(tmp_path)
        for place in (first, second):
            saved.save(state(7 if place == later else 8), *place)
        assert loaded(tmp_path) == 7


def test_a_copy_may_change_dates_and_bring_only_one(pair):
    folder, older, newest = pair
    content = older.read_bytes()
    older.unlink()
    older.write_bytes(content)  # now it is the younger file
    assert loaded(folder) == 2
    newest.unlink()
    assert loaded(folder) == 1


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_cut_off_or_changed_the_one_before_is_loaded(pair, capsys, data):
    folder, older, newest = pair
    whole = newest.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 150))
    damaged = {
        "cut": whole[:place],
        "flipped": whole[:place] + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :],
        "zeros": whole[:place] + bytes(len(whole) - place),
        "longer": whole + whole[place:],
        "mixed": older.read_bytes()[:place] + whole[place:],
    }[data.draw(st.sampled_from(["cut", "flipped", "zeros", "longer", "mixed"]))]
    newest.write_bytes(damaged)
    found, warned = loaded(folder), capsys.readouterr().err
    newest.write_bytes(whole)
    if damaged in (whole, older.read_bytes()):
        assert not warned
    else:
        assert (found, "WARNING: passing over checkpoint " + newest.name in warned) == (1, True)


def test_none_is_no_error_and_two_damaged_ones_are_none(pair, tmp_path, capsys):
    assert Checkpoints(tmp_path / "nowhere").load() is None
    for path in pair[1:]:
        path.write_bytes(path.read_bytes()[:-1])
    assert loaded(pair[0]) is None
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_write_that_fails_leaves_what_was_there(pair, monkeypatch):
    folder, *paths = pair
    before = [path.read_bytes() for path in paths]
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Checkpoints(folder).save(state(3), 3, 0)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in folder.iterdir()) == list(NAMES)


def test_a_write_that_is_cut_off_leaves_one_name_only(pair):
    """What a kill leaves behind is written over, and does not pile up in S3."""
    folder = pair[0]
    (folder / f".{NAMES[0]}.partial").write_bytes(b"half of it")
    assert loaded(folder) == 2
    Checkpoints(folder).save(state(3), 3, 0)
    assert sorted(path.name for path in folder.iterdir()) == list(NAMES)


def test_a_mark_is_its_runs_own(tmp_path):
    saved = Checkpoints(tmp_path)
    assert saved.marked("one") == 0
    for step in (1, 999, 1000, 20):
        saved.mark("one", step)
        assert saved.marked("one") == step
        assert [path.name for path in tmp_path.iterdir()] == [MARK]
    assert saved.marked("other") == 0
    for damage in (b"", b"one", b"one 12x\n", b"\xff"):
        (tmp_path / MARK).write_bytes(damage)
        assert saved.marked("one") == 0


def test_a_file_that_is_written_whole_replaces_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    checkpoints.write_whole(path, b"new", b"er")
    assert path.read_bytes() == b"newer"
