"""How many invocations run, and how many may: of the account in a region, of a function with a reservation.

See https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .faults import Throttled, invalid

# AWS gives 1,000; a new account has 10. Set the variable in the server's environment to have another limit.
SETTING = "LOCALAWS_LAMBDA_CONCURRENCY"
DEFAULT_LIMIT = 1000
UNRESERVED_MINIMUM = 100
# A function's call into the embedded AWS needs a thread of the server, while the invocation itself holds one, and an
# endpoint that the function calls a third. With half of the server's 128 threads, none ever waits for another.
MACHINE_LIMIT = 60

Function = tuple[str, str]  # region, name


class Concurrency:
    """Admits invocations; every limit is one of the present moment."""

    def __init__(self) -> None:
        self.limit = int(os.environ.get(SETTING, DEFAULT_LIMIT))
        self._lock = threading.Lock()
        self._running: Counter[Function] = Counter()
        self._reserved: dict[Function, int] = {}

    def set_limit(self, limit: float) -> None:
        """Change the account's limit, as a granted quota request does."""
        with self._lock:
            self.limit = int(limit)

    @contextmanager
    def admitted(self, function: Function) -> Iterator[int]:
        """Count one invocation while it runs; yields how many of the function run. Raises :class:`Throttled`."""
        with self._lock:
            self._check(function)
            self._running[function] += 1
            running = self._running[function]
        try:
            yield running
        finally:
            with self._lock:
                self._running[function] -= 1

    def reserve(self, function: Function, wanted: int | None) -> None:
        """Set a function's reservation, or end it; raises where too little would be left unreserved."""
        with self._lock:
            others = sum(self._reservations(function[0], except_for=function))
            minimum = min(UNRESERVED_MINIMUM, self.limit)
            if wanted and self.limit - others - wanted < minimum:
                invalid(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
                )
            self.restore(function, wanted)

    def restore(self, function: Function, wanted: int | None) -> None:
        """Set a reservation that was allowed when it was made."""
        self._reserved.pop(function, None)
        if wanted is not None:
            self._reserved[function] = wanted

    def unreserved(self, region: str) -> int:
        """What the functions without a reservation share."""
        with self._lock:
            return self.limit - sum(self._reservations(region))

    def _check(self, function: Function) -> None:
        reserved = self._reserved.get(function)
        if reserved is not None and self._running[function] >= reserved:
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        region = function[0]
        if reserved is None and self._running_unreserved(region) >= self.limit - sum(self._reservations(region)):
            raise Throttled("ConcurrentInvocationLimitExceeded")
        if self._running.total() >= MACHINE_LIMIT:
            message = f"Rate Exceeded. The embedded AWS runs at most {MACHINE_LIMIT} invocations at once."
            raise Throttled("ConcurrentInvocationLimitExceeded", message)

    def _running_unreserved(self, region: str) -> int:
        return sum(
            n for function, n in self._running.items() if function[0] == region and function not in self._reserved
        )

    def _reservations(self, region: str, except_for: Function | None = None) -> list[int]:
        return [n for function, n in self._reserved.items() if function[0] == region and function != except_for]
