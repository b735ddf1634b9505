"""Searching log lines with expressions that a user has written, at most so long.

Some expressions take hours on a line that suits them badly, such as ``(a+)+b`` on thirty letters a, and Python's ``re``
lets no other thread run meanwhile: the whole server would stand still. So they are searched in a process of their own,
which is killed when one takes too long.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from .processes import MARK

CPU_SECONDS = 1.0  # for one line
LONGEST = 10_000  # characters; a longer line is no line of metrics
WORKER = Path(__file__).with_name("line_search_worker.py")


class LineSearch:
    """Searches lines by several expressions. Safe to use from many threads; :meth:`close` it.

    ``on_slow`` is called with the index of an expression that took more than a second of a processor on one line; it is
    not searched for any more. ``identity`` is the state folder's id, which the process carries.
    """

    def __init__(self, expressions: Sequence[str], on_slow: Callable[[int], None], identity: str = "") -> None:
        self._expressions = dict(enumerate(expressions))
        self._on_slow, self._identity = on_slow, identity
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def search(self, line: str) -> dict[int, str]:
        """What the first group of each expression matches, by the expression's index; only those that match."""
        if len(line) > LONGEST:
            return {}
        with self._lock:
            while self._expressions:
                answers, slow = self._ask(line)
                if not slow:
                    return {index: text for index, text in zip(self._expressions, answers, strict=False) if text}
                culprit = list(self._expressions)[len(answers)]
                del self._expressions[culprit]
                self._on_slow(culprit)
            return {}

    def close(self) -> None:
        """End the process; what is asked afterwards finds nothing, and starts no other."""
        with self._lock:
            self._expressions = {}
            self._end()

    def _ask(self, line: str) -> tuple[list[str | None], bool]:
        """The answers for a line, and whether the process was too slow over the next one."""
        if self._worker is None:
            self._worker = _Worker(list(self._expressions.values()), self._identity)
        answers, slow = self._worker.search(line)
        if len(answers) < len(self._expressions):
            self._end()  # also if somebody else has killed it: the next line gets another
        return answers, slow

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None


class _Worker:
    """The process, once started."""

    def __init__(self, expressions: Sequence[str], identity: str) -> None:
        self._count, self._unread = len(expressions), b""
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WORKER)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={MARK: identity, "PYTHONUTF8": "1"},
        )
        self._write(json.dumps(list(expressions)))

    def search(self, line: str) -> tuple[list[str | None], bool]:
        """Answers, until all are there, the process has died (False), or the next takes too long (True)."""
        limit = self._cpu() + CPU_SECONDS
        answers: list[str | None] = []
        assert self._popen.stdout is not None
        if not self._write(json.dumps(line)):
            return answers, False
        while len(answers) < self._count:
            ready, _, _ = select.select([self._popen.stdout], [], [], CPU_SECONDS / 2)
            if not ready and self._cpu() > limit:
                return answers, True
            content = os.read(self._popen.stdout.fileno(), 1 << 16) if ready else b""
            if ready and not content:
                return answers, False
            *lines, self._unread = (self._unread + content).split(b"\n")
            answers += [json.loads(text) for text in lines]
        return answers, False

    def end(self) -> None:
        """Kill it."""
        self._popen.kill()
        self._popen.wait()
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                stream.close()

    def _write(self, text: str) -> bool:
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(f"{text}\n".encode())
        except BrokenPipeError:
            return False
        return True

    def _cpu(self) -> float:
        """Seconds of a processor that it has used; a process that only waits for one is not slow."""
        try:
            times = psutil.Process(self._popen.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)
