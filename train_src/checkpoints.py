"""Checkpoints that survive a spot interruption: written whole or not at all, and checked before they are believed.

A job's checkpoint folder is copied to S3 all the time and copied back at a restart, so a file may be met half written
or half copied. Its name carries the first digits of its own SHA-256: one file, renamed into place once complete, and
whoever reads it can tell a good one from a damaged one.

    save("checkpoints", state, epoch=3, step=120)      # checkpoints/epoch0003-step000120-5f1c0a9be2d47788.pt
    state = load_newest("checkpoints")                 # the newest sound one, or None

Reference: https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

import hashlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import torch

KEEP = 2  # the newest, and the one before it in case the newest turns out damaged
NAME = re.compile(r"epoch(\d+)-step(\d+)-([0-9a-f]{16})\.pt")


def save(folder: Path, state: dict[str, Any], epoch: int, step: int) -> Path:
    """Write the state of a run that has done `step` steps of `epoch`, and drop all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"epoch{epoch:04d}-step{step:06d}-{_digest(buffer.getvalue())}.pt"
    write_whole(path, buffer.getvalue())
    for old in newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that is sound; damaged ones are named on stderr and passed over. None if there is none."""
    for path in newest_first(folder):
        try:
            return _load(path)
        except Exception as error:  # whatever is wrong with this file, an older one may still be right
            print(f"WARNING: passing over checkpoint {path.name}: {error}", file=sys.stderr, flush=True)
    return None


def newest_first(folder: Path) -> list[Path]:
    """Checkpoints by the point of the run they are from, whatever a copy did to their dates."""
    found = [
        (int(match[1]), int(match[2]), path) for path in folder.glob("*.pt") if (match := NAME.fullmatch(path.name))
    ]
    return [path for _, _, path in sorted(found, reverse=True)]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that, even if the power fails, it is there complete or not there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _load(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    match = NAME.fullmatch(path.name)
    if match is None or match[3] != _digest(content):
        raise ValueError("its content is not what was written (cut short or damaged)")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
