"""One tuning job from its first trial to its last status, in a thread of its own."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import AwsError
from ..store import Document
from . import trials
from .clock import Clock
from .early_stopping import falls_behind
from .metrics import Point, Watch
from .search import Search, Values

log = logging.getLogger(__name__)

ATTEMPTS = 5  # trials after which AWS gives up, if nothing has come of any
CLOSED = "the embedded AWS was stopped while this hyperparameter tuning job ran; the trials that had ended are kept."
NO_SUCCESS = "No training job succeeded after {count} attempts. "
ALL_FAILED = "All training jobs failed. "
LOOK = "Please take a look at the training job failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {count} training jobs. Please ensure that the custom algorithm is "
    "emitting the objective metric as defined by the regular expression provided."
)


class Trials(Protocol):
    """Makes, stops and describes the training jobs of one tuning job."""

    def start(self, name: str, values: Values, watch: Watch) -> None:
        """Start a training job with these hyperparameters; raises :class:`AwsError`."""

    def stop(self, name: str) -> None:
        """Ask a training job to stop."""

    def description(self, name: str) -> Document:
        """DescribeTrainingJob's answer; raises ``KeyError`` for one that was deleted."""


@dataclass(frozen=True)
class Verdict:
    """How a tuning job ends: its status, and further members of its description."""

    status: str
    more: dict[str, Any] = field(default_factory=dict)


STOPPED = Verdict("Stopped")
COMPLETED = Verdict("Completed")
BY_CLOSING = Verdict("Failed", {"FailureReason": f"InternalServerError: {CLOSED}"})


@dataclass(frozen=True)
class _Message:
    """A value of the objective, or (without one) the end, of a trial."""

    trial: str
    value: float | None = None


@dataclass
class _Trial:
    """A running trial: its number in the search, and its objective's values so far."""

    number: int
    values: list[float] = field(default_factory=list)
    stopping: bool = False


class TuningRun:
    """Runs one tuning job. ``document`` is its description; ``on_end`` takes the verdict, once, at the end."""

    def __init__(
        self, document: Document, search: Search, jobs: Trials, clock: Clock, on_end: Callable[[Verdict], None]
    ) -> None:
        config = document["HyperParameterTuningJobConfig"]
        self.name = str(document["HyperParameterTuningJobName"])
        self._search, self._jobs, self._clock, self._on_end = search, jobs, clock, on_end
        self._metric, self._maximise = trials.objective(document)
        self._limits, self._criteria = config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
        self._early_stopping = config.get("TrainingJobEarlyStoppingType") == "Auto"
        self._mailbox: queue.Queue[_Message | Verdict] = queue.Queue()
        self._running: dict[str, _Trial] = {}
        self._completed: list[list[float]] = []  # the objective's values of each trial that has completed
        self._finals: list[float] = []  # final values, in the order in which trials ended
        self._started = self._ended = self._failed = 0
        self._next: tuple[int, Values] | None = None
        self._verdict: Verdict | None = None
        self._thread = threading.Thread(target=self._run, name=f"tuning job {self.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self, verdict: Verdict) -> None:
        """Ask for an early end: ``STOPPED``, which stops the trials, or ``BY_CLOSING``, which leaves them."""
        self._mailbox.put(verdict)

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    # ---- the course of a tuning job ----

    def _run(self) -> None:
        try:
            verdict = self._tune()
        except Exception as error:
            log.exception("tuning job %s", self.name)
            self._stop_trials()
            verdict = Verdict("Failed", {"FailureReason": f"InternalServerError: {type(error).__name__}: {error}"})
        self._on_end(verdict)

    def _tune(self) -> Verdict:
        deadline = self._clock.monotonic() + self._limits.get("MaxRuntimeInSeconds", float("inf"))
        while True:
            if self._verdict is None:
                self._start_trials()
            if not self._running or self._verdict is BY_CLOSING:
                return self._verdict or self._final_verdict()
            self._take(self._wait_for_message(deadline))

    def _wait_for_message(self, deadline: float) -> _Message | Verdict:
        """The next message; ``COMPLETED`` when the tuning job's time is up."""
        left = deadline - self._clock.monotonic()
        if self._verdict is not None or left == float("inf"):
            return self._mailbox.get()
        try:
            return self._mailbox.get(timeout=max(0.0, left))
        except queue.Empty:
            return COMPLETED

    def _take(self, message: _Message | Verdict) -> None:
        if isinstance(message, Verdict):
            self._conclude(message)
        elif message.value is None:
            self._take_end(message.trial)
        elif message.trial in self._running:
            self._take_value(message.trial, message.value)

    def _conclude(self, verdict: Verdict) -> None:
        """Start no more trials, and stop those that run. What was decided first stands, but for the server's end."""
        if self._verdict is None or verdict is BY_CLOSING:
            self._verdict = verdict
        if verdict is not BY_CLOSING:
            self._stop_trials()

    # ---- trials ----

    def _start_trials(self) -> None:
        limit = self._limits.get("MaxNumberOfTrainingJobs", float("inf"))
        while len(self._running) < self._limits["MaxParallelTrainingJobs"] and self._started < limit:
            self._next = self._next or self._search.suggest()
            if self._next is None or not self._start_trial(*self._next):
                return
            self._next = None

    def _start_trial(self, number: int, values: Values) -> bool:
        """Start one; where the account's limits leave no room for it beside those that run, it has to wait."""
        name = f"{self.name}-{self._started + 1:03d}-{secrets.token_hex(4)}"
        try:
            self._jobs.start(name, values, self._watch(name))
        except AwsError as error:
            if error.code != "ResourceLimitExceeded" or not self._running:
                self._conclude(Verdict("Failed", {"FailureReason": f"{error.code}: {error.message}"[:1024]}))
            return False
        self._running[name] = _Trial(number)
        self._started += 1
        return True

    def _watch(self, name: str) -> Watch:
        def on_point(point: Point) -> None:
            if point.name == self._metric:
                self._mailbox.put(_Message(name, point.value))

        return Watch(on_point, lambda: self._mailbox.put(_Message(name)))

    def _take_value(self, name: str, value: float) -> None:
        trial = self._running[name]
        trial.values.append(value)
        hopeless = self._search.report(trial.number, value) or (
            self._early_stopping and falls_behind(trial.values, self._completed, maximise=self._maximise)
        )
        if hopeless and not trial.stopping:
            trial.stopping = True
            self._jobs.stop(name)

    def _take_end(self, name: str) -> None:
        trial = self._running.pop(name)
        try:
            described = self._jobs.description(name)
        except KeyError:
            described = {"TrainingJobStatus": "Failed"}
        failed = described["TrainingJobStatus"] == "Failed"
        value = None if failed else trials.final_value(described, self._metric)
        self._search.observe(trial.number, value)
        self._ended, self._failed = self._ended + 1, self._failed + failed
        if value is not None:
            self._finals.append(value)
        if described["TrainingJobStatus"] == "Completed":
            self._completed.append(trial.values)
        if self._verdict is None and (verdict := self._judge()):
            self._conclude(verdict)

    def _stop_trials(self) -> None:
        for name, trial in list(self._running.items()):
            if not trial.stopping:
                trial.stopping = True
                self._jobs.stop(name)

    # ---- verdicts ----

    def _judge(self) -> Verdict | None:
        """Whether what the trials have brought so far ends the tuning job."""
        if not self._finals:
            return self._nothing_found(NO_SUCCESS) if self._ended >= ATTEMPTS else None
        target, value = self._criteria.get("TargetObjectiveMetricValue"), self._finals[-1]
        if target is not None and (value >= target if self._maximise else value <= target):
            return COMPLETED
        patience = self._criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        if patience and trials.not_improving(self._finals, maximise=self._maximise) >= patience:
            return COMPLETED
        return None

    def _final_verdict(self) -> Verdict:
        """When no trial is left to start or to wait for."""
        return COMPLETED if self._finals else self._nothing_found(ALL_FAILED)

    def _nothing_found(self, failures: str) -> Verdict:
        reason = failures + LOOK if self._failed == self._ended else NO_OBJECTIVE
        return Verdict("Failed", {"FailureReason": reason.format(count=self._ended)})
