"""An interrupt from the keyboard, told in a sentence: what it has ended, and how to go on.

A cell that waits is often deep in a client's code: its traceback, of sixty lines, would hide what one wants to know.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(KeyboardInterrupt):
    """An interrupt that has been seen to; the message says what became of what was running."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the sentence, and nothing of where the program was."""
        return [f"Interrupted. {self}"]


@contextmanager
def interruptible(told: Callable[[], str]) -> Iterator[None]:
    """Where the body is interrupted, call ``told`` to clear up and say what has become of it, and raise its sentence.

    Whoever presses the button again while it clears up is not heard: half of that would leave something that bills.
    """
    try:
        yield
    except Interrupted:
        raise  # told already, by who knew more of it
    except KeyboardInterrupt:
        with _deaf():
            sentence = told()
        raise Interrupted(sentence) from None


@contextmanager
def _deaf() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
