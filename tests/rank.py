"""What runs in the processes that ranks.py starts: the training program, with an accident if one is planned."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(cwd: str, world: dict[str, str], function: str, arguments: dict[str, Any]) -> None:
    """Be one rank: run the function and leave with its exit code."""
    os.chdir(cwd)
    with Path(f"rank-{world['RANK']}.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    for name in [name for name in os.environ if name.startswith("SM_")]:
        del os.environ[name]
    os.environ.update(world)
    importlib.import_module("torch").set_num_threads(1)
    sys.exit(globals()[function](**arguments))


def train(arguments: list[str], death: dict[str, Any] | None, network: str) -> int:
    """The training program."""
    program = importlib.import_module("train")
    importlib.import_module("trainer").MARK_SECONDS = 0.0  # after each step
    if network:
        program.build_model = globals()[network]
    if death and (death["signal"] == "TERM" or death["rank"] == int(os.environ["RANK"])):
        _plan(**death)
    return int(program.main(arguments))


def record_steps(arguments: list[str], network: str) -> int:
    """Train, and write each step's gradients and the photos this rank has read to rank-<n>.pt."""
    import torch

    program, dataset = importlib.import_module("train"), importlib.import_module("dataset")
    trainer = importlib.import_module("trainer")
    gradients, seen, read, make = [], [], dataset.Photos._read, trainer.make_optimizer

    def note(optimizer: Any, *_: Any) -> None:
        found = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))

    def make_optimizer(*arguments: Any) -> Any:
        optimizer = make(*arguments)
        optimizer.register_step_pre_hook(note)
        return optimizer

    def photo(self: Any, index: int, epoch: int) -> Any:
        if self.augment_seed is not None:
            seen.append((epoch, index))
        return read(self, index, epoch)

    trainer.make_optimizer = make_optimizer
    dataset.Photos._read = photo
    if network:
        program.build_model = globals()[network]
    code = program.main(arguments)
    torch.save({"gradients": torch.stack(gradients), "seen": seen}, f"rank-{os.environ['RANK']}.pt")
    return int(code)


def normalise_rows(shares: list[int]) -> None:
    """Batch-norm over rows that are divided among the ranks is batch-norm over all of them, forth and back."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from whole_batch import Rows, twin_for_training

    dist.init_process_group("gloo")
    rank, close = dist.get_rank(), torch.testing.assert_close
    for shape, momentum in (((5, 4, 3), 0.1), ((5, 1, 1), 0.3), ((6,), None)):
        torch.manual_seed(1)
        layer = (nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d)(shape[0], momentum=momentum).double()
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
        whole, other = (torch.randn(sum(shares), *shape, dtype=torch.float64) * 3 + 2 for _ in range(2))
        if len(shape) == 3:
            whole = whole.to(memory_format=torch.channels_last)
        mine = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        own = twin_for_training(nn.Sequential(layer), Rows(), True)
        reference = type(layer)(shape[0], momentum=momentum).double()
        reference.load_state_dict(layer.state_dict())
        full, part = whole.clone().requires_grad_(), whole[mine].clone().requires_grad_()
        for _ in range(2):
            expected, found = reference(full), own(part)
        (expected * other).sum().backward()
        (found * other[mine]).sum().backward()
        close(found, expected[mine])
        close(part.grad, full.grad[mine])
        for parameter, its in zip(layer.parameters(), reference.parameters(), strict=True):
            dist.all_reduce(parameter.grad)
            close(parameter.grad, its.grad)
        assert layer.state_dict().keys() == reference.state_dict().keys()
        for name, value in reference.state_dict().items():  # the twin's running statistics are the layer's
            close(layer.state_dict()[name], value)
        close(own.eval()(part), reference.eval()(full)[mine])
    dist.destroy_process_group()


def drop_rows(shares: list[int]) -> None:
    """Each rank's rows of a dropout's output are those that one process would have."""
    import torch
    from torch import nn
    from torchvision.ops import StochasticDepth
    from whole_batch import Rows, twin_for_training

    rank, rows = int(os.environ["RANK"]), Rows()
    layers = nn.Sequential(nn.Dropout(0.4), StochasticDepth(0.4, "row"), nn.Dropout(1.0), nn.Dropout(0.0))
    twin = twin_for_training(layers, rows, False)
    mine = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    for number, layer in enumerate(twin):
        found = []
        for part in (slice(0, sum(shares)), mine):
            rows.total, rows.first = sum(shares), part.start
            torch.manual_seed(5)
            found.append(layer(torch.ones(sum(shares), 300)[part]))
        assert torch.equal(found[0][mine], found[1])
        expected = {0: {0, 1 / 0.6}, 1: {0, 1 / 0.6}, 2: {0}, 3: {1}}[number]
        assert {round(value, 4) for value in found[0].unique().tolist()} == {round(value, 4) for value in expected}
        if number == 0:
            assert abs(found[0].mean() - 1) < 0.1
        if number == 1:
            assert (found[0] == found[0][:, :1]).all()
    one = torch.ones(2, 3)
    assert torch.equal(twin.eval()(one), one)


def _plan(signal: str, after: int, place: str, rank: int) -> None:
    checkpoints, trainer = importlib.import_module("checkpoints"), importlib.import_module("trainer")
    accident = {"signal": signal, "after": after, "place": place}
    trainer.Trainer._step = _with_accident(trainer.Trainer._step, "step", "stepped", **accident)
    if rank == int(os.environ["RANK"]):
        checkpoints.write_whole = _with_accident(checkpoints.write_whole, "writing", "saved", **accident)


def _with_accident(original: Callable[..., Any], *places: str, signal: str, after: int, place: str) -> Any:
    calls = []

    def call(*arguments: Any) -> Any:
        calls.append(1)
        now = place if len(calls) == after else ""
        if now == "writing" == places[0]:
            path, *parts = arguments
            content = b"".join(map(bytes, parts))
            path.with_name(f".{path.name}.partial").write_bytes(content[: len(content) // 2])
        if now == places[0]:
            _strike(signal)
        result = original(*arguments)
        if now == places[1]:
            _strike(signal)
        return result

    return call


def _strike(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, f"SIG{name}"))


# -- networks


def small_network(architecture: str, classes: int, image_size: int) -> Any:
    """Everything that makes processes differ, in a few thousand weights: batch-norm, dropout, stochastic depth."""
    from torch import nn
    from torchvision.ops import StochasticDepth

    trunk = [nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), StochasticDepth(0.2, "row")]
    trunk += [nn.Conv2d(8, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8, momentum=0.3), nn.ReLU()]
    return nn.Sequential(*trunk, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32, classes))


def double_network(architecture: str, classes: int, image_size: int, build: Callable[..., Any] = small_network) -> Any:
    """The small network in double precision, in which the rounding of sums is far from showing."""
    from torch import nn

    class Double(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = build(architecture, classes, image_size).double()

        def forward(self, photos: Any) -> Any:
            return self.layers(photos.double())

    return Double()


def double_architecture(architecture: str, classes: int, image_size: int) -> Any:
    """torchvision's, in double precision."""
    return double_network(architecture, classes, image_size, importlib.import_module("classifier").build_model)


if __name__ == "__rank__":
    main(**globals()["PLAN"])
