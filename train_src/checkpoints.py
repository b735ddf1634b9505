"""Checkpoints that survive a spot interruption: written whole or not at all, and checked before they are believed.

A job's checkpoint folder is copied to S3 all the time and copied back at a restart. Nothing is ever deleted there, so
the names are few and fixed: two files, written in turn. The copy may be interrupted between any two files, or in the
midst of one: so each file is complete in itself, says which point of the run it is from, and carries a digest of all
it says. Dates are not asked, since a copy changes them.

    checkpoints = Checkpoints(Path("/opt/ml/checkpoints"))
    state = checkpoints.load()                      # of the newest sound file, or None
    checkpoints.save(state, epoch=3, step=120)      # over the other file: the one just loaded stays

Reference: https://docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html
"""

import contextlib
import hashlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

NAMES = ("checkpoint-a.pt", "checkpoint-b.pt")
MARK = "steps-done.txt"


class Checkpoints:
    """A folder of the newest checkpoint and the one before it, and of a mark how far the run came after them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest = ""  # the name of the file that is loaded or saved last, which the next save leaves alone

    def load(self) -> dict[str, Any] | None:
        """The newest sound state; damaged files are named on stderr and passed over. None if there is none."""
        sound: list[tuple[tuple[int, int], str, bytes]] = []
        for name in NAMES:
            try:
                position, content = read(self.folder / name)
                sound.append((position, name, content))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                print(f"WARNING: passing over checkpoint {name}: {error}", file=sys.stderr, flush=True)
        if not sound:
            return None
        _, self.newest, content = max(sound)
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state

    def save(self, state: dict[str, Any], epoch: int, step: int) -> Path:
        """Write the state of a run that has done `step` steps of the epoch after `epoch`, over the older file."""
        path = self.folder / (NAMES[1] if self.newest == NAMES[0] else NAMES[0])
        content = io.BytesIO()
        torch.save(state, content)
        payload = content.getbuffer()
        head = json.dumps({"epoch": epoch, "step": step, "bytes": len(payload)}).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, head, b"\n", _digest(head, payload), b"\n", payload)
        self.newest = path.name
        return path

    def mark(self, run: str, step: int) -> None:
        """Note in a few bytes that a run has done so many steps in all: what a checkpoint lacks can then be told.

        Not forced to the disk, since it costs little to lose.
        """
        partial = self.folder / f".{MARK}.partial"
        partial.write_text(f"{run} {step}\n")
        partial.replace(self.folder / MARK)

    def marked(self, run: str) -> int:
        """The steps that `run` has noted; 0 if none."""
        try:
            name, step = (self.folder / MARK).read_text().split()
            return int(step) if name == run else 0
        except (OSError, ValueError):
            return 0


def read(path: Path) -> tuple[tuple[int, int], bytes]:
    """A checkpoint's (epoch, step) and content. Raises ValueError if they are not what was written, or OSError."""
    with path.open("rb") as file:
        head, digest, payload = file.readline(200).rstrip(b"\n"), file.readline(65).rstrip(b"\n"), file.read()
    if digest != _digest(head, payload):
        raise ValueError("its content is not what was written (cut short or damaged)")
    says = json.loads(head)
    return (says["epoch"], says["step"]), payload


def write_whole(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file so that, even if the power fails, it is there complete or not there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _digest(head: bytes, payload: bytes | memoryview) -> bytes:
    whole = hashlib.sha256(head)
    whole.update(payload)
    return whole.hexdigest().encode()
