"""Train a classifier of dog breeds (or of any folders of photos), on one machine or on many.

On a laptop or an EC2 instance:

    python train.py --data dogImages --pretrained mobilenet_v2.pth --freeze true
    python train.py --data dogImages --architecture resnet18 --image-size 64 --epochs 15        # from scratch
    torchrun --nproc_per_node=2 train.py --data dogImages                                       # two processes
    torchrun --nnodes=2 --node_rank=0 --nproc_per_node=1 --master_addr=10.0.0.1 --master_port=7777 train.py --data ...
    torchrun --nnodes=2 --node_rank=1 --nproc_per_node=1 --master_addr=10.0.0.1 --master_port=7777 train.py --data ...

In a SageMaker training job, where ModelTrainer starts this file with the job's hyperparameters as arguments and the
channels' folders in SM_CHANNEL_TRAIN, SM_CHANNEL_VALID, SM_CHANNEL_TEST and (optionally) SM_CHANNEL_PRETRAINED:

    ModelTrainer(source_code=SourceCode(source_dir="train_src", entry_script="train.py"),
                 hyperparameters={"architecture": "mobilenet_v2", "freeze": "true", "epochs": "10"},
                 distributed=Torchrun(), ...)                  # leave `distributed` out to use one instance

The photos lie in one folder per class, and the classes are the same in all three splits:
train/001.Affenpinscher/*.jpg, valid/001.Affenpinscher/*.jpg, test/001.Affenpinscher/*.jpg, ...

What comes out: a folder that can be deployed as it is (--model-dir, see results.py) and a report (--output-dir).
Exit code 0: a model was written, even if a SIGTERM ended training early. 143: the SIGTERM came before there was one.
2: wrong arguments. 1: anything else, and the last line on stderr says what. (torchrun itself exits with 1 after a
SIGTERM, but lets its processes finish first.)
"""

import os

# Must be said before torch loads OpenMP. A thread that waits for the others of its team spins for milliseconds by
# default; where other programs want the processor too, it takes it from the very thread it waits for, and a step can
# last ten times as long. After a short spin it sleeps, which costs next to nothing where there is nobody else.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import argparse
import hashlib
import math
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import checkpoints
import results
import torch
from classifier import (
    BadModel,
    Classifier,
    Preprocessing,
    build_model,
    for_inference,
    head_name,
    keep_freed_memory,
    load_pretrained,
)
from dataset import (
    BadData,
    Features,
    Photos,
    Source,
    Split,
    check_classes,
    check_shares,
    epoch_batches,
    generator,
    list_photos,
    rank_share,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from world import StopRequest, World

# ---------------------------------------------------------------------------------------------------------------------
# Settings: each field is an argument, --in-kebab-case


def boolean(text: str) -> bool:
    """Hyperparameters arrive as text, so a flag is spelled out: --freeze true."""
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1", "yes")


def option(help: str, default: Any = "", parse: Callable[[str], Any] = str, env: str = "", choices: Any = None) -> Any:
    """A setting, its meaning, and SageMaker's variable that stands in where it is not given."""
    metadata = {"help": help, "type": parse, "choices": choices}
    return field(default_factory=lambda: os.environ.get(env) or default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What a run can be told; the defaults suit pretrained weights and a frozen trunk as well as full training."""

    # Folders
    data: str = option("folder that holds train/, valid/ and test/")
    train: str = option("folder of the photos to learn from", env="SM_CHANNEL_TRAIN")
    valid: str = option("folder of the photos that pick the best epoch", env="SM_CHANNEL_VALID")
    test: str = option("folder of the photos looked at once, at the end", env="SM_CHANNEL_TEST")
    pretrained: str = option("torchvision state_dict (*.pth), or a folder with one in it", env="SM_CHANNEL_PRETRAINED")
    model_dir: str = option("where the deployable model goes", "model", env="SM_MODEL_DIR")
    output_dir: str = option("where the report goes", "output", env="SM_OUTPUT_DATA_DIR")
    checkpoint_dir: str = option("if given: resume from here, and save every epoch here")
    # Model
    architecture: str = option("any torchvision classification architecture", "mobilenet_v2")
    freeze: bool = option("train only the head, on features computed once", False, boolean)
    image_size: int = option("side of the square the network sees, in pixels", 224, int)
    # Optimisation
    epochs: int = option("passes over the training photos", 10, int)
    batch_size: int = option("photos per step, all processes together", 64, int)
    learning_rate: float = option("peak of the schedule; 0: by mode, see LEARNING_RATES", 0.0, float)
    weight_decay: float = option("AdamW's decay of the weight matrices", 0.05, float)
    seed: int = option("the same seed gives the same model", 0, int)
    # Machine
    workers: int = option("threads that decode photos; 0: one per processor, at most 8", 0, int)
    precision: str = option("arithmetic of training", "auto", choices=("auto", "fp32", "bf16"))
    threads: int = option("processor threads for arithmetic; 0: torch's choice", 0, int)


# A fresh linear layer bears large steps; a whole network less so; and good weights should be changed only a little.
LEARNING_RATES = {"frozen": 3e-3, "scratch": 1.5e-3, "finetune": 3e-4}
WARM_UP = 0.1  # share of all steps over which the learning rate rises; it then falls along a cosine
EVALUATION_BATCH = 32


class Failure(Exception):
    """What was asked for cannot be done; the message says why and what to change."""


class Stopped(Exception):
    """A stop was asked for before there was a model worth keeping."""


def parse_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from the command line, then SageMaker's variables, then the defaults. Exits with code 2 on nonsense."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0], allow_abbrev=False)
    for entry in fields(Settings):
        names = {f"--{entry.name.replace('_', '-')}", f"--{entry.name}"}
        parser.add_argument(*sorted(names), dest=entry.name, default=argparse.SUPPRESS, **entry.metadata)
    parser.add_argument("--_tuning_objective_metric", help=argparse.SUPPRESS)  # a tuning job adds it to every trial
    given = vars(parser.parse_args(arguments))
    given.pop("_tuning_objective_metric")
    if "data" in given:  # whoever names the folder of all splits means it, in a training job too
        given = {name: str(Path(given["data"]) / name) for name in ("train", "valid", "test")} | given
    settings = Settings(**given)
    for name in ("epochs", "batch_size", "image_size"):
        if getattr(settings, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return settings


def find_splits(settings: Settings) -> dict[str, Split]:
    """The three splits: all there, none empty, of the same classes. Raises Failure or BadData."""
    folders = {name: getattr(settings, name) for name in ("train", "valid", "test")}
    for name, folder in folders.items():
        if not folder:
            raise Failure(f"where are the {name} photos? Give --data or --{name}, or the job a channel named {name!r}")
    splits = {name: list_photos(name, Path(folder)) for name, folder in folders.items()}
    check_classes(list(splits.values()))
    return splits


def find_weights(settings: Settings) -> Path | None:
    """The one *.pth of the pretrained channel, if there is such a channel. Raises Failure."""
    if not settings.pretrained:
        return None
    path = Path(settings.pretrained)
    files = [path] if path.is_file() else sorted(path.rglob("*.pth"))
    if len(files) != 1:
        raise Failure(f"{path} must be a torchvision state_dict (*.pth) or hold exactly one; it holds {len(files)}")
    return files[0]


def uses_bf16(settings: Settings, device: torch.device) -> bool:
    """Whether training runs under bf16 autocast. A frozen run does not: it has only one small layer to train."""
    if settings.freeze or settings.precision == "fp32":
        return False
    return settings.precision == "bf16" or fast_bf16(device)


def fast_bf16(device: torch.device) -> bool:
    """Whether this processor multiplies bf16 faster than fp32: a GPU, or a CPU with AMX.

    AVX-512's bf16 instructions alone do not make it so: without AMX, steps were 1.3 to 1.5 times *slower* than in fp32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


# ---------------------------------------------------------------------------------------------------------------------
# Evaluation

Inputs = Callable[[Sequence[Tensor]], Iterator[Tensor]]  # from batches of indices to batches of inputs, in order


@torch.inference_mode()
def outputs(model: Callable[[Tensor], Tensor], inputs: Inputs, samples: int, world: World) -> Tensor:
    """model(input) of every sample, in order, on every rank; each rank computes its share.

    The shares are disjoint, and the sum of disjoint shares is the whole: nothing is padded, dropped or counted twice.
    """
    mine = torch.arange(samples)[world.rank :: world.size]
    batches = [mine[start : start + EVALUATION_BATCH] for start in range(0, len(mine), EVALUATION_BATCH)]
    parts = [model(batch).float().cpu() for batch in inputs(batches)]
    width = max(world.gather(parts[0].shape[1] if parts else 0))
    whole = torch.zeros(samples, width)
    if parts:
        whole[mine] = torch.cat(parts)
    return world.sum(whole)


def tally(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over samples: loss, correct, correct among the top five, samples. Sums can be added up; means cannot."""
    logits, labels = logits.detach().cpu().double(), labels.cpu()
    loss = F.cross_entropy(logits, labels, reduction="sum")
    correct = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return torch.stack([loss, correct[:, 0].sum(), correct.sum(), torch.tensor(len(labels))])


def metrics(sums: Tensor) -> dict[str, float]:
    """Per sample, from a tally."""
    loss, top1, top5 = (sums[:3] / sums[3]).tolist()
    return {"loss": loss, "top1": top1, "top5": top5}


def scores(name: str, values: dict[str, float]) -> str:
    """As the metric definitions read it: valid:loss=0.5012 valid:top1=0.8511 valid:top5=0.9800"""
    return " ".join(f"{name}:{key}={value:.4f}" for key, value in values.items())


# ---------------------------------------------------------------------------------------------------------------------
# Training


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


@dataclass
class Progress:
    """Where a run is and what it has found: all that a checkpoint holds besides weights."""

    epoch: int = 0  # epochs completed
    step: int = 0  # steps completed of the one after
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)  # this rank's tally of those steps
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None  # the entry of history that validation likes best


class Trainer:
    """The loop: epochs of steps, a validation after each epoch, a checkpoint after that."""

    def __init__(
        self, settings: Settings, world: World, task: Task, stop: StopRequest, identity: dict[str, Any]
    ) -> None:
        self.settings, self.world, self.task, self.stop, self.identity = settings, world, task, stop, identity
        self.model = task.model
        self.progress = Progress()
        self.best_state: dict[str, Tensor] | None = None
        self.optimizer = make_optimizer(task.model, settings.weight_decay)
        self._resume()
        # Wrapped only now: DDP sends rank 0's weights, be they fresh or resumed, to all others.
        self.parallel: nn.Module = self.model
        if world.size > 1:
            self.parallel = DistributedDataParallel(self.model, gradient_as_bucket_view=True)

    def fit(self) -> None:
        """Train to the last epoch, or until a stop is asked for."""
        while self.progress.epoch < self.settings.epochs:
            started, first_step = time.perf_counter(), self.progress.step
            if not self._train_epoch():
                self._save()
                self.world.log(f"told to stop: in epoch {self.progress.epoch + 1} after {self.progress.step} steps")
                return
            share = 1 - first_step / self.progress.step  # less than 1 in the epoch that a resumed run begins with
            pace = share * len(self.task.train_labels) / (time.perf_counter() - started)
            self._finish_epoch(started, pace)
            self._save()

    def restore_best(self) -> Progress:
        """Put the best epoch's weights back. Raises Stopped if no epoch was completed."""
        if self.best_state is None:
            raise Stopped
        self.model.load_state_dict(self.best_state)
        return self.progress

    def _train_epoch(self) -> bool:
        """The rest of the current epoch; False if a stop was asked for before its end."""
        settings, world, progress = self.settings, self.world, self.progress
        self.parallel.train()
        samples = len(self.task.train_labels)
        batches = epoch_batches(samples, settings.batch_size, world.size, settings.seed, progress.epoch)
        mine = [rank_share(batch, world.rank, world.size) for batch in batches]
        inputs = self.task.train.batches(mine[progress.step :], progress.epoch)
        for step in range(progress.step, len(batches)):
            if world.any(self.stop.made):
                return False
            self._prepare_step(step, len(batches))
            sums = self._step(next(inputs), self.task.train_labels[mine[step]], len(batches[step]))
            progress.sums = (torch.tensor(progress.sums, dtype=torch.float64) + sums).tolist()
            progress.step = step + 1
        return True

    def _prepare_step(self, step: int, steps: int) -> None:
        """Learning rate and random state are functions of where we are, so that no checkpoint needs to hold them."""
        epoch, total = self.progress.epoch, self.settings.epochs * steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.task.learning_rate * schedule((epoch * steps + step + 0.5) / total)
        torch.manual_seed(int(generator(self.settings.seed, epoch, step, self.world.rank).integers(2**63)))

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

    def _finish_epoch(self, started: float, pace: float) -> None:
        progress = self.progress
        train = metrics(self.world.sum(torch.tensor(progress.sums, dtype=torch.float64)))
        if not math.isfinite(train["loss"]):
            raise Failure(f"the loss became {train['loss']} in epoch {progress.epoch + 1}: lower --learning-rate")
        entry: dict[str, Any] = {"epoch": progress.epoch + 1, "train": train, "valid": self._validate()}
        entry |= {"seconds": time.perf_counter() - started, "photos_per_second": pace}
        progress.history.append(entry)
        progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, [0.0] * 4
        if progress.best is None or merit(entry) > merit(progress.best):
            progress.best, self.best_state = entry, plain_state(self.model)
        times = f"seconds={entry['seconds']:.2f} photos_per_second={pace:.0f}"
        self.world.log(f"epoch={progress.epoch} {scores('train', train)} {scores('valid', entry['valid'])} {times}")

    def _validate(self) -> dict[str, float]:
        self.world.align_buffers(self.model)
        self.model.eval()
        with torch.autocast(self.world.device.type, dtype=torch.bfloat16, enabled=self.task.bf16):
            logits = outputs(self.model, self.task.valid.batches, len(self.task.valid_labels), self.world)
        return metrics(tally(logits, self.task.valid_labels))

    def _save(self) -> None:
        if not self.settings.checkpoint_dir:
            return
        self.world.align_buffers(self.model)
        sums = self.world.sum(torch.tensor(self.progress.sums, dtype=torch.float64)).tolist()
        if self.world.rank == 0:
            state = {
                "identity": self.identity,
                "progress": asdict(self.progress) | {"sums": sums},
                "model": plain_state(self.model),
                "optimizer": self.optimizer.state_dict(),
                "best": self.best_state,
            }
            checkpoints.save(Path(self.settings.checkpoint_dir), state, self.progress.epoch, self.progress.step)

    def _resume(self) -> None:
        if not self.settings.checkpoint_dir:
            return
        folder = Path(self.settings.checkpoint_dir)
        # Rank 0's copy is the one that counts: SageMaker restores the folder on every host.
        state = self.world.from_first(checkpoints.load_newest(folder) if self.world.rank == 0 else None)
        if state is None:
            return
        if differ := [key for key, value in self.identity.items() if state["identity"].get(key) != value]:
            raise Failure(f"{folder} is another run's (different {', '.join(differ)}): give an empty --checkpoint-dir")
        self.progress = Progress(**state["progress"])
        if self.world.rank > 0:
            self.progress.sums = [0.0] * 4  # rank 0 goes on with the tally of all
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_state = state["best"]
        self.world.log(f"resumed from {folder} after {self.progress.epoch} epochs and {self.progress.step} steps")


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


# ---------------------------------------------------------------------------------------------------------------------
# The run


def run(settings: Settings, world: World, stop: StopRequest) -> None:
    """One training run, from photos to artefact and report. Raises Failure, BadData, BadModel, or Stopped."""
    started = time.perf_counter()
    splits = find_splits(settings)
    check_shares(list(splits.values()), world)
    weights = find_weights(settings)
    model = make_model(settings, world, weights, len(splits["train"].classes))
    announce(settings, world, splits)
    with ThreadPoolExecutor(settings.workers or min(8, os.cpu_count() or 1)) as pool:
        preprocessing = Preprocessing.for_size(settings.image_size)
        photos = {name: Photos(split, preprocessing, world.device, pool) for name, split in splits.items()}
        task = make_task(settings, world, model, photos, stop)
        trainer = Trainer(settings, world, task, stop, identity_of(settings, splits["train"], weights))
        trainer.fit()
        report = finish(settings, world, model, trainer.restore_best(), photos["test"])
    report["seconds"] = time.perf_counter() - started
    if world.rank == 0:
        results.write_json(Path(settings.output_dir) / "metrics.json", report)
        results.draw_learning_curves(Path(settings.output_dir) / "learning_curves.png", report["history"])


def make_model(settings: Settings, world: World, weights: Path | None, classes: int) -> nn.Module:
    """The network with a fresh head, and with the pretrained weights if there are any."""
    torch.manual_seed(settings.seed)
    model = build_model(settings.architecture, classes, settings.image_size)
    if weights:
        load_pretrained(model, weights)
    elif settings.freeze:
        world.log("WARNING: --freeze without --pretrained trains a head on the features of a random trunk")
    return model.to(world.device).to(memory_format=torch.channels_last)


def announce(settings: Settings, world: World, splits: dict[str, Split]) -> None:
    """The first lines of the log: what runs where on what."""
    gpu = world.device.type == "cuda"
    device = torch.cuda.get_device_name(world.device) if gpu else f"{platform.machine()} processor"
    precision = "bf16 autocast" if uses_bf16(settings, world.device) else "fp32"
    world.log(" ".join(f"{name}={version}" for name, version in results.versions().items()))
    world.log(f"processes={world.size} device={device} threads={torch.get_num_threads()} precision={precision}")
    world.log(f"architecture={settings.architecture} image_size={settings.image_size} freeze={settings.freeze}")
    for split in splits.values():
        mine = len(torch.arange(len(split))[world.rank :: world.size])
        if split.name == "train":
            batches = epoch_batches(len(split), settings.batch_size, world.size, settings.seed, 0)
            mine = sum(len(rank_share(batch, world.rank, world.size)) for batch in batches)
        shares = " + ".join(str(share) for share in world.gather(mine))
        world.log(f"{split.name}: {len(split)} photos of {len(split.classes)} classes; each process sees {shares}")


def make_task(settings: Settings, world: World, model: nn.Module, photos: dict[str, Photos], stop: StopRequest) -> Task:
    """Decide what is trained on what; in a frozen run, compute the features."""
    train, valid = photos["train"], photos["valid"]
    labels = train.split.labels, valid.split.labels
    mode = "frozen" if settings.freeze else "finetune" if settings.pretrained else "scratch"
    rate, bf16 = settings.learning_rate or LEARNING_RATES[mode], uses_bf16(settings, world.device)
    if settings.batch_size < 2 * world.size:
        raise Failure(f"--batch-size {settings.batch_size} is less than two photos for each of {world.size} processes")
    if not settings.freeze:
        return Task(model, replace(train, augment_seed=settings.seed), valid, *labels, rate, bf16)
    head = model.get_submodule(head_name(model))
    features = compute_features(model, train, world, stop), compute_features(model, valid, world, stop)
    return Task(head, *features, *labels, rate, bf16)


def compute_features(model: nn.Module, photos: Photos, world: World, stop: StopRequest) -> Features:
    """What the trunk makes of each photo; in fp32, with batch-norm folded: exactly what the endpoint will compute."""
    started = time.perf_counter()
    trunk = for_inference(model)
    trunk.set_submodule(head_name(trunk), nn.Identity())

    def features(inputs: Tensor) -> Tensor:
        if stop.made:
            raise Stopped
        return trunk(inputs)  # type: ignore[no-any-return]

    values = outputs(features, photos.batches, len(photos.split), world)
    pace = len(values) / (time.perf_counter() - started)
    world.log(f"features of {photos.split.name}: {values.shape[1]} numbers a photo, {pace:.0f} photos a second")
    return Features(values, world.device)


def identity_of(settings: Settings, train: Split, weights: Path | None) -> dict[str, Any]:
    """What must be the same for a checkpoint to be continued: not the number of processes, nor that of epochs."""
    names = ("architecture", "freeze", "image_size", "batch_size", "learning_rate", "weight_decay", "seed")
    pretrained = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else ""
    return {name: getattr(settings, name) for name in names} | {"photos": train.digest(), "pretrained": pretrained}


def finish(settings: Settings, world: World, model: nn.Module, progress: Progress, test: Photos) -> dict[str, Any]:
    """Write the best epoch's artefact and judge it on the test photos; the report."""
    assert progress.best is not None
    found: dict[str, Any] = {"best_epoch": progress.best["epoch"], "valid": progress.best["valid"], "test": None}
    # Said again at the end: SageMaker takes a metric's last value for the job's, and tuning compares those.
    world.log(f"best_epoch={found['best_epoch']} {scores('valid', found['valid'])}")
    save = partial(save_model, settings, world, model, test)
    save(found)  # before the test, so that nothing that happens there can cost us the model
    report = {"history": progress.history, "processes": world.size}
    if progress.epoch < settings.epochs:
        world.log("stopped early: the test photos stay unseen")
        return found | report
    report |= judge(settings, world, model, test, found)
    save(found)
    return found | report


def save_model(settings: Settings, world: World, model: nn.Module, photos: Photos, found: dict[str, Any]) -> None:
    """The artefact, once: SageMaker packs the model folders of all hosts into one archive."""
    if world.rank == 0:
        facts = {"architecture": settings.architecture, "metrics": found, "hyperparameters": asdict(settings)}
        state, classes = plain_state(model), photos.split.classes
        results.write_artefact(Path(settings.model_dir), state, classes, photos.preprocessing, facts)


def judge(settings: Settings, world: World, model: nn.Module, test: Photos, found: dict[str, Any]) -> dict[str, Any]:
    """The one look at the test photos, through the very classifier that the endpoint will run."""
    started, classes, labels = time.perf_counter(), test.split.classes, test.split.labels
    classifier = Classifier(model, settings.architecture, classes, test.preprocessing, world.device)
    logits = outputs(classifier.logits, test.pixels, len(test.split), world)
    found["test"] = metrics(tally(logits, labels))
    world.log(scores("test", found["test"]))
    if world.rank == 0:
        path = Path(settings.output_dir) / "test_predictions.csv"
        results.write_predictions(path, test.split.files, classes, labels, logits)
    return {**results.by_class(classes, labels, logits), "test_seconds": time.perf_counter() - started}


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole program; its exit code."""
    settings = parse_arguments(arguments)
    stop = StopRequest()
    prepare_torch(settings.threads)
    try:
        world = World()
        run(settings, world, stop)
        world.leave()
        return 0
    except Exception as error:
        # When all are told to stop, whoever is last in a collective finds the others gone: that is no failure.
        if stop.made:
            print("stopped before there was a model to write", file=sys.stderr, flush=True)
            return 128 + signal.SIGTERM
        if not isinstance(error, Failure | BadData | BadModel):
            traceback.print_exc()
        print(f"train.py failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1


def prepare_torch(threads: int) -> None:
    """Fast memory, the number of threads asked for, and the same results every time."""
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A debugging aid that comes along with it and fills every new tensor with NaN.
    vars(torch.utils.deterministic)["fill_uninitialized_memory"] = False


if __name__ == "__main__":
    sys.exit(main())
