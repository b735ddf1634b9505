"""What a run takes of this machine: memory, sampled and limited, and room on the disk."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

GIB = 2**30
SECONDS = 1.0  # between two samples


@dataclass(frozen=True)
class Held:
    """Memory that processes hold at one time, in bytes, by what they are."""

    by: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """All of it."""
        return sum(self.by.values())

    def __str__(self) -> str:
        """The largest holders, the largest first."""
        most = sorted(self.by.items(), key=lambda one: -one[1])
        return ", ".join(f"{name} {held / GIB:.2f} GiB" for name, held in most[:4])


class MemoryWatch:
    """The most that the processes held together within the ``with`` block, sampled once a second.

    Where that is more than ``limit`` bytes, ``exceeded`` is called in the watch's thread: after each sample
    from then on, since what it is to end may just be starting.
    """

    def __init__(
        self,
        processes: Callable[[], Iterable[psutil.Process]],
        limit: float | None = None,
        exceeded: Callable[[], None] = lambda: None,
    ) -> None:
        self.peak = Held()
        self.excess: Held | None = None
        self._processes, self._limit, self._exceeded = processes, limit, exceeded
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    @property
    def refusal(self) -> str:
        """What was too much, in words; empty while nothing was."""
        if self.excess is None or self._limit is None:
            return ""
        together, allowed = self.excess.bytes / GIB, self._limit / GIB
        return f"{together:.2f} GiB of memory were held together, above the limit of {allowed:g} GiB: {self.excess}"

    def _watch(self) -> None:
        while not self._stop.is_set():
            held = measure(self._processes())
            self.peak = max(self.peak, held, key=lambda one: one.bytes)
            if self._limit and held.bytes > self._limit:
                self.excess = self.excess or held
            if self.excess:
                self._exceeded()
            self._stop.wait(SECONDS)


def measure(processes: Iterable[psutil.Process]) -> Held:
    """What the processes hold now; what they share is counted in part at each (Linux), else at each in full."""
    held: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for process in {one.pid: one for one in processes}.values():
        try:
            full = process.memory_full_info()
            name = _name(process.cmdline())
        except psutil.Error:
            continue
        held[name] += int(getattr(full, "pss", full.rss))
        count[name] += 1
    return Held({f"{count[name]} × {name}" if count[name] > 1 else name: total for name, total in held.items()})


def _name(command: list[str]) -> str:
    """What a process is, from its command line: the script or module that Python runs, else the program."""
    line = " ".join(command)
    for pattern, name in ((r" -m ipykernel", "notebook kernel"), (r" -m helpers\.localaws ", "embedded AWS")):
        if re.search(pattern, line):
            return name
    if module := re.search(r" -m (\S+)", line):
        return module[1]
    scripts = [Path(one).name for one in command[1:] if one.endswith(".py")]
    return scripts[0] if scripts else Path(command[0]).name if command else "a process that ends"


def everything(server: int | None) -> list[psutil.Process]:
    """This process and all below it, and a server, which is nobody's child, with all that it runs."""
    try:
        return tree(psutil.Process()) + (tree(psutil.Process(server)) if server else [])
    except psutil.Error:
        return tree(psutil.Process())


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it; none where it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def disk_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk; a file with several names there counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                facts = os.lstat(os.path.join(here, name))
            except OSError:  # gone meanwhile
                continue
            if (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                total += facts.st_blocks * 512
    return total
