"""The tuning jobs that run: started, stopped, and accounted for after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..store import Document, Missing
from . import training
from .metrics import Watch
from .search import Search, Values
from .trials import RUNNING
from .tuning_run import BY_CLOSING, STOPPED, TuningRun, Verdict

if TYPE_CHECKING:
    from ..cloud import Cloud

TABLE = "hyper-parameter-tuning-job"
CLOSE_SECONDS = 10.0
# Creates a training job of this name with these hyperparameters; raises ``AwsError``.
Launch = Callable[[str, Values, Watch], object]


class TuningEngine:
    """Runs each job of the table ``hyper-parameter-tuning-job`` that :meth:`start` is told of; several at once."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._table = cloud.store.table(TABLE)
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], TuningRun] = {}
        self._closed = False

    def start(self, region: str, document: Document, search: Search, launch: Launch) -> None:
        """Run a job whose description is in the table."""
        key = region, str(document["HyperParameterTuningJobName"])
        jobs = _TrainingJobs(self._cloud, region, launch)

        def end(verdict: Verdict) -> None:
            self._end(*key, verdict)
            with self._lock:
                # As soon as a job has ended, another of its name may run.
                if self._runs.get(key) is run:
                    del self._runs[key]

        run = TuningRun(document, search, jobs, self._cloud.clock, end)
        with self._lock:
            run.start()  # within, so that whoever finds it can wait for its end
            self._runs[key] = run
            closed = self._closed
        # Who asked for an end before the lines above has found no run to ask.
        if closed:
            run.ask(BY_CLOSING)
        elif (self._table.find(*key) or {}).get("HyperParameterTuningJobStatus") == "Stopping":
            run.ask(STOPPED)

    def stop(self, region: str, name: str) -> str:
        """Ask a job to stop; returns the status it was in, and does nothing where that is not ``InProgress``."""
        found: list[str] = []

        def change(document: Document) -> None:
            found.append(document["HyperParameterTuningJobStatus"])
            if found[0] == "InProgress":
                document.update(HyperParameterTuningJobStatus="Stopping", LastModifiedTime=self._cloud.clock.now())

        self._table.update(region, name, change)
        run = self._runs.get((region, name))
        if found[0] == "InProgress" and run is not None:
            run.ask(STOPPED)
        return found[0]

    def recover(self) -> None:
        """After a start: jobs that a killed server had running have failed, and say why."""
        for region, name, document in list(self._table.everywhere()):
            if document["HyperParameterTuningJobStatus"] in RUNNING:
                self._end(region, name, BY_CLOSING)

    def close(self) -> None:
        """Before the end: no job starts another trial. Their trials are the training engine's to end."""
        with self._lock:
            self._closed, runs = True, list(self._runs.values())
        for run in runs:
            run.ask(BY_CLOSING)
        for run in runs:
            run.join(CLOSE_SECONDS)

    def _end(self, region: str, name: str, verdict: Verdict) -> None:
        now = self._cloud.clock.now()

        def change(document: Document) -> None:
            # A job that was asked to stop in its last moments is Stopped, as its owner has been told already.
            asked = document["HyperParameterTuningJobStatus"] == "Stopping" and verdict.status == "Completed"
            status = "Stopped" if asked else verdict.status
            document.update(HyperParameterTuningJobStatus=status, HyperParameterTuningEndTime=now, LastModifiedTime=now)
            document.update(verdict.more)

        self._table.update(region, name, change)


class _TrainingJobs:
    """The trials of a tuning job as real training jobs."""

    def __init__(self, cloud: Cloud, region: str, launch: Launch) -> None:
        self._cloud, self._region, self._launch = cloud, region, launch

    def start(self, name: str, values: Values, watch: Watch) -> None:
        self._launch(name, values, watch)

    def stop(self, name: str) -> None:
        with suppress(Missing):  # it has ended and was deleted, though nobody here has heard of its end yet
            self._cloud.training.stop(self._region, name)

    def description(self, name: str) -> Document:
        return self._cloud.store.table(training.TABLE).get(self._region, name)
