"""The processes that the embedded AWS starts, each in its own session, and the certainty that all of them end.

Every child carries the state folder's id in its environment. So it is found in the process table even when its own
parent has gone, and even by the next server after this one was killed.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

MARK = "LOCALAWS_ID"
MOST_LOOKS = 20  # at processes that go on starting others while they are ended


class Child:
    """One process and all that it starts; its output, line by line, goes to ``on_line``, or else to ``output``."""

    def __init__(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        name: str,
        output: int = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._popen = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(on_line,), name=f"output of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id; also the id of its group and session."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the process itself is still there."""
        return self._popen.poll() is None

    @property
    def lives(self) -> bool:
        """Whether the process itself is still there, as the system sees it.

        :attr:`running` is true of a dead process for as long as another thread is about to collect its exit code.
        """
        try:
            return bool(psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code (negative: killed by that signal), or None after ``timeout`` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and everything in its group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def terminate(self, grace: float) -> int:
        """SIGTERM, then after ``grace`` seconds SIGKILL, as AWS stops a container; returns the exit code."""
        self.signal(signal.SIGTERM)
        code = self.wait(grace)
        self.signal(signal.SIGKILL)
        if code is None:
            code = self.wait()
        self.finish_output()
        assert code is not None
        return code

    def finish_output(self, timeout: float = 5.0) -> None:
        """Wait until everything the process wrote has been read."""
        self._reader.join(timeout)

    def memory(self) -> int:
        """Resident bytes of the process and its children."""
        try:
            process = psutil.Process(self.pid)
            return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
        except psutil.Error:
            return 0

    def _read(self, on_line: Callable[[str], None]) -> None:
        stream = self._popen.stdout
        if stream is None:
            return
        with stream:
            for line in stream:
                on_line(line.rstrip("\n"))


class Processes:
    """Starts children and ends them all."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._lock, self._closed = threading.Lock(), False

    def spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        name: str,
        output: int = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a process in its own session. ``env`` is all it gets, but for the mark.

        Raises ``OSError`` where it cannot be started, and after :meth:`close`.

        ``output`` is a file descriptor that takes what it writes, in place of ``on_line``; ``pass_fds`` stay open.
        """
        # Until a new process runs its program it does not carry the mark: none may be on its way at the last look.
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "the embedded AWS is ending and starts nothing", argv[0])
            return Child(argv, cwd, {**env, MARK: self._identity}, on_line, name, output, pass_fds)

    def close(self) -> None:
        """End every marked process, and start none from now on."""
        with self._lock:
            self._closed = True
        self.end_all()

    def end_all(self, grace: float = 3.0) -> list[int]:
        """End every marked process, of this server or of one before it; returns the pids it found."""
        return end_marked(self._identity, grace)


def end_marked(identity: str, grace: float = 3.0) -> list[int]:
    """SIGTERM, then SIGKILL, everything in the process table that carries ``identity``."""
    found = marked(identity)
    for process in found:
        _send(process, signal.SIGTERM)
    psutil.wait_procs(found, timeout=grace)
    # What is started while the others end is found by further looks.
    killed: list[psutil.Process] = []
    for _ in range(MOST_LOOKS):
        left = [process for process in marked(identity) if process not in killed]
        if not left:
            break
        for process in left:
            _send(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=grace)
        killed += left
    return [process.pid for process in found]


def marked(identity: str) -> list[psutil.Process]:
    """The processes that carry ``identity``, this one excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == identity:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
