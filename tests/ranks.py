"""Processes that train together, forked from one that has imported torch already: they start at once.

`train_ranks(2, cwd, ["--data", …], Death("KILL", rank=1, after=5))` is torchrun with an accident.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from helpers.localaws.engines.ports import reserve
from tests.tiny_photos import ROOT, TRAIN_SRC

context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Death:
    """An accident: of one rank, in its `after`-th step or checkpoint (counted from 1).

    `signal` is "KILL" or "TERM"; `place` is "step" (before it), "stepped" (after the weights have changed), "writing"
    (half of the checkpoint is on the disk) or "saved". A "TERM" goes to all ranks, as torchrun would pass it on.
    """

    signal: str
    after: int
    place: str = "step"
    rank: int = 0


def train_ranks(
    size: int, cwd: Path, arguments: list[object], death: Death | None = None, network: str = ""
) -> list[int]:
    """The training program's exit codes, on so many processes; `network` names what stands in for build_model."""
    told = [*map(str, arguments), "--threads", "1"]
    return in_ranks(size, cwd, "train", arguments=told, death=asdict(death) if death else None, network=network)


def in_ranks(size: int, cwd: Path, function: str, timeout: float = 300, **arguments: Any) -> list[int]:
    """The exit codes of a function of rank.py in so many processes, which write into cwd/rank-<n>.log."""
    meeting = reserve()
    world = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(meeting.port)}
    with _importable():
        ranks = [_start(cwd, function, arguments, world | {"RANK": str(rank)}) for rank in range(size)]
    for rank in ranks:
        rank.join(timeout)
    for rank in ranks:
        rank.kill()
        rank.join()
    meeting.release()
    return [rank.exitcode or 0 for rank in ranks]


def log_of(cwd: Path, rank: int = 0) -> str:
    """What a rank has printed."""
    return (cwd / f"rank-{rank}.log").read_text()


def _start(cwd: Path, function: str, arguments: dict[str, Any], world: dict[str, str]) -> Any:
    plan = {"cwd": str(cwd), "world": world, "function": function, "arguments": arguments}
    # By path: the name `tests` may belong to some other package in a fresh interpreter.
    process = context.Process(
        target=runpy.run_path, args=(str(ROOT / "tests" / "rank.py"), {"PLAN": plan}, "__rank__"), daemon=True
    )
    process.start()
    return process


@contextmanager
def _importable() -> Iterator[None]:
    """The server that forks finds the training program, and has imported what takes long."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TRAIN_SRC), *([before] if before else [])])
    context.set_forkserver_preload(["train", "matplotlib.figure", "torch.fx.experimental.optimization"])
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
