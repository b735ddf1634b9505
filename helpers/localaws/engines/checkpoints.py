"""/opt/ml/checkpoints and its place in S3: restored to every host at the start, then kept in step.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html: one prefix for all hosts; nothing that a job
deletes locally is deleted in S3.

A host may be killed at any byte of a file. What is in S3 is all that is left then, so only whole files go there:

- one that was renamed into place after its last byte, which is how a checkpoint should be written: at once;
- one that is written in place: when it has not changed between two looks that both found nobody writing to it;
- at the end, what the last look has not seen settled: if the host ended with exit code 0, so that the program has
  closed its files itself. Else it stays away, and S3 keeps what it has.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import AwsError
from ..objects import Objects, S3Uri
from .channels import DataError, find

log = logging.getLogger(__name__)

SECONDS = 0.5  # between two looks at the folders

Stamp = tuple[int, int, int]


class Host(Protocol):
    """What there is to know of a host; ``exit_code`` is None while it runs, ``torn`` known once it has ended."""

    exit_code: int | None
    torn: set[Path]

    def checkpoints(self) -> Path:
        """The host's own folder of checkpoints."""

    def being_written(self) -> set[Path]:
        """The files that its processes have open for writing."""


@dataclass(frozen=True)
class Change:
    """A file that S3 has not, or not as it is now."""

    host: Host
    path: Path
    name: str
    stamp: Stamp
    renamed: bool


class Checkpoints:
    """Keeps the checkpoint folders of a job's hosts in step with S3.

    ``on_upload`` is called after each look that has brought something to S3 while the hosts run.
    """

    def __init__(self, objects: Objects, uri: str, hosts: Sequence[Host], on_upload: Callable[[], None]) -> None:
        self._objects, self._uri, self._hosts, self._on_upload = objects, uri.rstrip("/"), hosts, on_upload
        self._synced: dict[Path, Stamp] = {}
        # At the last look: the files that nobody had open for writing, and those that somebody had.
        self._closed: dict[Path, Stamp] = {}
        self._open: set[Path] = set()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"checkpoints of {uri}", daemon=True)

    def restore(self) -> int:
        """Give every host what S3 has; returns how many files. Raises :class:`DataError`."""
        items = find(self._objects, {"S3DataType": "S3Prefix", "S3Uri": f"{self._uri}/"})
        folders = [host.checkpoints() for host in self._hosts]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            for folder in folders:
                self._objects.download(item.uri, folder / item.path)
        self._synced = {change.path: change.stamp for change in self._changes()}
        return len(items)

    def start(self) -> None:
        """Upload what changes, until :meth:`close`."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def close(self) -> list[str]:
        """After the end of the hosts: stop watching and upload what is whole and not in S3 yet.

        Returns the names of the files that may be half written, which stay away. Raises :class:`DataError` where S3
        refuses.
        """
        self.stop()
        try:
            changes = self._changes()
            whole = [change for change in changes if self._is_whole_at_the_end(change)]
            self._upload(whole)
        except AwsError as error:
            raise DataError(f"Checkpoint upload failed:{error.message}") from error
        return [change.name for change in changes if change not in whole]

    def look(self) -> None:
        """Upload what is new and whole."""
        changes = self._changes()
        self._open = {path for host in self._hosts for path in host.being_written()} if changes else set()
        closed = [change for change in changes if change.path.resolve() not in self._open]
        whole = [change for change in closed if self._is_settled(change)]
        self._closed = {change.path: change.stamp for change in closed}
        if self._upload(whole):
            self._on_upload()

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS):
            try:
                self.look()
            except (AwsError, OSError) as error:
                # The next look tries again; if it is for good, close() says so.
                log.warning("checkpoints cannot be uploaded to %s: %s", self._uri, error)

    def _is_settled(self, change: Change) -> bool:
        return change.renamed or self._closed.get(change.path) == change.stamp

    def _is_whole_at_the_end(self, change: Change) -> bool:
        path = change.path.resolve()
        if path in change.host.torn:
            return False
        return change.host.exit_code == 0 or (path not in self._open and self._is_settled(change))

    def _upload(self, changes: Sequence[Change]) -> int:
        """Upload files, in the order in which they were written; those that change meanwhile wait for the next look."""
        uploaded = 0
        for change in changes:
            try:
                content = change.path.read_bytes()
                if _stamp(change.path.stat()) != change.stamp:
                    continue
            except FileNotFoundError:
                continue  # a temporary file, renamed since
            self._objects.write(S3Uri.parse(self._uri) / change.name, content)
            self._synced[change.path] = change.stamp
            uploaded += 1
        return uploaded

    def _changes(self) -> list[Change]:
        """What is not in S3 as it is, oldest first."""
        found = [change for host in self._hosts for change in self._changes_of(host)]
        return sorted(found, key=lambda change: change.stamp)

    def _changes_of(self, host: Host) -> Iterator[Change]:
        folder = host.checkpoints()
        for path in folder.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            stamp = _stamp(status)
            if path.is_file() and self._synced.get(path) != stamp:
                # A rename changes a file's status, but not its content: the one time is then later than the other.
                renamed = status.st_ctime_ns > status.st_mtime_ns
                yield Change(host, path, path.relative_to(folder).as_posix(), stamp, renamed)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
