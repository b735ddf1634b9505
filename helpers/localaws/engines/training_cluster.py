"""All hosts of a training job, run once: started together, watched together, ended together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from .clock import Clock
from .training_host import TrainingHost

STOP_SECONDS = 120.0  # AWS's time between SIGTERM and SIGKILL


class Ending(Enum):
    """Why a run of the hosts is over."""

    COMPLETED = "every host ended with exit code 0"
    FAILED = "a host ended with another exit code"
    STOPPED = "the job was asked to stop"
    MAX_RUNTIME = "the job's time is up"
    MAX_WAIT = "the job's time to run and to wait for spot instances is up"
    INTERRUPTED = "the spot market takes the instances back"
    CLOSED = "the embedded AWS is stopping"


@dataclass(frozen=True)
class Outcome:
    """How a run of the hosts ended; ``host`` is the one that failed first."""

    ending: Ending
    host: TrainingHost | None = None


class Mailbox:
    """Where a job's thread hears of what ends a run: hosts that have ended, and requests to end."""

    def __init__(self) -> None:
        self._queue: queue.Queue[TrainingHost | Ending] = queue.Queue()
        self._asked: Ending | None = None
        self._told = threading.Event()

    def ask(self, ending: Ending) -> None:
        """Ask for the end of whatever the job is doing."""
        self._asked = ending
        self._told.set()
        self._queue.put(ending)

    def interrupt(self) -> None:
        """End what the hosts are doing, which another attempt may take up."""
        self._queue.put(Ending.INTERRUPTED)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until an end is asked for."""
        self._told.wait(seconds)

    @property
    def asked(self) -> Ending | None:
        """The end that was asked for last."""
        return self._asked

    def tell(self, host: TrainingHost) -> None:
        """Say that a host has ended."""
        self._queue.put(host)

    def next(self, timeout: float) -> TrainingHost | Ending | None:
        """The next message; None where there is none in ``timeout`` seconds."""
        try:
            return self._queue.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return None


class TrainingCluster:
    """The hosts of one job. ``start`` starts one of them; nothing of any is left when :meth:`run` returns."""

    def __init__(
        self,
        hosts: Sequence[TrainingHost],
        clock: Clock,
        mailbox: Mailbox,
        start: Callable[[TrainingHost], None],
        on_stop: Callable[[Ending], None],
    ) -> None:
        self._hosts, self._clock, self._mailbox = hosts, clock, mailbox
        self._start, self._on_stop = start, on_stop
        self._watchers: list[threading.Thread] = []

    def run(self, limits: Mapping[Ending, float]) -> Outcome:
        """Run all hosts until all have ended well, one has failed, or an end is asked for.

        ``limits`` are the endings that come by themselves, each after so many seconds. Every host's exit code is known
        afterwards.
        """
        first = min(limits, key=lambda ending: limits[ending])
        deadline = self._clock.monotonic() + limits[first]
        try:
            for host in self._hosts:
                self._start(host)
                watcher = threading.Thread(target=self._watch, args=(host,), name=f"wait for {host.name}", daemon=True)
                self._watchers.append(watcher)
                watcher.start()
            outcome = self._outcome(deadline, first)
            self._on_stop(outcome.ending)
        except BaseException:
            self._end(0.0)
            raise
        # There is no time left either if that was asked for while another reason was already known.
        self._end(0.0 if Ending.CLOSED in (outcome.ending, self._mailbox.asked) else STOP_SECONDS)
        if outcome.ending is Ending.FAILED:
            # Who was heard of first need not have failed first: where one fails, the others often do a moment later.
            return Outcome(
                Ending.FAILED, min((host for host in self._hosts if host.exit_code), key=attrgetter("ended"))
            )
        return outcome

    def _watch(self, host: TrainingHost) -> None:
        try:
            host.wait()
        finally:
            self._mailbox.tell(host)

    def _outcome(self, deadline: float, after: Ending) -> Outcome:
        running = set(self._hosts)
        while running:
            told = self._mailbox.next(deadline - self._clock.monotonic())
            if told is None or isinstance(told, Ending):
                return Outcome(told or after)
            if told in running and told.exit_code:
                return Outcome(Ending.FAILED, told)
            running.discard(told)
        return Outcome(Ending.COMPLETED)

    def _end(self, seconds: float) -> None:
        """Stop all hosts side by side, so that one grace period is enough for all."""
        real = self._clock.deadline(seconds) - self._clock.monotonic()
        stops = [threading.Thread(target=host.stop, args=(real,)) for host in self._hosts]
        for stop in stops:
            stop.start()
        for thread in (*stops, *self._watchers):
            thread.join()
