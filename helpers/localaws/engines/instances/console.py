"""An instance's serial console: what GetConsoleOutput answers, kept in a file that outlives the instance."""

from __future__ import annotations

import threading
import time
from pathlib import Path

KEPT = 64 * 1024  # bytes, as AWS keeps


class Console:
    """Lines as cloud-init writes them there, with the seconds since the boot. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._booted = time.monotonic()

    def boot(self) -> None:
        """Count seconds from now on."""
        self._booted = time.monotonic()

    def write(self, line: str, program: str = "localaws") -> None:
        """Add one line."""
        text = f"[{time.monotonic() - self._booted:12.6f}] {program}: {line}\n"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(text)

    def read(self) -> str:
        """The latest 64 KiB."""
        if not self._path.exists():
            return ""
        with self._lock, self._path.open("rb") as file:
            file.seek(max(0, self._path.stat().st_size - KEPT))
            return file.read().decode(errors="replace")
