"""The photos of a data set: listed, checked, put in order, decoded.

Nothing that is drawn at random has a state. The order of the photos, the crop of a photo and the dropout of a step are
functions of the seed and of where in the run they are. So they are the same on one process as on many, whatever the
number of threads, and a run that is resumed at any step goes on as if it had never stopped.
"""

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from classifier import BadPhoto, Pixels, Preprocessing, decode, resample
from torch import Tensor
from world import World


class BadData(ValueError):
    """The photos are not what training needs; the message names the folder or file."""


@dataclass(frozen=True)
class Split:
    """The photos of train, valid or test, in an order that is the same on every machine."""

    name: str
    folder: Path
    classes: list[str]
    files: list[str]  # relative to the folder
    labels: Tensor  # int64, (photos,)

    def __len__(self) -> int:
        return len(self.files)

    def digest(self) -> str:
        """Equal for equal lists of files."""
        return hashlib.sha256("\n".join(self.files).encode()).hexdigest()


def list_photos(name: str, folder: Path) -> Split:
    """The photos in folder/<class>/, sorted. Raises BadData."""
    if not folder.is_dir():
        raise BadData(f"the {name} folder {folder} does not exist")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(classes) < 2:
        raise BadData(f"the {name} folder {folder} holds {len(classes)} class folders; it takes two to classify")
    photos = [_photos(folder, each) for each in classes]
    for each, found in zip(classes, photos, strict=True):
        if not found:
            raise BadData(f"the class folder {folder / each} holds no .jpg, .jpeg or .png photos")
    labels = [label for label, found in enumerate(photos) for _ in found]
    return Split(name, folder, classes, [file for found in photos for file in found], torch.tensor(labels))


def _photos(folder: Path, class_name: str) -> list[str]:
    names = sorted(entry.name for entry in (folder / class_name).iterdir() if not entry.name.startswith("."))
    return [f"{class_name}/{name}" for name in names if name.lower().endswith((".jpg", ".jpeg", ".png"))]


def check_classes(splits: Sequence[Split]) -> None:
    """All splits must have the classes of the first. Raises BadData."""
    train, *others = splits
    for split in others:
        if different := set(train.classes) ^ set(split.classes):
            first = min(different)
            where = f"in {train.name} but not in {split.name}" if first in train.classes else f"only in {split.name}"
            raise BadData(f"the splits differ in {len(different)} class(es): {first!r} is {where} ({split.folder})")


def check_shares(splits: Sequence[Split], world: World) -> None:
    """All ranks must see all photos, since each takes its own share of every batch. Raises BadData."""
    for split in splits:
        if len(set(world.gather(split.digest()))) > 1:
            counts = " and ".join(str(count) for count in world.gather(len(split)))
            remedy = "give the channel the S3DataDistributionType FullyReplicated"
            raise BadData(f"the instances see different {split.name} photos ({counts} of them): {remedy}")


def generator(*place: int) -> np.random.Generator:
    """Random numbers that belong to one place in the run, such as (seed, epoch, photo)."""
    return np.random.default_rng(place)


def epoch_batches(samples: int, batch_size: int, least: int, seed: int, epoch: int) -> list[Tensor]:
    """Every sample's index once, shuffled, in batches of about `batch_size` that differ by one sample at most.

    Even batches leave no small one at the end, which would weigh each of its samples more; and each has at least
    `least` samples, if there are so many: batch-norm cannot take the variance of one.
    """
    order = torch.from_numpy(generator(seed, epoch).permutation(samples))
    steps = min(math.ceil(samples / batch_size), samples // least)
    return list(order.tensor_split(max(1, steps)))


def rank_share(batch: Tensor, rank: int, ranks: int) -> Tensor:
    """This rank's part of a batch: the parts are disjoint, complete, and differ by one sample at most."""
    return batch.tensor_split(ranks)[rank]


def share_start(batch_size: int, rank: int, ranks: int) -> int:
    """Where in the batch this rank's part begins."""
    return rank * (batch_size // ranks) + min(rank, batch_size % ranks)


class Source(Protocol):
    """Where a model's inputs come from."""

    def batches(self, batches: Sequence[Tensor], epoch: int = 0) -> Iterator[Tensor]:
        """The inputs for each batch of indices, in order, on the model's device."""


@dataclass
class Photos:
    """Inputs from files, decoded in threads while the model is busy with the batch before.

    Threads rather than a DataLoader's processes: Pillow and NumPy let go of the GIL, a thread costs no second torch in
    memory, and there is no child to reap when a SIGTERM comes.
    """

    split: Split
    preprocessing: Preprocessing
    device: torch.device
    pool: ThreadPoolExecutor
    augment_seed: int | None = None  # None: the evaluation's centre crop

    def batches(self, batches: Sequence[Tensor], epoch: int = 0) -> Iterator[Tensor]:
        """Normalised float32 (n, 3, size, size) for each batch of indices."""
        for pixels in self.pixels(batches, epoch):
            yield self.preprocessing.normalise(pixels.to(self.device))

    def pixels(self, batches: Sequence[Tensor], epoch: int = 0) -> Iterator[Tensor]:
        """The uint8 pixels (n, size, size, 3) for each batch of indices; two batches are being decoded ahead."""
        todo = iter(batches)
        ahead = deque(self._start(batch, epoch) for batch in islice(todo, 2))
        while ahead:
            photos = [photo.result() for photo in ahead.popleft()]
            ahead.extend(self._start(batch, epoch) for batch in islice(todo, 1))
            yield torch.from_numpy(np.stack(photos))

    def _start(self, batch: Tensor, epoch: int) -> list[Future[Pixels]]:
        return [self.pool.submit(self._read, index, epoch) for index in batch.tolist()]

    def _read(self, index: int, epoch: int) -> Pixels:
        path = self.split.folder / self.split.files[index]
        try:
            if self.augment_seed is None:
                return self.preprocessing.read(path)
            return random_crop(path, self.preprocessing.crop, generator(self.augment_seed, epoch, index))
        except BadPhoto as error:
            raise BadData(f"{path}: {error}; remove or replace this file") from error


def random_crop(path: Path, size: int, random: np.random.Generator) -> Pixels:
    """A random part of the photo (50 to 100 % of its area, not too oblong), mirrored half of the time."""
    image = decode(path)
    area = image.width * image.height * random.uniform(0.5, 1.0)
    aspect = math.exp(random.uniform(-math.log(4 / 3), math.log(4 / 3)))
    width, height = min(image.width, math.sqrt(area * aspect)), min(image.height, math.sqrt(area / aspect))
    left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
    pixels = resample(image, (left, top, left + width, top + height), size)
    return np.ascontiguousarray(pixels[:, ::-1]) if random.random() < 0.5 else pixels


@dataclass
class Features:
    """Inputs of the head when the trunk is frozen: what the trunk makes of each photo, computed once and kept.

    A frozen trunk gives the same features for the same photo in every epoch, and computing them is more than 99 % of
    the work. So an epoch takes milliseconds, at the price of no augmentation: that would need new features each time.
    """

    values: Tensor  # (photos, width)
    device: torch.device

    def batches(self, batches: Sequence[Tensor], epoch: int = 0) -> Iterator[Tensor]:  # noqa: ARG002
        """The features for each batch of indices; the same in every epoch."""
        for batch in batches:
            yield self.values[batch].to(self.device)
