"""One runtime: the process that runs a function's code, its Runtime API, and what it writes."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..processes import Processes
from . import memory
from .output import Output
from .runtime_api import Exited, Invocation, RuntimeApi, Signal


class Runtime:
    """Started by its constructor; says how it fares through :meth:`wait`. Raises ``OSError`` where it cannot start."""

    def __init__(
        self,
        processes: Processes,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        memory_limit: int,
        on_message: Callable[[str], None],
    ) -> None:
        self.peak_memory, self.out_of_memory = 0, False
        self._limit = memory_limit
        self._signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()
        self._api = RuntimeApi(self._signals.put)
        self._output = Output(on_message)
        self._exited = threading.Event()
        wired = {
            **env,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "_LAMBDA_TELEMETRY_LOG_FD": str(self._output.frames),
        }
        self._child = processes.spawn(
            command,
            cwd=cwd,
            env=wired,
            on_line=on_message,
            name=cwd.name,
            output=self._output.stdout,
            pass_fds=(self._output.frames,),
        )
        self._output.start()
        threading.Thread(target=self._await_end, name="function runtime", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id, which is its session's id too."""
        return self._child.pid

    @property
    def exited(self) -> bool:
        """Whether the process has ended, be it so lately that the thread that awaits its end has yet to notice."""
        return self._exited.is_set() or not self._child.lives

    def offer(self, invocation: Invocation) -> None:
        """Let the function handle an invocation; what becomes of it is the next signal."""
        self._api.offer(invocation)

    def wait(self, seconds: float) -> Signal | None:
        """The next thing that happens, or None after ``seconds``."""
        try:
            return self._signals.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return None

    def drain(self) -> None:
        """Take in everything that was written so far."""
        self._output.drain()

    def look_at_memory(self) -> bool:
        """Whether the process has used more memory than it may, at any time until now."""
        self.note_memory(memory.peak(self.pid))
        return self.out_of_memory

    def note_memory(self, used: int) -> None:
        """Remember the highest value, and end the process when it is more than it may use."""
        self.peak_memory = max(self.peak_memory, used)
        if used > self._limit and not self.out_of_memory:
            self.out_of_memory = True
            self.kill()

    def kill(self) -> None:
        """End the process and everything it started, at once: without extensions, AWS gives it no time either."""
        if not self.exited:
            self._child.signal(signal.SIGKILL)

    def close(self) -> None:
        """End it, and let go of its port and pipes."""
        self.kill()
        self._exited.wait()
        self._api.close()
        self._output.close()

    def _await_end(self) -> None:
        code = self._child.wait()
        # What the process started must not outlive it.
        self._child.signal(signal.SIGKILL)
        self._exited.set()
        self._signals.put(Exited(code if code is not None else -signal.SIGKILL))


def base_variables(python: Path, home: Path) -> dict[str, str]:
    """What a runtime's environment starts from. Nothing of the server's own but where its libraries are."""
    passed = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {
        **passed,
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        # There is no instance metadata service on this machine: an SDK that looked for one would only wait.
        "AWS_EC2_METADATA_DISABLED": "true",
    }
