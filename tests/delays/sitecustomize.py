"""Random pauses inside an embedded AWS, so that what depends on luck fails now and not once in a thousand runs.

With this folder on ``PYTHONPATH``, every embedded AWS that is started pauses now and then where a busy machine would
make it wait: before and after a process or a thread is started, as a thread begins, before it takes a lock, before a
file is renamed or a group of processes signalled. Nothing may fail for it, everything may take longer::

    make test-delays
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SHARE, LONGEST = 0.25, 0.3  # how often, and at most how long (seconds), where something is started or ended
LOCK_SHARE, LOCK_LONGEST = 0.01, 0.1  # the same before a lock is taken


def _pause(share: float = SHARE, longest: float = LONGEST) -> None:
    if random.random() < share:
        time.sleep(random.uniform(0, longest))


def _slowed(function: Callable[..., Any], after: bool = True) -> Callable[..., Any]:
    def slowed(*arguments: Any, **named: Any) -> Any:
        _pause()
        result = function(*arguments, **named)
        if after:
            _pause()
        return result

    return slowed


class _SlowLock:
    """A lock of either kind that is sometimes late to be taken."""

    def __init__(self, lock: Any) -> None:
        self._slow_lock = lock

    def acquire(self, *arguments: Any, **named: Any) -> bool:
        _pause(LOCK_SHARE, LOCK_LONGEST)
        return bool(self._slow_lock.acquire(*arguments, **named))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self._slow_lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slow_lock, name)


class _SlowWhereOurs:
    """Makes slow locks for the embedded AWS alone, less those of the module that pickles moto with its locks.

    An object and not a function, which would become a method where a class keeps it; pickled by the name that it has
    taken over, as the function that it stands for.
    """

    def __init__(self, name: str) -> None:
        self._name, self._make = name, getattr(threading, name)
        self.__module__ = "threading"

    def __reduce__(self) -> str:
        return self._name

    def __call__(self, *arguments: Any) -> Any:
        module = str(sys._getframe(1).f_globals.get("__name__"))
        ours = module.startswith("helpers.localaws") and not module.endswith(".records")
        return _SlowLock(self._make(*arguments)) if ours else self._make(*arguments)


def _install() -> None:
    places: list[tuple[Any, str, bool]] = [
        (subprocess.Popen, "__init__", True),
        (threading.Thread, "start", True),
        (threading.Thread, "run", False),
        (os, "killpg", True),
        (os, "replace", True),
    ]
    for owner, name, after in places:
        setattr(owner, name, _slowed(getattr(owner, name), after))
    for name in ("Lock", "RLock"):
        setattr(threading, name, _SlowWhereOurs(name))


if "helpers.localaws" in sys.orig_argv:
    _install()
