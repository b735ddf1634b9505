"""What is asked of a training or tuning job just before it is known to run, or just after it has ended, is not lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.localaws.engines import training, tuning
from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.training_cluster import Ending
from helpers.localaws.engines.tuning_run import BY_CLOSING, STOPPED
from helpers.localaws.store import Store

REGION, NAME = "us-east-1", "dogs"


class FakeRun:
    """A job that runs until the test ends it; when it is made, somebody else may do something first."""

    made: list[FakeRun]
    before_known: Callable[[], object]

    def __init__(self, end: Callable[..., None]) -> None:
        self.end = end
        self.asked: list[object] = []
        type(self).made.append(self)
        type(self).before_known()

    def start(self) -> None:
        """It runs."""

    def ask(self, ending: object) -> None:
        self.asked.append(ending)

    def join(self, seconds: float) -> None:
        """It has ended."""


class Training:
    """The engine of training jobs, with fake runs."""

    stopped, closed = Ending.STOPPED, Ending.CLOSED

    def __init__(self, cloud: Any) -> None:
        self.engine = training.TrainingEngine(cloud)
        self.table = cloud.store.table(training.TABLE)

    def create(self) -> None:
        job = {"TrainingJobName": NAME, "TrainingJobArn": "arn", "TrainingJobStatus": "InProgress"}
        self.table.put(REGION, NAME, job)
        self.engine.start(REGION, job)

    @staticmethod
    def run(_: Any, __: Any, ___: Any, end: Callable[[], None], ____: Any) -> FakeRun:
        return FakeRun(end)


class Tuning:
    """The engine of tuning jobs, with fake runs."""

    stopped, closed = STOPPED, BY_CLOSING

    def __init__(self, cloud: Any) -> None:
        self.engine = tuning.TuningEngine(cloud)
        self.table = cloud.store.table(tuning.TABLE)

    def create(self) -> None:
        job = {"HyperParameterTuningJobName": NAME, "HyperParameterTuningJobStatus": "InProgress"}
        self.table.put(REGION, NAME, job)
        self.engine.start(REGION, job, SimpleNamespace(), lambda *_: None)  # type: ignore[arg-type]

    @staticmethod
    def run(_: Any, __: Any, ___: Any, ____: Any, end: Callable[..., None]) -> FakeRun:
        return FakeRun(lambda: end(STOPPED))


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Any]:
    store = Store(tmp_path / "documents.sqlite")
    yield SimpleNamespace(store=store, clock=Clock(), identity="nobody", workplace=lambda *_: tmp_path)
    store.close()


@pytest.fixture(params=[Training, Tuning])
def jobs(request: pytest.FixtureRequest, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    FakeRun.made, FakeRun.before_known = [], lambda: None
    monkeypatch.setattr(training, "TrainingRun", Training.run)
    monkeypatch.setattr(tuning, "TuningRun", Tuning.run)
    return request.param(cloud)


def test_a_stop_that_comes_before_the_job_is_known_to_run(jobs):
    FakeRun.before_known = lambda: jobs.engine.stop(REGION, NAME)
    jobs.create()
    assert FakeRun.made[0].asked == [jobs.stopped]


def test_a_job_that_is_made_while_everything_ends(jobs):
    jobs.engine.close()
    jobs.create()
    assert FakeRun.made[0].asked == [jobs.closed]


def test_one_that_has_ended_does_not_take_its_successor_along(jobs):
    """As soon as its status says that it has ended it can be deleted, and made again."""
    jobs.create()
    first, _ = FakeRun.made[0], jobs.create()
    first.end()
    jobs.table.update(REGION, NAME, lambda job: job.update(dict.fromkeys(job.keys() & STATUSES, "InProgress")))
    assert jobs.engine.stop(REGION, NAME) == "InProgress"
    assert FakeRun.made[1].asked == [jobs.stopped]


STATUSES = {"TrainingJobStatus", "HyperParameterTuningJobStatus"}


def test_a_trial_that_has_ended_and_was_deleted_is_stopped_in_vain(cloud):
    cloud.training = training.TrainingEngine(cloud)
    tuning._TrainingJobs(cloud, REGION, lambda *_: None).stop("gone")
