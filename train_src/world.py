"""The processes that train together, and the signal that tells them to stop."""

import os
import signal
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


class World:
    """All processes of this run; alone unless torchrun started us (it sets RANK and WORLD_SIZE).

    Every method but `log` is for all ranks to call together: who calls alone waits for the others.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(self.device)
        if self.size > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    def leave(self) -> None:
        """Say goodbye, so that the others do not take it for a crash."""
        if self.size > 1:
            dist.destroy_process_group()

    def log(self, line: str) -> None:
        """One line, once for the whole world, at once: CloudWatch and the metric definitions read it."""
        if self.rank == 0:
            print(line, flush=True)

    def sum(self, tensor: Tensor) -> Tensor:
        """Element-wise over all ranks, in place."""
        if self.size > 1:
            there = tensor.to(self.device)
            dist.all_reduce(there)
            tensor.copy_(there)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any rank: all get the same answer, and so take the same turn."""
        return bool(self.sum(torch.tensor(float(flag))).item())

    def check(self, stop: "StopRequest") -> None:
        """Raise Stopped on all ranks if any of them was told to stop."""
        if self.any(stop.made):
            raise Stopped

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in order of rank."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def from_first(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        box = [value]
        if self.size > 1:
            dist.broadcast_object_list(box, device=self.device)
        return box[0]

    def align_buffers(self, model: nn.Module) -> None:
        """Give all ranks rank 0's batch-norm statistics, so that they evaluate one and the same model."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


class Stopped(Exception):
    """A stop was asked for, and all processes know."""


class StopRequest:
    """SIGTERM is how SageMaker (and a spot market, and systemd) says: finish, you have two minutes."""

    def __init__(self) -> None:
        self.made = False
        signal.signal(signal.SIGTERM, lambda *_: self.note())

    def note(self) -> None:
        """What the signal does: nothing but leave a mark, for the loop to find between two steps."""
        self.made = True
