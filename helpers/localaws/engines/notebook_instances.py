"""The life of a notebook instance: its states, how long AWS takes for each, and what its lifecycle scripts meet.

No Jupyter server and no script runs: the scripts are written for root on a machine of their own. What can be seen
without running them is looked at (bash's syntax, the first line), and fails a start as it would on AWS.
https://docs.aws.amazon.com/sagemaker/latest/dg/notebook-lifecycle-config.html
"""

from __future__ import annotations

import base64
import binascii
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta

from ..store import Document, Store
from .clock import Clock

TABLE = "notebook-instance"
LIFECYCLES = "notebook-instance-lifecycle-config"
LOGS = "/aws/sagemaker/NotebookInstances"
# Each passing state: seconds of AWS's time, and what follows it (nothing: the instance is gone).
PASSING: dict[str, tuple[float, str | None]] = {
    "Pending": (60.0, "InService"),
    "Stopping": (30.0, "Stopped"),
    "Updating": (15.0, "Stopped"),
    "Deleting": (15.0, None),
}
# From which states each can be entered.
FROM = {
    "Pending": ("Stopped", "Failed"),
    "Stopping": ("InService",),
    "Updating": ("Stopped", "Failed"),
    "Deleting": ("Stopped", "Failed"),
}
USES_INSTANCE = ("Pending", "InService", "Stopping", "Updating")
SYNTAX_SECONDS = 60  # at most: bash is there in a moment, where the machine is not busy


class NotebookInstances:
    """The records of notebook instances, brought up to date whenever they are looked at.

    A state passes by the clock alone, so that there is no thread to lose when the server is killed.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._table, self._clock = store, store.table(TABLE), clock

    def find(self, region: str, name: str) -> Document | None:
        """An instance as it is now, or None."""
        with self._store.locked():
            found = self._table.find(region, name)
            return self._settle(region, found) if found else None

    def list(self, region: str) -> list[Document]:
        """All instances of a region as they are now, by name."""
        with self._store.locked():
            return list(filter(None, [self._settle(region, one) for one in self._table.list(region)]))

    def add(self, region: str, instance: Document, **more: object) -> None:
        """Record a new instance as ``Pending``, with ``more`` members; raises ``Exists``."""
        pending = {**instance, **more, "NotebookInstanceStatus": "Pending", "LastModifiedTime": self._clock.now()}
        self._table.insert(region, instance["NotebookInstanceName"], pending)

    def enter(self, region: str, instance: Document, status: str, **more: object) -> Document | None:
        """Move an instance to a passing state; ``more`` are members to set with it.

        Where another call has been faster, and it can no longer enter that state from the one that it is in, nothing
        changes: that answers what it is instead (``{}``: it is gone), and else None.
        """
        with self._store.locked():
            present = self.find(region, instance["NotebookInstanceName"])
            if present is None or present["NotebookInstanceStatus"] not in FROM[status]:
                return present or {}
            changed = {**instance, **more, "NotebookInstanceStatus": status, "LastModifiedTime": self._clock.now()}
            self._table.put(region, instance["NotebookInstanceName"], changed)
            return None

    def _settle(self, region: str, instance: Document) -> Document | None:
        now = settled(instance, self._clock.now(), self._clock.scale)
        if now is None:
            self._table.delete(region, instance["NotebookInstanceName"])
        elif now != instance:
            self._table.put(region, instance["NotebookInstanceName"], now)
        return now


def settled(instance: Document, now: datetime, scale: float) -> Document | None:
    """The instance once every passing state that is over has passed; None where it is gone."""
    status = instance["NotebookInstanceStatus"]
    if status not in PASSING:
        return instance
    seconds, following = PASSING[status]
    over = instance["LastModifiedTime"] + timedelta(seconds=seconds / scale)
    if now < over:
        return instance
    if following is None:
        return None
    if status == "Pending" and "Trouble" in instance:
        failed = {key: value for key, value in instance.items() if key != "Trouble"}
        return {
            **failed,
            "NotebookInstanceStatus": "Failed",
            "FailureReason": instance["Trouble"],
            "LastModifiedTime": over,
        }
    return {**instance, "NotebookInstanceStatus": following, "LastModifiedTime": over}


# ---- lifecycle scripts ----


def decode(content: str) -> str | None:
    """The script in a hook's base64 content; None where it is none."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def faults(script: str, path: str) -> Iterator[str]:
    """What the machine would say of a script that cannot run at all; ``path`` is where it lies there."""
    first = script.partition("\n")[0]
    if first.startswith("#!") and first.endswith("\r"):
        yield f"/bin/bash: {path}: {first[2:-1].strip()}^M: bad interpreter: No such file or directory"
        return
    if first.startswith("#!") and "sh" not in first:
        return  # some other language
    done = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, check=False, timeout=SYNTAX_SECONDS
    )
    if done.returncode:
        yield from (line.replace("bash:", f"{path}:", 1) for line in done.stderr.splitlines())


def failure(lifecycle_arn: str, instance_arn: str) -> str:
    """AWS's reason for every script that does not come to a good end."""
    return (
        f"Notebook Instance Lifecycle Config '{lifecycle_arn}' for Notebook Instance '{instance_arn}' took longer than "
        "5 minutes. Please check your CloudWatch logs for more details if your Notebook Instance has Internet access."
    )
