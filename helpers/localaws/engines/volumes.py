"""The ML storage volumes of a training job's instances, and what happens when one is full.

A quota would need a file system for each instance, and those need root. So what an instance keeps is counted instead,
again and again: one that keeps more than its volume holds is ended as by a script that could write no more. It sees no
failing write, and the last seconds may bring it above the limit; what it kept is really too much, though.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .channels import DataError
from .training_host import TrainingHost

SECONDS = 2.0  # between two looks
GB = 1 << 30
BLOCK = 512  # bytes: the unit of st_blocks, whatever the file system's own is
# Instances with disks of their own have those, and no volume of the size that was asked for.
OWN_DISKS = re.compile(r"ml\.(g[4-9]|p[4-9]|p3dn|trn|[a-z]+\d+[a-z]*d)\w*\..*")


class Volumes:
    """The volumes of a job's hosts; ``resources`` is its ResourceConfig."""

    def __init__(self, hosts: Sequence[TrainingHost], resources: Mapping[str, Any]) -> None:
        self._size = 0 if OWN_DISKS.fullmatch(resources["InstanceType"]) else resources.get("VolumeSizeInGB", 0)
        # The inputs are not written to any more; to count thousands of photos once is enough.
        self._inputs = {host: used(_inputs(host)) for host in hosts} if self._size else {}

    def check(self) -> None:
        """Before the hosts start: raise :class:`DataError` where a volume cannot even hold what was downloaded."""
        for host in self._inputs:
            if self._is_full(host):
                raise DataError(f"Data download failed:Failed to download data. {self._reason}")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End every host whose volume is full, while inside."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), name="volumes", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(SECONDS):
            for host in self._inputs:
                if self._is_full(host):
                    host.end(self._reason)

    def _is_full(self, host: TrainingHost) -> bool:
        ml = host.container.ml
        kept = used(ml, skip=_inputs(host)) + used(host.container.home / "tmp") + used(host.container.home / "root")
        return self._inputs[host] + kept > self._size * GB

    @property
    def _reason(self) -> str:
        return f"[Errno 28] No space left on device: the instance's volume holds {self._size} GB (VolumeSizeInGB)"


def used(folder: Path, skip: Path | None = None) -> int:
    """The bytes that a folder's files take on disk, those below ``skip`` excepted; what vanishes meanwhile counts 0."""
    total = 0
    for parent, folders, files in os.walk(folder):
        if skip is not None and Path(parent) == skip.parent and skip.name in folders:
            folders.remove(skip.name)
        for name in files:
            try:
                total += os.lstat(f"{parent}/{name}").st_blocks * BLOCK
            except (FileNotFoundError, NotADirectoryError):  # or a file has its folder's name by now
                continue
    return total


def _inputs(host: TrainingHost) -> Path:
    return host.container.ml / "input" / "data"
