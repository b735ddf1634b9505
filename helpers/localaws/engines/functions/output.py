"""What a runtime writes: lines on its standard output, and frames of the runtime client's own log.

The frames are AWS's (``_LAMBDA_TELEMETRY_LOG_FD``): a message keeps its line breaks and becomes one log event.
Everything written before a response is read before that response counts (:meth:`Output.drain`): no line comes late.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator

HEADER = 16  # type, length, timestamp in µs: 4 + 4 + 8 bytes, big-endian
FRAME = b"\xa5\x5a\x00"
CHUNK = 1 << 16


class Output:
    """Two pipes and the thread that reads them; ``stdout`` and ``frames`` are the ends for the child."""

    def __init__(self, on_message: Callable[[str], None]) -> None:
        self._on_message = on_message
        self._lock = threading.Lock()
        self._text, self._framed = bytearray(), bytearray()
        self._stdout, self.stdout = os.pipe()
        self._frames, self.frames = os.pipe()
        self._wake, self._waker = os.pipe()
        for end in (self._stdout, self._frames):
            os.set_blocking(end, False)
        self._thread = threading.Thread(target=self._run, name="function output", daemon=True)

    def start(self) -> None:
        """Close the child's ends, which the child has by now, and read."""
        os.close(self.stdout)
        os.close(self.frames)
        self._thread.start()

    def drain(self) -> None:
        """Read everything written so far; an unfinished line counts as a line."""
        with self._lock:
            self._read()
            if self._text:
                self._emit(bytes(self._text))
                self._text.clear()

    def close(self) -> None:
        """Read what is left, and end."""
        self.drain()
        os.write(self._waker, b".")
        self._thread.join()
        for end in (self._stdout, self._frames, self._wake, self._waker):
            os.close(end)

    def _run(self) -> None:
        open_ends = {self._stdout, self._frames}
        while open_ends:
            readable, _, _ = select.select([*open_ends, self._wake], [], [])
            if self._wake in readable:
                return
            with self._lock:
                ended = self._read()
            open_ends -= ended

    def _read(self) -> set[int]:
        """Take in what the pipes hold; returns the ends that nobody writes to any more."""
        ended = {
            end for end, buffer in ((self._stdout, self._text), (self._frames, self._framed)) if _fill(end, buffer)
        }
        for line in _take_lines(self._text):
            self._emit(line)
        for message in _take_frames(self._framed):
            self._emit(message)
        return ended

    def _emit(self, message: bytes) -> None:
        text = message.decode("utf-8", errors="replace").rstrip("\n")
        if text.strip():
            self._on_message(text)


def _fill(end: int, buffer: bytearray) -> bool:
    """Read until the pipe is empty; True when it has ended."""
    while True:
        try:
            chunk = os.read(end, CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            return True
        buffer += chunk


def _take_lines(buffer: bytearray) -> Iterator[bytes]:
    *lines, rest = bytes(buffer).split(b"\n")
    buffer[:] = rest
    yield from lines


def _take_frames(buffer: bytearray) -> Iterator[bytes]:
    """The whole frames at the start of ``buffer``, which keeps the rest; bytes that are no frame are passed over."""
    while len(buffer) >= HEADER:
        if not buffer.startswith(FRAME):
            del buffer[: _next_frame(buffer)]
            continue
        size = int.from_bytes(buffer[4:8], "big")
        if len(buffer) < HEADER + size:
            return
        yield bytes(buffer[HEADER : HEADER + size])
        del buffer[: HEADER + size]


def _next_frame(buffer: bytearray) -> int:
    found = buffer.find(FRAME, 1)
    return found if found > 0 else len(buffer)


__all__ = ["Output"]
