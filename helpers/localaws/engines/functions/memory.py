"""How much memory the processes of an environment use."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psutil

MB = 1 << 20
LOOK_SECONDS = 0.1


class Measured(Protocol):
    """What :class:`MemoryWatch` looks after: a process, the leader of its own session."""

    @property
    def pid(self) -> int:
        """The process id, which is the session's id too."""
        ...

    def note_memory(self, used: int) -> None:
        """Take in how many bytes the session uses, as its highest value so far or its present one."""
        ...


class MemoryWatch:
    """Looks, ten times a second, at the processes that are at work; sleeps while none is."""

    def __init__(self) -> None:
        self._watched: set[Measured] = set()
        self._changed = threading.Condition()
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="function memory", daemon=True).start()

    def watch(self, measured: Measured) -> Callable[[], None]:
        """Begin to look at a process; call what is returned to end it."""
        with self._changed:
            self._watched.add(measured)
            self._changed.notify()
        return lambda: self._unwatch(measured)

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        with self._changed:
            self._changed.notify()

    def _unwatch(self, measured: Measured) -> None:
        with self._changed:
            self._watched.discard(measured)

    def _run(self) -> None:
        # There is no event for "too much memory" that every system has, so this one thing is looked at.
        while not self._closed.wait(LOOK_SECONDS):
            with self._changed:
                self._changed.wait_for(lambda: self._watched or self._closed.is_set())
                watched = list(self._watched)
            members = sessions()
            for measured in watched:
                others = [pid for pid in members.get(measured.pid, []) if pid != measured.pid]
                measured.note_memory(peak(measured.pid) + sum(_resident(pid) for pid in others))


def peak(pid: int) -> int:
    """The most bytes a process has had resident, as far as the system tells; 0 where it is gone.

    Linux keeps the highest value itself, so nothing between two looks is missed; elsewhere it is the present value.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return _resident(pid)
    found = status.partition(b"VmHWM:")[2].split(None, 1)
    return int(found[0]) * 1024 if found else 0


def sessions() -> dict[int, list[int]]:
    """Every process of the machine, by its session: far cheaper than to walk the tree of each."""
    found: dict[int, list[int]] = defaultdict(list)
    for pid in psutil.pids():
        try:
            found[os.getsid(pid)].append(pid)
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
