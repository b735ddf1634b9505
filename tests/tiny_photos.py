"""A data set small enough to train on in a second: three classes that differ in colour, as noisy pictures."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.localaws.engines.ports import reserve

ROOT = Path(__file__).resolve().parents[1]
TRAIN_SRC = ROOT / "train_src"
CLASSES = {"001.Red_setter": (200, 60, 40), "002.Blue_heeler": (50, 70, 200), "003.Greenland_dog": (60, 180, 70)}

# Small, and quick to build: what the tests train.
TINY = ["--architecture", "shufflenet_v2_x0_5", "--image-size", "32", "--batch-size", "8", "--workers", "1"]


def picture(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    random = np.random.default_rng(seed)
    noise = random.normal(0, 40, (size[1], size[0], 3)) + random.normal(0, 15, 3)
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_photos(
    folder: Path, train: int = 7, valid: int = 3, test: int = 3, classes: dict[str, tuple[int, int, int]] = CLASSES
) -> Path:
    """`folder`/{train,valid,test}/<class>/*.jpg with so many photos a class."""
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        for label, (name, colour) in enumerate(classes.items()):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                seed = 1000 * label + number + {"train": 0, "valid": 100, "test": 200}[split]
                (folder / split / name / f"{number:03d}.jpg").write_bytes(encoded(picture(colour, seed)))
    return folder


def command(*arguments: object, processes: int = 1) -> list[str]:
    """`python train.py …`, or torchrun with so many processes."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [*launcher, str(TRAIN_SRC / "train.py"), *map(str, arguments)]


def run_training(cwd: Path, *arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """The training program as a user starts it."""
    argv = command(*arguments, "--threads", 1, processes=processes)
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def free_port() -> int:
    """One that no system hands out by itself, until whoever it is for listens at it."""
    found = reserve()
    found.release()
    return found.port
