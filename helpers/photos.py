"""Photos in folders: ``{train,valid,test}/<class>/<photo>``; what lies there, and whether it can be read.

``python -m helpers.photos SHARE SHARES FOLDER`` prints the facts of one share of the photos as JSON lines.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

from helpers.workers import run_shares

SPLITS = ("train", "valid", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")  # what train_src reads


@dataclass(frozen=True)
class Photo:
    """One photo of the data set, named by its path under dogImages: ``train/057.Dalmatian/Dalmatian_00001.jpg``."""

    name: str
    size: int  # bytes
    width: int = 0  # pixels
    height: int = 0
    digest: str = ""  # SHA-256 of the file
    problem: str = ""  # why it cannot be read; empty if it can

    @property
    def split(self) -> str:
        """train, valid or test."""
        return self.name.split("/")[0]

    @property
    def breed(self) -> str:
        """Its class folder."""
        return self.name.split("/")[1]


def walk(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the photos, and of the strays: what is no photo, hidden, or not right in a class folder."""
    photos: list[str] = []
    strays: list[str] = []
    for here, folders, files in os.walk(folder, followlinks=True):
        place = Path(here).relative_to(folder).parts
        if len(place) == 2:
            strays += ["/".join([*place, name, ""]) for name in folders]
            folders.clear()
        used = len(place) == 2 and place[0] in SPLITS and not place[1].startswith(".")
        for name in files:
            is_photo = used and not name.startswith(".") and name.lower().endswith(SUFFIXES)
            (photos if is_photo else strays).append("/".join([*place, name]))
    return sorted(photos), sorted(strays)


def inspect(folder: Path) -> list[Photo]:
    """Read and decode every photo, on all cores (about 0.3 ms each of 224 x 224 pixels)."""
    names, _ = walk(folder)
    printed = run_shares("helpers.photos", [str(folder)], len(names), pieces_each=500)
    found = [Photo(**json.loads(line)) for lines in printed for line in lines.splitlines()]
    return sorted(found, key=lambda photo: photo.name)


def examine(folder: Path, name: str) -> Photo:
    """Read one photo wholly: a header can be sound and the rest missing."""
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        return Photo(name, 0, problem=f"cannot be opened: {error.strerror}")
    digest = hashlib.sha256(data).hexdigest()
    if not data:
        return Photo(name, 0, digest=digest, problem="is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            image.draft(None, (1, 1))  # a JPEG's every byte is read, but only an eighth of its pixels computed
            image.load()
    except Exception as error:  # whatever its decoder says of a damaged file
        return Photo(name, len(data), digest=digest, problem=str(error) or type(error).__name__)
    return Photo(name, len(data), width, height, digest)


def share_of(folder: Path, share: int, shares: int) -> Iterator[str]:
    """The facts of every ``shares``-th photo, as JSON lines."""
    for name in walk(folder)[0][share::shares]:
        yield json.dumps(asdict(examine(folder, name)))


if __name__ == "__main__":
    for line in share_of(Path(sys.argv[3]), int(sys.argv[1]), int(sys.argv[2])):
        print(line)
