"""The drawn sample set: pictures of dogs, drawn rather than photographed, in the layout of the real data set.

It is what the series runs on when no data is given: small, free of anybody's rights, the same bytes everywhere. A breed
is a handful of proportions and habits (`breeds`); a picture is that breed in some pose (`bones`), coat (`coats`,
`markings`), place (`places`) and light (`scenes`), painted (`bodies`, `faces`) on a `canvas`.

    draw_sample_set("data")                # data/dogImages/{train,valid,test}/NNN.Breed_name/*.jpg
    draw_dog("057.Dalmatian", seed=3)      # one PIL image
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from helpers.samples.breeds import BREEDS, Breed
from helpers.samples.scenes import draw_dog
from helpers.workers import run_shares

__all__ = ["BREEDS", "Breed", "Picture", "draw_dog", "draw_sample_set", "draw_share", "pictures"]


class Picture(NamedTuple):
    """One picture of a set: where it lies under dogImages, and what gives it its looks."""

    path: str
    breed: Breed
    seed: str

    def jpeg(self, size: int) -> bytes:
        """The picture as a JPEG of (size, size) pixels."""
        buffer = io.BytesIO()
        draw_dog(self.breed, self.seed, size).save(buffer, "JPEG", quality=88)
        return buffer.getvalue()


def draw_sample_set(
    folder: str | os.PathLike[str],
    breeds: int = len(BREEDS),
    train: int = 50,
    valid: int = 10,
    test: int = 10,
    size: int = 160,
    seed: int = 0,
) -> Path:
    """Draw `breeds` x (train + valid + test) JPEGs of (size, size) pixels; returns the folder `folder`/dogImages.

    The same arguments give the same bytes, on every machine with the same Pillow. A set that is there already, drawn
    with the same arguments, is left as it is. The default takes 10 s on two cores and 6 MB.

    Raises ValueError for numbers that make no set, FileExistsError where another `dogImages` is in the way.
    """
    if not 2 <= breeds <= len(BREEDS):
        raise ValueError(f"breeds={breeds}: choose 2 to {len(BREEDS)}")
    if min(train, valid, test) < 1:
        raise ValueError(f"train={train}, valid={valid}, test={test}: each split needs a picture of each breed")
    if size < 32:
        raise ValueError(f"size={size}: choose 32 pixels or more")
    target = Path(folder) / "dogImages"
    listed = pictures(breeds, train, valid, test, seed)
    if target.exists():
        if _holds(target, listed, size):
            return target
        raise FileExistsError(f"{target} holds other photos: delete it, or draw into another folder")
    part = target.with_name(f".dogImages.{os.getpid()}.part")
    try:
        for directory in {(part / picture.path).parent for picture in listed}:
            directory.mkdir(parents=True)
        numbers = [str(number) for number in (breeds, train, valid, test, seed, size)]
        run_shares("helpers.samples", [str(part), *numbers], len(listed), pieces_each=20)
        part.rename(target)  # so a set is there whole or not at all
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def pictures(breeds: int, train: int, valid: int, test: int, seed: int) -> list[Picture]:
    """Every picture of a set; a breed's numbers run on through the splits, as the real set's do."""
    return [
        Picture(f"{split}/{breed.folder}/{breed.name}_{number:05d}.jpg", breed, f"{seed}/{split}/{number - before}")
        for breed in BREEDS[:breeds]
        for split, before, count in (("train", 0, train), ("valid", train, valid), ("test", train + valid, test))
        for number in range(before + 1, before + count + 1)
    ]


def draw_share(
    share: int, shares: int, part: Path, breeds: int, train: int, valid: int, test: int, seed: int, size: int
) -> None:
    """Draw every `shares`-th picture into `part`, whose folders are there."""
    for picture in pictures(breeds, train, valid, test, seed)[share::shares]:
        (part / picture.path).write_bytes(picture.jpeg(size))


def _holds(target: Path, listed: Sequence[Picture], size: int) -> bool:
    """Whether `target` holds exactly these pictures, judged by every name and by one picture's bytes."""
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    last = listed[-1]
    return names == sorted(picture.path for picture in listed) and (target / last.path).read_bytes() == last.jpeg(size)
