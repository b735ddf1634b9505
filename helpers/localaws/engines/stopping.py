"""How a container is stopped: SIGTERM to whom it concerns and, in the end, SIGKILL to everything.

A container engine signals a container's first process, which is the user's program or passes the signal on. Here the
first process is often a shell or one of the SageMaker SDK's drivers, which do neither: signalled, they would die at
once, and with them the pipe that the script writes its log into.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil

from .processes import marked

CONTAINER = "LOCALAWS_CONTAINER"  # the variable by which a container's processes know, and are known by, its folder


def processes_below(identity: str, folder: Path) -> list[psutil.Process]:
    """The processes of all containers at or below ``folder``, wherever they stand in the process table."""
    found = []
    for process in marked(identity):
        try:
            if Path(process.environ().get(CONTAINER, "/")).is_relative_to(folder.resolve()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def terminate(identity: str, folder: Path) -> None:
    """SIGTERM to the :func:`addressees` among the containers' processes."""
    for process in addressees(processes_below(identity, folder)):
        _send(process, signal.SIGTERM)


def kill(identity: str, folder: Path) -> set[Path]:
    """SIGKILL to all of the containers' processes; they are gone when this returns.

    Returns the files that they had open for writing, which may be half written. The processes are halted before they
    are asked, so that none of them closes one file, or opens another, between the question and its end. What one of
    them has started before it was halted is found by another look.
    """
    found: list[psutil.Process] = []
    while new := [process for process in processes_below(identity, folder) if process not in found]:
        for process in new:
            _send(process, signal.SIGSTOP)
        found += new
    torn = open_for_writing(found)
    for process in found:
        _send(process, signal.SIGKILL)
    # This process's own children are waited for by who started them, and wants their exit codes.
    psutil.wait_procs([process for process in found if not _is_own_child(process)], timeout=5)
    return torn


def open_for_writing(processes: Sequence[psutil.Process]) -> set[Path]:
    """The files that processes may be writing to; on systems that do not tell how a file is open, all open ones."""
    found = set()
    for process in processes:
        try:
            opened = process.open_files()
        except psutil.Error:
            continue
        found |= {Path(file.path) for file in opened if getattr(file, "mode", "w") != "r"}
    return found


def addressees(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """The outermost processes that handle SIGTERM (torchrun passes it on to its workers itself); if none does, all."""
    handling = {process.pid: process for process in processes if handles(process, signal.SIGTERM)}
    outermost = [process for process in handling.values() if not handling.keys() & _ancestors(process)]
    return outermost or list(processes)


def handles(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; False too where the system does not tell (it needs /proc)."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)


def _is_own_child(process: psutil.Process) -> bool:
    try:
        return bool(process.ppid() == os.getpid())
    except psutil.Error:
        return False


def _ancestors(process: psutil.Process) -> set[int]:
    try:
        return {parent.pid for parent in process.parents()}
    except psutil.Error:
        return set()


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
