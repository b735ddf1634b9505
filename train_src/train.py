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

With --checkpoint-dir, a run that was interrupted at any moment goes on where it was, and ends with the same weights,
bit for bit, as one that was not (on as many processes and threads, on the same kind of processor). A SIGTERM saves at
once and loses nothing; a kill loses what was done since the last checkpoint: at most an epoch, or --checkpoint-every.
"""

import os

# Must be said before torch loads OpenMP. A thread that waits for the others of its team spins for milliseconds by
# default; where other programs want the processor too, it takes it from the very thread it waits for, and a step can
# last ten times as long. After a short spin it sleeps, which costs next to nothing where there is nobody else.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import hashlib
import json
import platform
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import results
import torch
from arguments import Settings, parse_arguments
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
    Split,
    check_classes,
    check_shares,
    epoch_batches,
    list_photos,
    rank_share,
)
from evaluation import metrics, outputs, scores, tally
from torch import nn
from trainer import Failure, Progress, Task, Trainer, least_batch, plain_state
from whole_batch import batch_norms
from world import Stopped, StopRequest, World

# A fresh linear layer bears large steps; a whole network less so; and good weights should be changed only a little.
LEARNING_RATES = {"frozen": 3e-3, "scratch": 1.5e-3, "finetune": 3e-4}


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
# The run


def run(settings: Settings, world: World, stop: StopRequest) -> None:
    """One training run, from photos to artefact and report. Raises Failure, BadData, BadModel, or Stopped."""
    started = time.perf_counter()
    splits = find_splits(settings)
    check_shares(list(splits.values()), world)
    weights = find_weights(settings)
    model = make_model(settings, world, weights, len(splits["train"].classes))
    announce(settings, world, splits, model)
    with ThreadPoolExecutor(settings.workers or min(8, os.cpu_count() or 1)) as pool:
        preprocessing = Preprocessing.for_size(settings.image_size)
        photos = {name: Photos(split, preprocessing, world.device, pool) for name, split in splits.items()}
        task = make_task(settings, world, model, photos, stop)
        trainer = Trainer(settings, world, task, stop, identity_of(settings, splits["train"], weights))
        trainer.fit()
        report = finish(settings, world, model, trainer.restore_best(), photos["test"], stop)
    report |= amounts(settings, splits, trainer) | {"seconds": time.perf_counter() - started}
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


def announce(settings: Settings, world: World, splits: dict[str, Split], model: nn.Module) -> None:
    """The first lines of the log: what runs where on what."""
    gpu = world.device.type == "cuda"
    device = torch.cuda.get_device_name(world.device) if gpu else f"{platform.machine()} processor"
    precision = "bf16 autocast" if uses_bf16(settings, world.device) else "fp32"
    world.log(" ".join(f"{name}={version}" for name, version in results.versions().items()))
    world.log(f"processes={world.size} device={device} threads={torch.get_num_threads()} precision={precision}")
    world.log(f"architecture={settings.architecture} image_size={settings.image_size} freeze={settings.freeze}")
    if world.size > 1 and not settings.freeze and (layers := len(batch_norms(model))):
        whose = "of all processes" if settings.sync_batch_norm else "of each process: not the gradients of one process"
        world.log(f"{layers} batch-norm layers, statistics {whose}")
    hosts = json.loads(os.environ.get("SM_HOSTS", "[]"))
    if world.size == 1 and len(hosts) > 1:
        host = os.environ.get("SM_CURRENT_HOST", "this one")
        world.log(
            f"WARNING: {len(hosts)} instances, but {host} trains the whole model alone, as do the others, and all but "
            "one of the models are thrown away. Give the ModelTrainer distributed=Torchrun()"
        )
    least = least_batch(settings, world, model)
    for split in splits.values():
        mine = len(torch.arange(len(split))[world.rank :: world.size])
        if split.name == "train":
            batches = epoch_batches(len(split), settings.batch_size, least, settings.seed, 0)
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
    if len(train.split) < world.size:
        raise Failure(f"{len(train.split)} photos to train on are too few for {world.size} processes")
    least = least_batch(settings, world, model)
    if not settings.freeze:
        return Task(model, replace(train, augment_seed=settings.seed), valid, *labels, rate, bf16, least)
    head = model.get_submodule(head_name(model))
    features = compute_features(model, train, world, stop), compute_features(model, valid, world, stop)
    return Task(head, *features, *labels, rate, bf16, least)


def compute_features(model: nn.Module, photos: Photos, world: World, stop: StopRequest) -> Features:
    """What the trunk makes of each photo; in fp32, with batch-norm folded: exactly what the endpoint will compute."""
    started = time.perf_counter()
    trunk = for_inference(model)
    trunk.set_submodule(head_name(trunk), nn.Identity())
    values = outputs(trunk, photos.batches, len(photos.split), world, stop)
    pace = len(values) / (time.perf_counter() - started)
    world.log(f"features of {photos.split.name}: {values.shape[1]} numbers a photo, {pace:.0f} photos a second")
    return Features(values, world.device)


def identity_of(settings: Settings, train: Split, weights: Path | None) -> dict[str, Any]:
    """What must be the same for a checkpoint to be continued: not the number of processes, nor that of epochs."""
    names = ["architecture", "freeze", "image_size", "batch_size", "learning_rate", "weight_decay", "seed"]
    names += ["sync_batch_norm"]
    pretrained = hashlib.sha256(weights.read_bytes()).hexdigest() if weights else ""
    return {name: getattr(settings, name) for name in names} | {"photos": train.digest(), "pretrained": pretrained}


def amounts(settings: Settings, splits: dict[str, Split], trainer: Trainer) -> dict[str, Any]:
    """What the run was about, and how much of it: photos, steps, checkpoints; and where it was interrupted."""
    progress = trainer.progress
    return {
        "photos": {name: len(split) for name, split in splits.items()},
        "digests": {name: split.digest() for name, split in splits.items()},
        "batch_size": settings.batch_size,
        "steps_per_epoch": trainer.steps,
        "step_loss": progress.curve,
        "resumed": progress.resumed,
        "checkpoints": {"written": trainer.saves, "seconds": trainer.save_seconds},
    }


def finish(
    settings: Settings, world: World, model: nn.Module, progress: Progress, test: Photos, stop: StopRequest
) -> dict[str, Any]:
    """Write the best epoch's artefact and judge it on the test photos; the report."""
    assert progress.best is not None
    found: dict[str, Any] = {"best_epoch": progress.best["epoch"], "valid": progress.best["valid"], "test": None}
    # Said again at the end: SageMaker takes a metric's last value for the job's, and tuning compares those.
    world.log(f"best_epoch={found['best_epoch']} {scores('valid', found['valid'])}")
    save = partial(save_model, settings, world, model, test)
    save(found)  # before the test, so that nothing that happens there can cost us the model
    report = {"history": progress.history, "processes": world.size}
    try:
        if progress.epoch < settings.epochs:
            raise Stopped
        report |= judge(settings, world, model, test, found, stop)
    except Stopped:
        world.log("stopped early: the test photos stay unseen")
        return found | report
    save(found)
    return found | report


def save_model(settings: Settings, world: World, model: nn.Module, photos: Photos, found: dict[str, Any]) -> None:
    """The artefact, once: SageMaker packs the model folders of all hosts into one archive."""
    if world.rank == 0:
        facts = {"architecture": settings.architecture, "metrics": found, "hyperparameters": asdict(settings)}
        state, classes = plain_state(model), photos.split.classes
        results.write_artefact(Path(settings.model_dir), state, classes, photos.preprocessing, facts)


def judge(
    settings: Settings, world: World, model: nn.Module, test: Photos, found: dict[str, Any], stop: StopRequest
) -> dict[str, Any]:
    """The one look at the test photos, through the very classifier that the endpoint will run."""
    started, classes, labels = time.perf_counter(), test.split.classes, test.split.labels
    classifier = Classifier(model, settings.architecture, classes, test.preprocessing, world.device)
    logits = outputs(classifier.logits, test.pixels, len(test.split), world, stop)
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
