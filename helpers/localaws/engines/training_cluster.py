"""All hosts of a training job, run once: started together, watched together, ended together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from .clock import Clock
from .training_host import TrainingHost

STOP_SECONDS = 120.0  # AWS's time between SIGTERM and SIGKILL


class Ending(Enum):
    """Why a run of the hosts is over."""

    COMPLETED = "every host ended with exit code 0"
    FAILED = "a host ended with another exit code"
    STOPPED = "the job was asked to stop"
    MAX_RUNTIME = "the job's time is up"
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

    def ask(self, ending: Ending) -> None:
        """Ask for the end of whatever the job is doing."""
        self._asked = ending
        self._queue.put(ending)

    @property
    def asked(self) -> Ending | None:
        """The end that was asked for last."""
        return self._asked

    def tell(self, host: TrainingHost) -> None:
        """Say that a host has ended."""
        self._queue.put(host)

    def next(self, timeout: float) -> TrainingHost | Ending:
        """The next message; MAX_RUNTIME where there is none in ``timeout`` seconds."""
        try:
            return self._queue.get(timeout=max(0.0, timeout))
        except queue.Empty:
            return Ending.MAX_RUNTIME


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

    def run(self, seconds: float) -> Outcome:
        """Run all hosts for at most ``seconds``: until all have ended well, one has failed, or an end is asked for."""
        deadline = self._clock.monotonic() + seconds
        try:
            for host in self._hosts:
                self._start(host)
                threading.Thread(target=self._watch, args=(host,), name=f"wait for {host.name}", daemon=True).start()
            outcome = self._outcome(deadline)
            self._on_stop(outcome.ending)
        except BaseException:
            self._end(0.0)
            raise
        self._end(0.0 if outcome.ending is Ending.CLOSED else STOP_SECONDS)
        return outcome

    def _watch(self, host: TrainingHost) -> None:
        host.wait()
        self._mailbox.tell(host)

    def _outcome(self, deadline: float) -> Outcome:
        running = set(self._hosts)
        while running:
            told = self._mailbox.next(deadline - self._clock.monotonic())
            if isinstance(told, Ending):
                return Outcome(told)
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
        for stop in stops:
            stop.join()
