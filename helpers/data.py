"""The photos: fetched, verified, summarised, sampled, and staged to S3 as training channels.

    photos = fetch("https://example.com/dogImages.zip", "data")   # or a zip file, a folder, or None: the drawn set
    report = verify(photos)
    staged = stage(photos, bucket, "dogs/photos", s3, exclude=report.unreadable)
    staged.channel("train")                                       # s3://bucket/dogs/photos/train

The layout throughout is that of the Udacity dog breeds: ``dogImages/{train,valid,test}/NNN.Breed_name/*.jpg``.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image

from helpers.archives import ArchiveError, download, unpack
from helpers.interrupts import interruptible
from helpers.photos import SPLITS, Photo, inspect, walk
from helpers.progress import note, progress
from helpers.samples import draw_sample_set


class DataError(RuntimeError):
    """The photos cannot be had, used or staged; the message says why and what to do."""


# -- fetch


def fetch(source: str | os.PathLike[str] | None, into: str | os.PathLike[str]) -> Path:
    """The dogImages folder of ``source``: a zip's URL, a zip file, a folder (used as it is), or None (the drawn set).

    What has to be made is made in a folder of its own under ``into``, whole or not at all; what is there from an
    earlier call is used again. A download goes on where it stopped.

    Raises :class:`DataError` where there is no such source, no room, an archive that is not to be trusted, or photos in
    another layout.
    """
    into, source = Path(into).expanduser(), str(source or "")
    with interruptible(lambda: "Nothing half made is used: fetch again; a download goes on where it stopped."):
        return _fetched(source, into)


def _fetched(source: str, into: Path) -> Path:
    try:
        if not source:
            return _drawn(into / "sample")
        if "://" in source:
            return _downloaded(source, into)
        path = Path(source).expanduser()
        if path.is_dir():
            return dog_images(path)
        if path.is_file():
            return _unpacked(path, into)
    except ArchiveError as error:
        raise DataError(str(error)) from error
    raise DataError(f"{source} does not exist: give a URL, a zip file, a folder, or nothing for the drawn sample set")


def _drawn(home: Path) -> Path:
    if (home / "dogImages").is_dir():
        note(f"{home / 'dogImages'} is there already")
    else:
        note("drawing the sample set")
    try:
        return draw_sample_set(home)
    except FileExistsError as error:
        raise DataError(str(error)) from error


def _downloaded(url: str, into: Path) -> Path:
    home = into / _home_name(Path(urlsplit(url).path).stem, url)
    if home.is_dir():
        note(f"{home} is there already, from {url}")
        return dog_images(home)
    archive = download(url, home.with_name(home.name + ".zip"))
    unpack(archive, home)
    archive.unlink()  # a notebook instance's volume is small
    return dog_images(home)


def _unpacked(archive: Path, into: Path) -> Path:
    facts = archive.stat()
    home = into / _home_name(archive.stem, f"{archive.resolve()} {facts.st_size} {facts.st_mtime_ns}")
    if home.is_dir():
        note(f"{home} is there already, from {archive}")
    else:
        unpack(archive, home)
    return dog_images(home)


def _home_name(stem: str, identity: str) -> str:
    """A folder for each source, so that photos of two sources are never taken for each other."""
    return (
        f"{re.sub(r'[^A-Za-z0-9._-]', '-', stem)[:60] or 'photos'}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    )


def dog_images(folder: Path) -> Path:
    """The folder, or the one folder in it, that has train, valid and test; :class:`DataError` if there is none."""
    if all((folder / split).is_dir() for split in SPLITS):
        return folder
    found = [
        path for path in (*folder.glob("*"), *folder.glob("*/*")) if all((path / split).is_dir() for split in SPLITS)
    ]
    if len(found) == 1:
        return found[0]
    there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    problem = "is in more than one folder" if found else f"is missing; there is {there}"
    raise DataError(f"{folder}: the layout dogImages/{{train,valid,test}}/NNN.Breed_name/*.jpg {problem}")


# -- verify


@dataclass(frozen=True, repr=False)
class Report:
    """What `verify` found. Photos are named by their path under the folder."""

    folder: Path
    photos: list[Photo]  # every one, also those that cannot be read
    strays: list[str]  # files that are no photo of any class, and are not used

    @property
    def unreadable(self) -> dict[str, str]:
        """Name and reason of each photo that cannot be read: hand it to `stage` as ``exclude``."""
        return {photo.name: photo.problem for photo in self.photos if photo.problem}

    @property
    def readable(self) -> list[Photo]:
        """All others."""
        return [photo for photo in self.photos if not photo.problem]

    @property
    def breeds(self) -> list[str]:
        """Every class that any split knows."""
        return sorted({photo.breed for photo in self.photos})

    @property
    def missing(self) -> dict[str, list[str]]:
        """For each split, the classes of which it has no readable photo."""
        there = {(photo.split, photo.breed) for photo in self.readable}
        absent = {split: [breed for breed in self.breeds if (split, breed) not in there] for split in SPLITS}
        return {split: breeds for split, breeds in absent.items() if breeds}

    @property
    def duplicates(self) -> list[list[str]]:
        """Groups of photos that are the same file, byte for byte."""
        alike = defaultdict(list)
        for photo in self.readable:
            alike[photo.digest].append(photo.name)
        return [names for names in alike.values() if len(names) > 1]

    @property
    def leaks(self) -> list[list[str]]:
        """Those groups that are in two splits: a model is then tested on what it was trained on."""
        return [names for names in self.duplicates if len({name.split("/")[0] for name in names}) > 1]

    @property
    def mislabelled(self) -> list[list[str]]:
        """Those groups that are in two classes."""
        return [names for names in self.duplicates if len({name.split("/")[1] for name in names}) > 1]

    @property
    def sound(self) -> bool:
        """Whether nothing at all was found."""
        return not (self.unreadable or self.strays or self.missing or self.duplicates)

    def __str__(self) -> str:
        """Every count, and the first names of each list."""
        per_split = Counter(photo.split for photo in self.readable)
        counts = ", ".join(f"{split} {per_split[split]:,}" for split in SPLITS)
        lines = [f"{len(self.readable):,} readable photos of {len(self.breeds)} breeds ({counts})"]
        lines += _listing("unreadable", [f"{name}: {problem}" for name, problem in self.unreadable.items()])
        lines += _listing(
            "missing", [f"{split} has no {breed}" for split in self.missing for breed in self.missing[split]]
        )
        lines += _listing("in two splits", [" = ".join(names) for names in self.leaks])
        lines += _listing("in two classes", [" = ".join(names) for names in self.mislabelled])
        lines += _listing("twice in a split", [" = ".join(n) for n in self.duplicates if n not in self.leaks])
        lines += _listing("stray", self.strays)
        return "\n".join(lines if len(lines) > 1 else [*lines, "nothing is missing, damaged or there twice"])

    __repr__ = __str__  # as a cell's last value it is read, too


def _listing(title: str, entries: list[str], shown: int = 10) -> list[str]:
    if not entries:
        return []
    more = [f"  … and {len(entries) - shown:,} more"] if len(entries) > shown else []
    return [f"{title}: {len(entries):,}", *(f"  {entry}" for entry in entries[:shown]), *more]


def verify(folder: str | os.PathLike[str]) -> Report:
    """Read and decode every photo under the dogImages folder, on all cores; what is wrong with any of them.

    Raises :class:`DataError` if the layout is another, or no photo can be read.
    """
    root = dog_images(Path(folder))
    with interruptible(lambda: "No photo was changed: verify again."):
        report = Report(root, inspect(root), walk(root)[1])
    if not report.readable:
        raise DataError(f"{root} holds no photo that can be read\n{report}")
    return report


# -- look at


@dataclass(frozen=True)
class BreedCount:
    """A row of the table of photos."""

    breed: str
    train: int
    valid: int
    test: int

    @property
    def photos(self) -> int:
        """Of all splits."""
        return self.train + self.valid + self.test


@dataclass(frozen=True, repr=False)
class Summary:
    """How many photos of which breed and size there are."""

    rows: list[BreedCount]
    width: tuple[int, float, int]  # least, median, greatest, in pixels
    height: tuple[int, float, int]
    bytes: int

    @property
    def total(self) -> BreedCount:
        """All breeds together."""
        return BreedCount("all", *(sum(getattr(row, split) for row in self.rows) for split in SPLITS))

    def __str__(self) -> str:
        """The totals in words."""
        total = self.total
        counts = ", ".join(f"{split} {getattr(total, split):,}" for split in SPLITS)
        wide, high = (_range(*sizes) for sizes in (self.width, self.height))
        return (
            f"{total.photos:,} photos of {len(self.rows)} breeds: {counts}; {self.bytes / 1e6:,.1f} MB; "
            f"{wide} pixels wide, {high} high"
        )

    __repr__ = __str__


def _range(least: float, middle: float, greatest: float) -> str:
    return f"{least} to {greatest} (median {middle:g})" if least < greatest else f"{least}"


def summarise(folder: str | os.PathLike[str], exclude: Iterable[str] = ()) -> Summary:
    """Count the photos but for ``exclude`` (names, as `Report.unreadable` has them), reading only their headers."""
    root, left_out = dog_images(Path(folder)), set(exclude)
    names = [name for name in walk(root)[0] if name not in left_out]
    if not names:
        raise DataError(f"{root} holds no photos")
    counts = Counter((name.split("/")[1], name.split("/")[0]) for name in names)
    breeds = sorted({breed for breed, _ in counts})
    sizes = [_pixels(root / name) for name in names]
    widths, heights = [width for width, _ in sizes], [height for _, height in sizes]
    return Summary(
        rows=[BreedCount(breed, *(counts[breed, split] for split in SPLITS)) for breed in breeds],
        width=(min(widths), median(widths), max(widths)),
        height=(min(heights), median(heights), max(heights)),
        bytes=sum((root / name).stat().st_size for name in names),
    )


def _pixels(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}): verify first, and pass what it finds as exclude") from error


def sample_photos(
    folder: str | os.PathLike[str], n: int = 12, seed: int = 0, split: str = "train", exclude: Iterable[str] = ()
) -> list[Path]:
    """Paths of ``n`` photos of that split, the same for the same seed, of as many different breeds as there are."""
    root, left_out = dog_images(Path(folder)), set(exclude)
    rng, of_breed = random.Random(seed), defaultdict(list)
    for name in walk(root)[0]:
        if name.startswith(f"{split}/") and name not in left_out:
            of_breed[name.split("/")[1]].append(root / name)
    for paths in of_breed.values():
        rng.shuffle(paths)
    breeds = rng.sample(sorted(of_breed), len(of_breed))
    rounds = max((len(paths) for paths in of_breed.values()), default=0)
    return [of_breed[breed][i] for i in range(rounds) for breed in breeds if i < len(of_breed[breed])][:n]


# -- stage


@dataclass(frozen=True, repr=False)
class StagedData:
    """The photos as they lie in S3."""

    bucket: str
    prefix: str
    photos: int
    bytes: int
    uploaded: int
    skipped: int  # there already, with the same content
    removed: int  # from an earlier set
    left_out: list[str]

    @property
    def uri(self) -> str:
        """Of the whole set."""
        return f"s3://{self.bucket}/{self.prefix}"

    def channel(self, split: str) -> str:
        """The S3 URI of train, valid or test."""
        return f"{self.uri}/{split}"

    def __str__(self) -> str:
        """In one line."""
        return (
            f"{self.photos:,} photos ({self.bytes / 1e6:,.1f} MB) at {self.uri}: {self.uploaded:,} uploaded, "
            f"{self.skipped:,} there already, {self.removed:,} stale removed, {len(self.left_out):,} left out"
        )

    __repr__ = __str__


def stage(
    folder: str | os.PathLike[str], bucket: str, prefix: str, s3_client: Any, exclude: Iterable[str] = ()
) -> StagedData:
    """Make ``s3://bucket/prefix/{train,valid,test}/`` hold exactly the photos of the folder but for ``exclude``.

    In parallel; an object with the same content is left alone, one that is of no photo is removed (a job would train on
    it too). S3 checks each upload against its MD5, and the listing afterwards is compared with what was sent.

    Raises :class:`DataError` where S3 refuses or the listing differs; a second call goes on where this one stopped.
    """
    root, prefix = dog_images(Path(folder)), prefix.strip("/")
    if not prefix:
        raise ValueError("stage needs a prefix: all else under it is removed from the bucket")
    reasons = exclude if isinstance(exclude, Mapping) else dict.fromkeys(exclude, "as asked")
    names = walk(root)[0]
    left_out = [name for name in names if name in reasons]
    for line in _listing("left out", [f"{name}: {reasons[name]}" for name in left_out]):
        note(line)
    wanted = {f"{prefix}/{name}": root / name for name in names if name not in reasons}
    if not wanted:
        raise DataError(f"{root} holds no photos to stage")
    try:
        with interruptible(lambda: f"What has reached s3://{bucket}/{prefix} stays: stage again to send the rest."):
            there = _listed(s3_client, bucket, prefix)
            sent, uploaded = _upload(wanted, bucket, there, s3_client)
            there = _listed(s3_client, bucket, prefix) if uploaded else there
            stale = [key for key in there if key not in wanted]
            _remove(s3_client, bucket, stale)
    except (ClientError, BotoCoreError) as error:
        raise DataError(f"staging to s3://{bucket}/{prefix} stopped: {error}. {_advice(error)}") from error
    if wrong := [key for key in wanted if there.get(key) != sent[key]]:
        raise DataError(f"{len(wrong):,} objects are not in s3://{bucket} as sent, as {wrong[0]}: stage again")
    size = sum(stored.size for stored in sent.values())
    return StagedData(bucket, prefix, len(wanted), size, uploaded, len(wanted) - uploaded, len(stale), left_out)


class _Stored(NamedTuple):
    size: int
    etag: str


def _listed(s3: Any, bucket: str, prefix: str) -> dict[str, _Stored]:
    """What lies under the three splits of the prefix."""
    pages = s3.get_paginator("list_objects_v2")
    return {
        item["Key"]: _Stored(item["Size"], item["ETag"])
        for split in SPLITS
        for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}/{split}/")
        for item in page.get("Contents", ())
    }


def _upload(
    wanted: Mapping[str, Path], bucket: str, there: Mapping[str, _Stored], s3: Any
) -> tuple[dict[str, _Stored], int]:
    """Size and ETag of every object, and how many had to be sent."""
    sent, uploaded = {}, 0
    threads = ThreadPoolExecutor(s3.meta.config.max_pool_connections)
    try:
        tasks = {threads.submit(_put, s3, bucket, key, path, there.get(key)): key for key, path in wanted.items()}
        with progress(f"stage to s3://{bucket}", len(tasks)) as advance:
            for task in as_completed(tasks):
                stored, was_sent = task.result()
                sent[tasks[task]] = stored
                uploaded += was_sent
                advance(1)
    finally:
        threads.shutdown(cancel_futures=True)
    return sent, uploaded


def _put(s3: Any, bucket: str, key: str, path: Path, there: _Stored | None) -> tuple[_Stored, bool]:
    data = path.read_bytes()
    md5 = hashlib.md5(data, usedforsecurity=False)
    if there and there.size == len(data):
        # The ETag is the MD5, but for a bucket under a KMS key: there only the object's own note tells.
        if there.etag.strip('"') == md5.hexdigest():
            return there, False
        if s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("md5") == md5.hexdigest():
            return there, False
    answer = s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=data,
        ContentMD5=b64encode(md5.digest()).decode(),
        ContentType=guess_type(path.name)[0] or "application/octet-stream",
        Metadata={"md5": md5.hexdigest()},
    )
    kms = answer.get("ServerSideEncryption", "").startswith("aws:kms")
    return _Stored(len(data), answer["ETag"] if kms else f'"{md5.hexdigest()}"'), True


def _remove(s3: Any, bucket: str, keys: list[str]) -> None:
    for batch in _batches(keys, 1000):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True})
        if errors := answer.get("Errors"):
            raise DataError(f"s3://{bucket}/{errors[0]['Key']} is stale and cannot be removed: {errors[0]['Message']}")


def _batches(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _advice(error: Exception) -> str:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    match code:
        case "NoSuchBucket":
            return "Run the set-up notebook, which makes the bucket"
        case "AccessDenied" | "403":
            return "These credentials need s3:ListBucket on the bucket and s3:GetObject, PutObject, DeleteObject in it"
    return "Run it again: what is there already is skipped"
