"""The loop: epochs of steps, a validation after each epoch, a checkpoint after that and now and then.

A run that is interrupted and resumed ends with the same weights, bit for bit, as one that is not. A checkpoint holds
weights, the optimizer's state and how far the run is; learning rate, order of photos, augmentation and dropout are
functions of the seed and of the position, and saving changes nothing. So does a run on several processes follow one on
a single process, though only up to the rounding of sums (see whole_batch.py).
"""

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from arguments import Settings
from checkpoints import Checkpoints
from dataset import Source, epoch_batches, generator, rank_share, share_start
from evaluation import metrics, outputs, scores, tally
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from whole_batch import Rows, batch_norms, twin_for_training
from world import Stopped, StopRequest, World

WARM_UP = 0.1  # share of all steps over which the learning rate rises; it then falls along a cosine
PROGRESS_SECONDS = 10.0  # between two lines about an epoch that is under way
MARK_SECONDS = 0.1  # between two notes how far we are
CURVE_POINTS = 500  # of the training loss by step, in the report


class Failure(Exception):
    """What was asked for cannot be done; the message says why and what to change."""


@dataclass
class Task:
    """What is trained on what: a whole network on photos, or its head on features."""

    model: nn.Module
    train: Source
    valid: Source
    train_labels: Tensor
    valid_labels: Tensor
    learning_rate: float
    bf16: bool
    least: int  # samples in every batch


def least_batch(settings: Settings, world: World, model: nn.Module) -> int:
    """How many samples every batch must have, all processes together: batch-norm has no variance of one."""
    apart = not settings.freeze and not settings.sync_batch_norm and batch_norms(model)
    return 2 * world.size if apart else 2


def no_tally() -> list[float]:
    """A tally of nothing."""
    return [0.0] * 4


@dataclass
class Progress:
    """Where a run is and what it has found: all that a checkpoint holds besides weights."""

    epoch: int = 0  # epochs completed
    step: int = 0  # steps completed of the one after
    sums: list[float] = field(default_factory=no_tally)  # the tally of those steps, all processes together
    seconds: float = 0.0  # that they took
    recent: list[float] = field(default_factory=no_tally)  # the tally of the steps since the last point of the curve
    curve: list[list[float]] = field(default_factory=list)  # [steps done in all, mean loss since the point before]
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None  # the entry of history that validation likes best
    resumed: list[dict[str, int]] = field(default_factory=list)  # at which step, and how much was known to be lost

    def add(self, sums: list[float], seconds: float, steps: int, every: int) -> None:
        """Count one more step, of `steps` in the epoch; the curve gets a point `every` so many."""
        self.sums = [old + new for old, new in zip(self.sums, sums, strict=True)]
        self.recent = [old + new for old, new in zip(self.recent, sums, strict=True)]
        self.step, self.seconds = self.step + 1, self.seconds + seconds
        if (done := self.epoch * steps + self.step) % every == 0:
            self.curve.append([done, self.recent[0] / self.recent[3]])
            self.recent = no_tally()


class Trainer:
    """One task's training, from its start or from its last checkpoint."""

    def __init__(
        self, settings: Settings, world: World, task: Task, stop: StopRequest, identity: dict[str, Any]
    ) -> None:
        self.settings, self.world, self.task, self.stop = settings, world, task, stop
        self.model = task.model
        self.progress = Progress()
        self.best_state: dict[str, Tensor] | None = None
        self.optimizer = make_optimizer(task.model, settings.weight_decay)
        self.steps = len(self._batches(0))  # of every epoch
        self.identity = identity | {"steps": self.steps}
        self.name = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]
        self.checkpoints = Checkpoints(Path(settings.checkpoint_dir)) if settings.checkpoint_dir else None
        self.saves, self.save_seconds = 0, 0.0
        self.last_save, self.last_mark = (0, time.monotonic()), 0.0
        self._resume()
        self.rows = Rows()
        self.parallel = self._parallel()

    @property
    def done(self) -> int:
        """Steps of all epochs so far."""
        return self.progress.epoch * self.steps + self.progress.step

    def fit(self) -> None:
        """Train to the last epoch, or until a stop is asked for."""
        try:
            while self.progress.epoch < self.settings.epochs:
                self._train_epoch()
                self._finish_epoch()
                self._save()
        except Stopped:
            self._save()
            where = f"epoch={self.progress.epoch + 1} step={self.progress.step}/{self.steps}"
            self.world.log(f"told to stop (SIGTERM): {where} global_step={self.done}{self._saved_where()}")

    def restore_best(self) -> Progress:
        """Put the best epoch's weights back. Raises Stopped if no epoch was completed."""
        if self.best_state is None:
            raise Stopped
        self.model.load_state_dict(self.best_state)
        return self.progress

    # -- an epoch

    def _parallel(self) -> nn.Module:
        """The model as it is trained. Made once the weights are there: DDP sends rank 0's to all others."""
        together = self.world.size > 1 and self.settings.sync_batch_norm
        twin = twin_for_training(self.model, self.rows, together)
        if self.world.size == 1:
            return twin
        return DistributedDataParallel(
            twin,
            gradient_as_bucket_view=True,
            # Without synchronised batch-norm every step starts from rank 0's statistics: so only those are saved.
            forward_sync_buffers=not together,
            # DDP sorts its gradients anew after its first step, but for this. Three numbers and more add up to another
            # sum in another order, and a resumed run has a first step where an unbroken one has not.
            find_unused_parameters=self.world.size > 2,
        )

    def _batches(self, epoch: int) -> list[Tensor]:
        task, settings = self.task, self.settings
        return epoch_batches(len(task.train_labels), settings.batch_size, task.least, settings.seed, epoch)

    def _train_epoch(self) -> None:
        """The rest of the current epoch. Raises Stopped if a stop is asked for before its end."""
        progress, world = self.progress, self.world
        world.check(self.stop)
        self.parallel.train()
        batches = self._batches(progress.epoch)
        mine = [rank_share(batch, world.rank, world.size) for batch in batches]
        inputs = self.task.train.batches(mine[progress.step :], progress.epoch)
        line = ProgressLine(world)
        for step in range(progress.step, self.steps):
            started = time.perf_counter()
            self._prepare_step(step, len(batches[step]))
            share = self._step(next(inputs), self.task.train_labels[mine[step]], len(batches[step]))
            sums, stop, save = self._together(share)
            progress.add(sums, time.perf_counter() - started, self.steps, self._curve_every())
            self._mark()
            line.add(sums, f"epoch={progress.epoch + 1} step={progress.step}/{self.steps} global_step={self.done}")
            if stop:
                raise Stopped
            if save:
                self._save()

    def _prepare_step(self, step: int, batch_size: int) -> None:
        """Learning rate and random state are functions of where we are, so that no checkpoint needs to hold them."""
        epoch, total = self.progress.epoch, self.settings.epochs * self.steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.task.learning_rate * schedule((epoch * self.steps + step + 0.5) / total)
        torch.manual_seed(int(generator(self.settings.seed, epoch, step).integers(2**63)))
        self.rows.total = batch_size
        self.rows.first = share_start(batch_size, self.world.rank, self.world.size)

    def _step(self, inputs: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """One step on this rank's share of a batch of `batch_size`; the tally of the share."""
        with torch.autocast(self.world.device.type, dtype=torch.bfloat16, enabled=self.task.bf16):
            logits = self.parallel(inputs)
        loss = F.cross_entropy(logits.float(), labels.to(logits.device), reduction="sum")
        # DDP averages the ranks' gradients. Of sums over the shares, divided by the size of the *whole* batch, times
        # the number of ranks, that average is the gradient one process would get, however uneven the shares are.
        torch.autograd.backward(loss * self.world.size / batch_size)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return tally(logits, labels)

    def _together(self, share: Tensor) -> tuple[list[float], bool, bool]:
        """The step's tally over all ranks, whether to stop, and whether to save: one exchange, one answer for all."""
        flags = torch.tensor([self.stop.made, self._due()], dtype=share.dtype)
        *totals, stop, save = self.world.sum(torch.cat([share, flags])).tolist()
        return totals, stop > 0, save > 0

    def _finish_epoch(self) -> None:
        progress = self.progress
        train = metrics(torch.tensor(progress.sums, dtype=torch.float64))
        if not math.isfinite(train["loss"]):
            raise Failure(f"the loss became {train['loss']} in epoch {progress.epoch + 1}: lower --learning-rate")
        started = time.perf_counter()
        entry: dict[str, Any] = {"epoch": progress.epoch + 1, "train": train, "valid": self._validate()}
        pace = len(self.task.train_labels) / progress.seconds
        entry |= {"seconds": progress.seconds + time.perf_counter() - started, "photos_per_second": pace}
        progress.history.append(entry)
        progress.epoch, progress.step, progress.sums, progress.seconds = progress.epoch + 1, 0, no_tally(), 0.0
        if progress.best is None or merit(entry) > merit(progress.best):
            progress.best, self.best_state = entry, plain_state(self.model)
        times = f"seconds={entry['seconds']:.2f} photos_per_second={pace:.0f}"
        self.world.log(f"epoch={progress.epoch} {scores('train', train)} {scores('valid', entry['valid'])} {times}")

    def _validate(self) -> dict[str, float]:
        self.world.align_buffers(self.model)
        self.model.eval()
        samples = len(self.task.valid_labels)
        with torch.autocast(self.world.device.type, dtype=torch.bfloat16, enabled=self.task.bf16):
            logits = outputs(self.model, self.task.valid.batches, samples, self.world, self.stop)
        return metrics(tally(logits, self.task.valid_labels))

    def _curve_every(self) -> int:
        return math.ceil(self.settings.epochs * self.steps / CURVE_POINTS)

    # -- checkpoints

    def _due(self) -> bool:
        """Whether rank 0 finds that it is time for a checkpoint once the present step is done."""
        every = self.settings.checkpoint_every
        if self.checkpoints is None or self.world.rank > 0:
            return False
        step, moment = self.last_save
        if every.endswith("s"):
            return time.monotonic() - moment >= int(every[:-1])
        return self.done + 1 - step >= int(every)

    def _save(self) -> None:
        started = time.monotonic()
        if self.checkpoints and self.world.rank == 0:
            best = self.progress.best
            current = best is not None and (self.progress.epoch, self.progress.step) == (best["epoch"], 0)
            state = {
                "identity": self.identity,
                "arithmetic": self._arithmetic(),
                "progress": asdict(self.progress),
                "model": self.best_state if current else plain_state(self.model),  # written once if they are the same
                "optimizer": self.optimizer.state_dict(),
                "best": self.best_state,
            }
            self.checkpoints.save(state, self.progress.epoch, self.progress.step)
            self.saves, self.save_seconds = self.saves + 1, self.save_seconds + time.monotonic() - started
        self.last_save = (self.done, time.monotonic())

    def _saved_where(self) -> str:
        return f", saved as {self.checkpoints.folder / self.checkpoints.newest}" if self.checkpoints else ""

    def _resume(self) -> None:
        if not self.checkpoints:
            return
        # Rank 0's copy is the one that counts: SageMaker restores the folder on every host.
        first = self.world.rank == 0
        folder, state = self.checkpoints.folder, self.world.from_first(self.checkpoints.load() if first else None)
        if state is not None:
            if differ := [key for key, value in self.identity.items() if state["identity"].get(key) != value]:
                raise Failure(
                    f"{folder} is another run's (different {', '.join(differ)}): give an empty --checkpoint-dir"
                )
            self.progress = Progress(**state["progress"])
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.best_state = state["best"]
            self._tell_resumed(state, self.world.from_first(self.checkpoints.marked(self.name) if first else 0))
        self.last_save = (self.done, time.monotonic())

    def _mark(self) -> None:
        """Note how far we are, so that a resumed run can tell what was lost.

        Not before this process has saved: what is in the folder first is what a watcher of the folder waits for.
        """
        now = time.monotonic()
        if self.checkpoints and self.saves and now - self.last_mark >= MARK_SECONDS:
            self.checkpoints.mark(self.name, self.done)
            self.last_mark = now

    def _tell_resumed(self, state: dict[str, Any], marked: int) -> None:
        """Say where the run goes on, and how many steps are known to have been done after that, and are done again.

        There may have been some more: the mark is as old as its last copy to S3.
        """
        lost = max(0, marked - self.done)
        counts = {"global_step": self.done, "lost_steps": lost, "lost_photos": self._photos(marked, lost)}
        self.progress.resumed.append(counts)
        told = " ".join(f"{name}={count}" for name, count in counts.items())
        name, progress = Path(self._saved_where().rpartition(" ")[2]), self.progress
        self.world.log(f"resumed from {name} after {progress.epoch} epochs and {progress.step} steps: {told}")
        here = self._arithmetic()
        if changed := [f"{key} {was} -> {here[key]}" for key, was in state["arithmetic"].items() if was != here[key]]:
            self.world.log(
                f"WARNING: {', '.join(changed)}: numbers are rounded otherwise than before, so the weights will not be "
                "bit for bit those of an unbroken run"
            )

    def _photos(self, done: int, steps: int) -> int:
        """How many photos the last `steps` of `done` steps were about."""

        def photos(steps: int) -> int:
            epochs, rest = divmod(steps, self.steps)
            return epochs * len(self.task.train_labels) + sum(map(len, self._batches(epochs)[:rest]))

        return photos(done) - photos(done - steps)

    def _arithmetic(self) -> dict[str, Any]:
        """What else decides how sums are rounded."""
        device = self.world.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
        return {
            "processes": self.world.size,
            "threads": torch.get_num_threads(),
            "device": name,
            "precision": "bf16" if self.task.bf16 else "fp32",
            "torch": str(torch.__version__),
        }


class ProgressLine:
    """A line about an epoch that is under way, every now and then."""

    def __init__(self, world: World) -> None:
        self.world, self.sums, self.started = world, no_tally(), time.monotonic()

    def add(self, sums: list[float], where: str) -> None:
        """Count a step; say where we are if nothing has been said for PROGRESS_SECONDS."""
        self.sums = [old + new for old, new in zip(self.sums, sums, strict=True)]
        seconds = time.monotonic() - self.started
        if seconds >= PROGRESS_SECONDS:
            pace, loss = self.sums[3] / seconds, self.sums[0] / self.sums[3]
            self.world.log(f"{where} step_loss={loss:.4f} photos_per_second={pace:.0f}")
            self.sums, self.started = no_tally(), time.monotonic()


def merit(entry: dict[str, Any]) -> tuple[float, float]:
    """What makes one epoch better than another: valid accuracy, and where that is equal the loss."""
    return entry["valid"]["top1"], -entry["valid"]["loss"]


def schedule(done: float) -> float:
    """Share of the peak learning rate after a share `done` of all steps: a linear rise, then half a cosine down."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def make_optimizer(model: nn.Module, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation scales are not weights to be decayed."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, fused=True)  # one pass over the weights instead of several: twice as fast


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights that any torch loads anywhere: on the CPU, in the ordinary memory order."""
    state = model.state_dict()  # an OrderedDict, which also knows the version of each layer's format
    for name, value in state.items():
        state[name] = value.detach().cpu().contiguous().clone()
    return state
