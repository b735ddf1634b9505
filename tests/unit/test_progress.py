"""Progress: a bar where somebody watches, plain lines elsewhere, and nothing of it on stdout."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from helpers import progress as module
from helpers.progress import note, progress, watched


def test_unwatched_it_is_one_line_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "watched", lambda: False)
    with progress("upload", 3) as advance:
        for _ in range(3):
            advance(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("upload: 3 photos in 0.")
    assert "\r" not in err


def test_unwatched_it_says_where_it_is_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "watched", lambda: False)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", -1)
    with progress("download", 2000, "bytes") as advance:
        advance(1500)
    with progress("download", None, "bytes") as advance:
        advance(7)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "download: 1,500 of 2,000 bytes"
    assert lines[2] == "download: 7 bytes"


def test_watched_it_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "watched", lambda: True)
    with progress("upload", 2) as advance:
        advance(2)
    assert "100%" in capsys.readouterr().err


def test_a_failure_is_not_reported_as_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "watched", lambda: False)
    with pytest.raises(KeyError), progress("upload", 2):
        raise KeyError
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("asks", [True, False])
def test_a_kernel_is_watched_if_it_may_ask(monkeypatch: pytest.MonkeyPatch, asks: bool) -> None:
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=asks))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert watched() is asks


def test_without_a_kernel_the_terminal_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert watched() is True
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert watched() is False


def test_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    note("is there already")
    assert capsys.readouterr() == ("", "is there already\n")


@pytest.mark.parametrize("asks", [True, False])
def test_a_browser_does_not_show_notes_as_errors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    shell = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=asks))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    note("is there already")
    assert capsys.readouterr() == (("is there already\n", "") if asks else ("", "is there already\n"))
