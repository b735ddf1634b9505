"""Progress to suit its reader: a bar where somebody watches, now and then a plain line where it goes into a file.

All of it goes to stderr: it tells how a run went, which is no part of a notebook's result. But not where a notebook is
open in a browser: that shows stderr in red, as if something had failed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm.auto import tqdm

SECONDS_BETWEEN_LINES = 15.0


def note(line: str) -> None:
    """Say something in passing."""
    print(line, file=stream(), flush=True)


def stream() -> TextIO:
    """Where to say how things go."""
    return sys.stdout if getattr(_kernel(), "_allow_stdin", False) else sys.stderr


def watched() -> bool:
    """Whether somebody sees it as it is written: in a terminal, or in a notebook that is open in a browser."""
    # A browser lets a cell ask for input; papermill and nbconvert do not, which tells them apart.
    return bool(getattr(_kernel(), "_allow_stdin", sys.stderr.isatty()))


def _kernel() -> Any:
    """The kernel that this runs in, or None."""
    return getattr(sys.modules["IPython"].get_ipython(), "kernel", None) if "IPython" in sys.modules else None


@contextmanager
def progress(what: str, total: int | None, unit: str = "photos") -> Iterator[Callable[[int], object]]:
    """Yield a function to call with each advance, in units: ``with progress("upload", 840) as advance: advance(1)``."""
    if watched():
        with tqdm(desc=what, total=total, unit=" " + unit, unit_scale=unit == "bytes") as bar:
            yield bar.update
        return
    started = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            note(f"{what}: {done:,}{f' of {total:,}' if total else ''} {unit}")

    yield advance
    note(f"{what}: {done:,} {unit} in {time.monotonic() - started:.1f} s")
