"""Systems Manager's Run Command: shell scripts that run on instances, and what came of them.

https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html

AWS sends a command through an agent on the instance, which fetches it within seconds; here the script starts at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from ...store import Document
from ..processes import Child
from .instance import Instance

if TYPE_CHECKING:
    from ...cloud import Cloud

TABLE = "ssm-invocation"
STDOUT, STDERR = 24_000, 8_000  # characters of output that are kept
RUNNING = ("Pending", "InProgress")
CLOSE_SECONDS = 5.0


def key(command: str, instance: str) -> str:
    """The name under which an invocation is kept."""
    return f"{command}/{instance}"


class Commands:
    """Starts commands on instances; each invocation is a document of the table ``ssm-invocation``."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._table = cloud.store.table(TABLE)
        self._lock = threading.Lock()
        self._children: dict[tuple[str, str], Child] = {}
        self._threads: set[threading.Thread] = set()

    def start(self, instance: Instance, invocation: Document, script: str, timeout: float) -> None:
        """Run ``script`` for an invocation whose document is in the table; it may take ``timeout`` seconds."""
        arguments = (instance, invocation["CommandId"], script, timeout)
        thread = threading.Thread(target=self._run, args=arguments, name=f"command on {instance.id}", daemon=True)
        with self._lock:
            self._threads = {one for one in self._threads if one.is_alive()} | {thread}
            thread.start()

    def cancel(self, region: str, name: str) -> None:
        """End a command's process; its status becomes Cancelled."""
        self._update(region, name, lambda one: one.update(Cancelled=True))
        with self._lock:
            child = self._children.get((region, name))
        if child is not None:
            child.terminate(1.0)

    def recover(self) -> None:
        """After a start: what a server before this one had running did not end well."""
        for region, name, document in list(self._table.everywhere()):
            if document["Status"] in RUNNING:
                self._finish(region, name, "Failed", -1, "", "The embedded AWS ended while the command ran")

    def close(self) -> None:
        """Before the end, when the instances' processes have been ended: let the invocations say so."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(CLOSE_SECONDS)

    def _run(self, instance: Instance, command: str, script: str, timeout: float) -> None:
        region, name = instance.region, key(command, instance.id)
        errors = instance.machine.root / "var" / "log" / f"ssm-{command}.err"
        lines: list[str] = []
        began = self._cloud.clock.now()
        self._update(region, name, lambda one: one.update(Status="InProgress", ExecutionStart=began))
        agent = {"AWS_SSM_INSTANCE_ID": instance.id, "AWS_SSM_REGION_NAME": region}
        try:
            child = instance.run(script, f"ssm-{command}", lines.append, errors, **agent)
        except OSError as error:
            self._finish(region, name, "Failed", 127, "", f"failed to run commands: {error}")
            return
        with self._lock:
            self._children[region, name] = child
        # A cancellation that came before the line above has found no process to end.
        if self._table.get(region, name).get("Cancelled"):
            child.terminate(1.0)
        code = child.wait(timeout)
        status = ("Success" if code == 0 else "Failed") if code is not None else "TimedOut"
        if code is None:
            code = child.terminate(1.0)
        # What the script has left in the background keeps its output open; the command has ended all the same.
        child.finish_output(1.0)
        with self._lock:
            del self._children[region, name]
        try:
            complaint = errors.read_text(errors="replace")
        except FileNotFoundError:  # the instance has been terminated, and its disk is gone
            complaint = ""
        output = "".join(f"{line}\n" for line in lines)
        self._finish(region, name, status, code, output, instance.machine.generalise(complaint))

    def _finish(self, region: str, name: str, status: str, code: int, output: str, complaint: str) -> None:
        ended = self._cloud.clock.now()
        if status == "Failed" and code > 0:
            complaint += f"failed to run commands: exit status {code}"

        def apply(document: Document) -> None:
            document.update(
                Status="Cancelled" if document.get("Cancelled") else status,
                ResponseCode=code,
                Output=output[:STDOUT],
                Error=complaint[:STDERR],
                ExecutionEnd=ended,
            )

        self._update(region, name, apply)

    def _update(self, region: str, name: str, change: Callable[[Document], None]) -> None:
        self._table.update(region, name, change)


def elapsed(start: datetime | None, end: datetime | None) -> str:
    """ISO 8601, as GetCommandInvocation tells how long a command took."""
    return f"PT{(end - start).total_seconds():.3f}S" if start and end else ""
