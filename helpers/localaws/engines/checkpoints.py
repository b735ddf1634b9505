"""/opt/ml/checkpoints and its place in S3: restored to every host at the start, then kept in step.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html: one prefix for all hosts; nothing that a job
deletes locally is deleted in S3.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import AwsError
from ..objects import Objects, S3Uri
from .channels import DataError, find

log = logging.getLogger(__name__)

SECONDS = 1.0  # between two looks at the folders

Stamp = tuple[int, int, int]


class Checkpoints:
    """Keeps the checkpoint folders of a job's hosts in step with S3."""

    def __init__(self, objects: Objects, uri: str, folders: Sequence[Path]) -> None:
        self._objects, self._uri, self._folders = objects, uri.rstrip("/"), folders
        self._synced: dict[Path, Stamp] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"checkpoints of {uri}", daemon=True)

    def restore(self) -> int:
        """Give every host what S3 has; returns how many files. Raises :class:`DataError`."""
        items = find(self._objects, {"S3DataType": "S3Prefix", "S3Uri": f"{self._uri}/"})
        for folder in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
        for item in items:
            for folder in self._folders:
                self._objects.download(item.uri, folder / item.path)
        self._synced = {path: stamp for _, path, stamp in self._changed()}
        return len(items)

    def start(self) -> None:
        """Upload what changes, until :meth:`close`."""
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def close(self) -> None:
        """Stop watching and upload everything that is not in S3 yet. Raises :class:`DataError` where S3 refuses."""
        self.stop()
        try:
            self._sync(last=True)
        except AwsError as error:
            raise DataError(f"Checkpoint upload failed:{error.message}") from error

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS):
            try:
                self._sync(last=False)
            except (AwsError, OSError) as error:
                # The next round tries again; if it is for good, close() says so.
                log.warning("checkpoints cannot be uploaded to %s: %s", self._uri, error)

    def _sync(self, *, last: bool) -> None:
        for name, path, stamp in list(self._changed()):
            try:
                content = path.read_bytes()
                if not last and _stamp(path) != stamp:
                    continue  # it is being written: the next round takes it
            except FileNotFoundError:
                continue  # a temporary file, renamed since
            self._objects.write(S3Uri.parse(self._uri) / name, content)
            self._synced[path] = stamp

    def _changed(self) -> Iterator[tuple[str, Path, Stamp]]:
        for folder in self._folders:
            for path in sorted(folder.rglob("*")):
                try:
                    stamp = _stamp(path)
                except FileNotFoundError:
                    continue
                if path.is_file() and self._synced.get(path) != stamp:
                    yield path.relative_to(folder).as_posix(), path, stamp


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
