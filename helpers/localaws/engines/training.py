"""The training jobs that run: started, stopped, and accounted for after a crash."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ..store import Document
from . import stopping
from .metrics import UNWATCHED, Watch
from .ports import reserve
from .training_cluster import Ending
from .training_host import Job, remove
from .training_run import CLOSED, TrainingRun
from .transitions import RUNNING, Record

if TYPE_CHECKING:
    from ..cloud import Cloud

log = logging.getLogger(__name__)

TABLE = "training-job"
CLOSE_SECONDS = 20.0


class TrainingEngine:
    """Runs each job of the table ``training-job`` that :meth:`start` is told of; several at once."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._table = cloud.store.table(TABLE)
        self.creating = threading.Lock()  # from the check of an account's limits until the job counts for them
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str], TrainingRun] = {}
        self._closed = False

    def start(self, region: str, document: Document, watch: Watch = UNWATCHED) -> None:
        """Run a job whose description is in the table."""
        name = str(document["TrainingJobName"])
        try:
            self._run(region, name, document, watch)
        except Exception as error:
            log.exception("training job %s", name)
            self._record(region, name).finish("Failed", FailureReason=f"InternalServerError: {error}")
            watch.on_end()

    def stop(self, region: str, name: str) -> str:
        """Ask a job to stop; returns the status it was in, and does nothing where that is not ``InProgress``."""
        status = self._record(region, name).ask_to_stop()
        run = self._runs.get((region, name))
        if status == "InProgress" and run is not None:
            run.ask(Ending.STOPPED)
        return status

    def recover(self) -> None:
        """After a start: jobs that a killed server had running have failed, and say why."""
        for region, name, document in list(self._table.everywhere()):
            if document["TrainingJobStatus"] in RUNNING:
                remove(self._folder(region, name))
                self._record(region, name).has_failed(self.cloud.last_alive(), f"InternalServerError: {CLOSED}")

    def close(self) -> None:
        """Before the end: end every job at once, with the reason that :meth:`recover` would give."""
        with self._lock:
            self._closed, runs = True, list(self._runs.values())
        for run in runs:
            run.ask(Ending.CLOSED)
        # Also those that have been given time to stop: there is none any more.
        stopping.kill(self.cloud.identity, self.cloud.workplace("jobs"))
        for run in runs:
            run.join(CLOSE_SECONDS)

    def _run(self, region: str, name: str, document: Document, watch: Watch) -> None:
        reserved = reserve()

        def forget() -> None:
            with self._lock:
                # As soon as a job has ended, another of its name may run.
                if self._runs.get((region, name)) is run:
                    del self._runs[region, name]
            reserved.release()

        folder, arn, record = self._folder(region, name), document["TrainingJobArn"], self._record(region, name)
        job = Job(self.cloud.identity, region, arn, document, folder, reserved.port)
        run = TrainingRun(self.cloud, job, record, forget, watch)
        with self._lock:
            run.start()  # within, so that whoever finds it can wait for its end
            self._runs[region, name] = run
            closed = self._closed
        # Who asked for an end before the lines above has found no run to ask.
        if closed:
            run.ask(Ending.CLOSED)
        elif record.stopping:
            run.ask(Ending.STOPPED)

    def _record(self, region: str, name: str) -> Record:
        return Record(self._table, self.cloud.clock, region, name)

    def _folder(self, region: str, name: str) -> Path:
        """A job's folder. Its name is short: sockets made far below it must not exceed 107 characters."""
        return self.cloud.workplace("jobs", hashlib.sha256(f"{region}/{name}".encode()).hexdigest()[:8])
