"""The course of a tuning job, with trials that end when the test says so."""

from __future__ import annotations

import queue
import re
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.metrics import Point, Watch
from helpers.localaws.engines.search import Numbers, Values, make_search
from helpers.localaws.engines.tuning_run import BY_CLOSING, STOPPED, TuningRun, Verdict
from helpers.localaws.errors import AwsError

SECONDS = 20.0


class FakeJobs:
    """Training jobs that run until :meth:`end`; those that are asked to stop end at once."""

    def __init__(self, room: int = 100) -> None:
        self.started: queue.Queue[str] = queue.Queue()
        self.stopped: list[str] = []
        self.descriptions: dict[str, dict[str, Any]] = {}
        self.watches: dict[str, Watch] = {}
        self.running, self.room = 0, room
        self.most = 0

    def start(self, name: str, values: Values, watch: Watch) -> None:  # noqa: ARG002
        if self.running >= self.room:
            raise AwsError("ResourceLimitExceeded", "no room")
        self.running += 1
        self.most = max(self.most, self.running)
        self.descriptions[name] = {"TrainingJobName": name, "TrainingJobStatus": "InProgress"}
        self.watches[name] = watch
        self.started.put(name)

    def stop(self, name: str) -> None:
        self.stopped.append(name)
        self.end(name, status="Stopped")

    def description(self, name: str) -> dict[str, Any]:
        return self.descriptions[name]

    def report(self, name: str, *values: float) -> None:
        """Log values of the objective, between values of another metric."""
        for value in values:
            for metric in ("other", "loss"):
                self.watches[name].on_point(Point(metric, value, datetime.now(UTC)))

    def end(self, name: str, value: float | None = None, status: str = "Completed") -> None:
        """End a job, with this last value of the objective."""
        metrics = [] if value is None else [{"MetricName": "loss", "Value": value}]
        self.descriptions[name].update(TrainingJobStatus=status, FinalMetricDataList=metrics)
        self.running -= 1
        self.watches[name].on_end()

    def next(self) -> str:
        """The next job that is started."""
        return self.started.get(timeout=SECONDS)


class Tuning:
    """A running tuning job that minimises ``loss``."""

    def __init__(self, jobs: FakeJobs, most: int = 10, parallel: int = 1, **config: Any) -> None:
        limits = {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": parallel, **config.pop("limits", {})}
        document = {
            "HyperParameterTuningJobName": "tuned",
            "HyperParameterTuningJobConfig": {
                "HyperParameterTuningJobObjective": {"MetricName": "loss", "Type": "Minimize"},
                "ResourceLimits": limits,
                **config,
            },
        }
        self._done, self._verdicts = threading.Event(), list[Verdict]()
        search = make_search("Random", [Numbers("lr", 0, 1, False)], maximise=False, seed=1)
        self.run = TuningRun(document, search, jobs, Clock(), self._end)
        self.run.start()

    def verdict(self) -> Verdict:
        assert self._done.wait(SECONDS)
        (verdict,) = self._verdicts
        return verdict

    def _end(self, verdict: Verdict) -> None:
        self._verdicts.append(verdict)
        self._done.set()


@pytest.fixture
def jobs() -> FakeJobs:
    return FakeJobs()


def test_so_many_trials_so_many_at_once(jobs):
    tuning = Tuning(jobs, most=5, parallel=2)
    running = [jobs.next(), jobs.next()]
    for _ in range(3):
        jobs.end(running.pop(0), 1.0)
        running.append(jobs.next())
    for name in running:
        jobs.end(name, 1.0)
    assert tuning.verdict() == Verdict("Completed")
    assert jobs.most == 2
    assert [re.fullmatch(r"tuned-(\d{3})-[0-9a-f]{8}", name)[1] for name in jobs.descriptions] == [
        "001",
        "002",
        "003",
        "004",
        "005",
    ]


def test_an_objective_that_is_good_enough_ends_it(jobs):
    tuning = Tuning(jobs, parallel=2, TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.5})
    first, second = jobs.next(), jobs.next()
    jobs.end(first, 0.6)
    third = jobs.next()
    jobs.end(second, 0.5)
    assert tuning.verdict() == Verdict("Completed")
    assert jobs.stopped == [third]
    assert jobs.started.empty()


def test_trials_that_bring_nothing_better_end_it(jobs):
    criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    tuning = Tuning(jobs, TuningJobCompletionCriteria=criteria)
    for value in (0.9, 0.5, 0.6, 0.5, 0.7):
        jobs.end(jobs.next(), value)
    assert tuning.verdict() == Verdict("Completed")
    assert len(jobs.descriptions) == 5


def test_its_time_is_up(jobs):
    tuning = Tuning(jobs, limits={"MaxRuntimeInSeconds": 0.05})
    assert tuning.verdict() == Verdict("Completed")
    assert jobs.stopped == [jobs.next()]


def test_a_stop_stops_the_trials_and_starts_no_more(jobs):
    tuning = Tuning(jobs, parallel=2)
    running = [jobs.next(), jobs.next()]
    tuning.run.ask(STOPPED)
    assert tuning.verdict() == STOPPED
    assert jobs.stopped == running
    assert jobs.started.empty()


def test_closing_leaves_the_trials_to_whoever_closes(jobs):
    tuning = Tuning(jobs)
    jobs.next()
    tuning.run.ask(BY_CLOSING)
    assert tuning.verdict() == BY_CLOSING
    assert not jobs.stopped


def test_after_five_failures_in_vain_it_gives_up(jobs):
    tuning = Tuning(jobs)
    for _ in range(5):
        jobs.end(jobs.next(), status="Failed")
    assert "No training job succeeded after 5 attempts." in tuning.verdict().more["FailureReason"]


def test_a_success_makes_failures_bearable(jobs):
    tuning = Tuning(jobs, most=7)
    jobs.end(jobs.next(), 1.0)
    for _ in range(6):
        jobs.end(jobs.next(), status="Failed")
    assert tuning.verdict() == Verdict("Completed")


def test_a_failed_trials_objective_counts_for_nothing(jobs):
    tuning = Tuning(jobs, most=1)
    jobs.end(jobs.next(), 0.1, status="Failed")
    assert tuning.verdict().status == "Failed"


def test_a_trial_waits_for_room_beside_the_others():
    jobs = FakeJobs(room=1)
    tuning = Tuning(jobs, most=2, parallel=2)
    jobs.end(jobs.next(), 1.0)
    jobs.end(jobs.next(), 1.0)
    assert tuning.verdict() == Verdict("Completed")
    assert [name[:9] for name in jobs.descriptions] == ["tuned-001", "tuned-002"]


def test_without_any_room_it_fails_and_says_why():
    tuning = Tuning(FakeJobs(room=0))
    assert tuning.verdict() == Verdict("Failed", {"FailureReason": "ResourceLimitExceeded: no room"})


def test_early_stopping_stops_a_trial_that_falls_behind(jobs):
    tuning = Tuning(jobs, most=5, TrainingJobEarlyStoppingType="Auto")
    for _ in range(3):
        good = jobs.next()
        jobs.report(good, 0.5, 0.4, 0.3)
        jobs.end(good, 0.3)
    bad = jobs.next()
    jobs.report(bad, 0.45, 0.44, 0.5, 0.6)
    fifth = jobs.next()  # it can start only when the bad one is stopped
    jobs.report(fifth, 0.1, 0.1, 0.1)
    jobs.end(fifth, 0.1)
    assert tuning.verdict() == Verdict("Completed")
    assert jobs.stopped == [bad], "once"


def test_a_broken_search_fails_it(jobs, monkeypatch):
    monkeypatch.setattr(jobs, "start", lambda *_: 1 / 0)
    assert Tuning(jobs).verdict().more["FailureReason"].startswith("InternalServerError: ZeroDivisionError")
