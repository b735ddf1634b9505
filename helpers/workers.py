"""Work shared out over processes: for what holds Python's one lock, such as decoding and drawing pictures."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

MOST = 8


def run_shares(module: str, arguments: list[str], pieces: int, pieces_each: int) -> list[str]:
    """Run ``python -m module SHARE SHARES arguments…`` once for each share; what each printed.

    There are as many shares as cores (8 at most), but only so many that each has ``pieces_each`` of the ``pieces``: to
    start one takes a third of a second. Multiprocessing would instead fork a notebook's threads, or import the caller's
    own script a second time, which a notebook lacks and a script without a main guard does not survive.

    Raises RuntimeError with what a share said last, if it fails; the others are then ended.
    """
    shares = max(1, min(os.cpu_count() or 1, MOST, pieces // pieces_each))
    path = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    with ExitStack() as stack:
        # Files, since a share would wait at a full pipe until the one before it is read.
        files = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(2 * shares)]
        running: list[subprocess.Popen[str]] = []
        for share, (out, err) in enumerate(zip(files[::2], files[1::2], strict=True)):
            command = [sys.executable, "-m", module, str(share), str(shares), *arguments]
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=err, text=True)
            stack.callback(_end, process)
            running.append(process)
        for process, err in zip(running, files[1::2], strict=True):
            if process.wait():
                err.seek(0)
                raise RuntimeError(f"{module} ended with exit code {process.returncode}: {err.read()[-2000:].strip()}")
        for out in files[::2]:
            out.seek(0)
        return [out.read() for out in files[::2]]


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()  # does nothing to one that has ended
    process.wait()
