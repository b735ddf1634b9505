"""What a run can be told: each field of `Settings` is an argument, --in-kebab-case."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

DESCRIPTION = "Train a classifier of dog breeds (or of any folders of photos), on one machine or on many."


def boolean(text: str) -> bool:
    """Hyperparameters arrive as text, so a flag is spelled out: --freeze true."""
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1", "yes")


def interval(text: str) -> str:
    """A number of steps, such as 50, or of seconds, such as 60s; as text, as it arrived."""
    number = text.removesuffix("s")
    if not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of steps (50) nor of seconds (60s)")
    return text


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
    checkpoint_dir: str = option("if given: resume from here, and save here")
    checkpoint_every: str = option("save so often within an epoch, too: steps (50) or seconds (60s)", "60s", interval)
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
    sync_batch_norm: bool = option("batch-norm over the batches of all processes", True, boolean)
    workers: int = option("threads that decode photos; 0: one per processor, at most 8", 0, int)
    precision: str = option("arithmetic of training", "auto", choices=("auto", "fp32", "bf16"))
    threads: int = option("processor threads for arithmetic; 0: torch's choice", 0, int)


def parse_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """Settings from the command line, then SageMaker's variables, then the defaults. Exits with code 2 on nonsense."""
    parser = argparse.ArgumentParser(description=DESCRIPTION, allow_abbrev=False)
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
