"""How many invocations run, and how many may: of the account in a region, of a function with a reservation.

What is provisioned is claimed from the start, used or not: from the function's reservation, where it has one, else from
what the functions without a reservation share.
See https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .faults import Throttled, invalid

# AWS gives 1,000; a new account has 10. Set the variable in the server's environment to have another limit.
SETTING = "LOCALAWS_LAMBDA_CONCURRENCY"
QUOTA = "L-B99A9384"  # "Concurrent executions"
UNRESERVED_MINIMUM = 100
# A function's call into the embedded AWS needs a thread of the server, while the invocation itself holds one, and an
# endpoint that the function calls a third. With half of the server's 128 threads, none ever waits for another.
MACHINE_LIMIT = 60
# The limit is a quota, which is kept in the store: too slow a place for an invocation's way.
REMEMBERED_SECONDS = 1.0

Function = tuple[str, str]  # region, name


@dataclass(frozen=True)
class Running:
    """How many invocations run, a new one among them: in the region, of its function, of its version or alias.

    ``unreserved`` are those of functions without a reservation, None where the function has one; ``claimed`` is what
    cannot be had on demand any more.
    """

    region: int
    function: int
    resource: int
    unreserved: int | None
    claimed: int


class Concurrency:
    """Admits invocations; every limit is one of the present moment. ``limit`` gives a region's quota."""

    def __init__(self, limit: Callable[[str], float]) -> None:
        self._limit_of, self._limits = limit, dict[str, tuple[float, int]]()
        self._lock = threading.RLock()
        self._on_demand: Counter[Function] = Counter()
        self._in_provisioned: Counter[Function] = Counter()
        self._resources: Counter[tuple[Function, str]] = Counter()
        self._reserved: dict[Function, int] = {}
        self._provisioned: dict[Function, dict[str, int]] = defaultdict(dict)

    def limit(self, region: str) -> int:
        """How many invocations of the account may run in a region."""
        until, limit = self._limits.get(region, (0.0, 0))
        if until < time.monotonic():
            limit = int(self._limit_of(region))
            self._limits[region] = time.monotonic() + REMEMBERED_SECONDS, limit
        return limit

    @contextmanager
    def admitted(self, function: Function, qualifier: str = "", provisioned: bool = False) -> Iterator[Running]:
        """Count one invocation while it runs. Raises :class:`Throttled`.

        ``provisioned`` ones have an environment that was claimed before, so no limit but the machine's stops them.
        """
        limit, resource = self.limit(function[0]), (function, qualifier)
        counter = self._in_provisioned if provisioned else self._on_demand
        with self._lock:
            if not provisioned:
                self._check(function, limit)
            if self._on_demand.total() + self._in_provisioned.total() >= MACHINE_LIMIT:
                message = f"Rate Exceeded. The embedded AWS runs at most {MACHINE_LIMIT} invocations at once."
                raise Throttled("ConcurrentInvocationLimitExceeded", message)
            counter[function] += 1
            self._resources[resource] += 1
            running = self._running(resource)
        try:
            yield running
        finally:
            with self._lock:
                counter[function] -= 1
                self._resources[resource] -= 1

    # ---- reserved ----

    def reserve(self, function: Function, wanted: int | None) -> None:
        """Set a function's reservation, or end it; raises where too little would be left unreserved."""
        limit = self.limit(function[0])
        with self._lock:
            minimum, provisioned = min(UNRESERVED_MINIMUM, limit), sum(self._provisioned[function].values())
            if wanted is not None and wanted < provisioned:
                invalid(
                    f"ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned "
                    f"concurrency [{provisioned}]."
                )
            if wanted and limit - self._claimed(function[0], except_for=function) - wanted < minimum:
                invalid(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{minimum}]."
                )
            self.restore(function, wanted)

    def restore(self, function: Function, wanted: int | None) -> None:
        """Set a reservation that was allowed when it was made."""
        with self._lock:
            self._reserved.pop(function, None)
            if wanted is not None:
                self._reserved[function] = wanted

    # ---- provisioned ----

    def provision(self, function: Function, qualifier: str, wanted: int) -> None:
        """Claim the concurrency of a version's or an alias's environments; raises where there is not as much."""
        limit = self.limit(function[0])
        with self._lock:
            others = sum(count for name, count in self._provisioned[function].items() if name != qualifier)
            if function in self._reserved:
                if others + wanted > self._reserved[function]:
                    invalid(
                        "Requested Provisioned Concurrency should not be greater than the "
                        "reservedConcurrentExecution for function"
                    )
            else:
                free = limit - self._claimed(function[0], except_for=function) - others
                self._check_free(free, wanted, min(UNRESERVED_MINIMUM, limit))
            self._provisioned[function][qualifier] = wanted

    def restore_provisioned(self, function: Function, counts: dict[str, int]) -> None:
        """Set all that a function has provisioned, by version or alias, as it was allowed when it was made."""
        with self._lock:
            self._provisioned[function] = dict(counts)

    def provisioned(self) -> int:
        """How many environments are provisioned, of all functions."""
        with self._lock:
            return sum(sum(counts.values()) for counts in self._provisioned.values())

    def unreserved(self, region: str) -> int:
        """What the functions without a reservation share."""
        limit = self.limit(region)
        with self._lock:
            return limit - self._claimed(region)

    # ---- the sums ----

    def _check(self, function: Function, limit: int) -> None:
        reserved = self._reserved.get(function)
        if reserved is not None and self._on_demand[function] + self._held(function) >= reserved:
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        region = function[0]
        if reserved is None and self._shared(region) >= limit - self._claimed(region):
            raise Throttled("ConcurrentInvocationLimitExceeded")

    def _check_free(self, free: int, wanted: int, minimum: int) -> None:
        if wanted > free:
            invalid(
                "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                f"[{max(free, 0)}]."
            )
        if free - wanted < minimum:
            invalid(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{minimum}]."
            )

    def _held(self, function: Function) -> int:
        """What is provisioned, or what still runs of more than that."""
        return max(sum(self._provisioned[function].values()), self._in_provisioned[function])

    def _shared(self, region: str) -> int:
        """What runs of the concurrency that nobody has for oneself."""
        return sum(count for one, count in self._on_demand.items() if one[0] == region and one not in self._reserved)

    def _claimed(self, region: str, except_for: Function | None = None) -> int:
        """What is not shared in a region: reserved, or provisioned without a reservation."""
        every = {*self._reserved, *self._provisioned, *self._in_provisioned}
        functions = [one for one in every if one[0] == region and one != except_for]
        return sum(self._reserved.get(one, self._held(one)) for one in functions)

    def _running(self, resource: tuple[Function, str]) -> Running:
        function, region = resource[0], resource[0][0]
        totals = self._on_demand + self._in_provisioned
        of_region = {one: count for one, count in totals.items() if one[0] == region}
        unreserved = sum(count for one, count in of_region.items() if one not in self._reserved)
        return Running(
            sum(of_region.values()),
            of_region[function],
            self._resources[resource],
            None if function in self._reserved else unreserved,
            self._shared(region) + self._claimed(region),
        )
