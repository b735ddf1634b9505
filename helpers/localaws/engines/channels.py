"""The input channels of a training job: which objects they name, and their files on each host.

An object is read once per job and hard-linked into each host's tree: in File mode the data belongs to the job and is
only read by it.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import AwsError
from ..objects import Objects, S3Uri

READ_ONLY = 0o444
LONGEST_NAME = 255  # bytes of a file's name, on Linux
LONGEST_PATH = 1024  # what S3 has of a key; a manifest may say more


class DataError(Exception):
    """Input cannot be downloaded, or output not uploaded, for a reason the user can mend: AWS's ``ClientError``."""


@dataclass(frozen=True)
class Item:
    """One object of a channel, and its path below the channel's folder."""

    uri: S3Uri
    path: str


def find(objects: Objects, source: dict[str, Any]) -> list[Item]:
    """The objects that an S3 data source names, in S3's order; raises :class:`DataError`."""
    uri = S3Uri.parse(source["S3Uri"])
    items = _manifest(objects, uri) if source["S3DataType"] == "ManifestFile" else under(objects, uri)
    paths = {item.path for item in items}
    for item in items:
        _check_path(item, paths)
    return items


def under(objects: Objects, prefix: S3Uri) -> list[Item]:
    """The objects whose keys start with ``prefix``'s key."""
    return [Item(S3Uri(prefix.bucket, key), relative(key, prefix.key)) for key in objects.keys(prefix)]


def relative(key: str, prefix: str) -> str:
    """Where an object that a prefix has found lies in the channel's folder.

    ``data/train/a.jpg`` found by ``data/train`` or ``data/train/`` is ``a.jpg``; an object named in full is its last
    part; one that a part of a name has found (``data/training/a.jpg`` by ``data/train``) keeps its own folder.
    """
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if not key.startswith(folder):
        folder = prefix[: prefix.rfind("/") + 1]
    return key.removeprefix(folder)


def share(items: Sequence[Item], distribution: str, index: int, count: int) -> Sequence[Item]:
    """What host ``index`` of ``count`` gets: everything, or (``ShardedByS3Key``) about 1/count of the objects."""
    return items[index::count] if distribution == "ShardedByS3Key" else items


def download(objects: Objects, items: Sequence[Item], folder: Path, proceed: Callable[[], None]) -> None:
    """Read a channel's objects into ``folder``; ``proceed`` is called before each and may raise to end it."""
    for item in items:
        proceed()
        path = folder / item.path
        if path.exists():
            continue
        try:
            objects.download(item.uri, path)
        except AwsError as error:
            raise DataError(f"Data download failed:{error.message}") from error
        path.chmod(READ_ONLY)


def place(items: Sequence[Item], source: Path, folder: Path, *, copies: bool) -> None:
    """Put a host's share of a downloaded channel into its tree: links, or ``copies`` that the host may change."""
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        path = folder / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if copies:
            shutil.copyfile(source / item.path, path)
        else:
            os.link(source / item.path, path)


def nothing_found(uri: str, region: str, role: str) -> str:
    """AWS's message for a channel without objects."""
    bucket = S3Uri.parse(uri).bucket
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in '
        f'the selected region ({region}), that objects exist under that S3 prefix, and that the role "{role}" has '
        f'"s3:ListBucket" permissions on bucket "{bucket}".'
    )


def _manifest(objects: Objects, uri: S3Uri) -> list[Item]:
    try:
        prefix, *names = json.loads(objects.read(uri))
        start = S3Uri.parse(prefix["prefix"])
        if not all(isinstance(name, str) for name in names):
            raise TypeError("its further elements are not all texts")
    except AwsError as error:
        raise DataError(f"Data download failed:{error.message}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"Data download failed:{uri} is not a manifest ({error}).") from error
    return [Item(S3Uri(start.bucket, start.key + name), name.lstrip("/")) for name in names]


def _check_path(item: Item, paths: set[str]) -> None:
    parts = item.path.split("/")
    if any(len(part.encode(errors="replace")) > LONGEST_NAME for part in parts) or len(item.path) > LONGEST_PATH:
        raise DataError(f"Data download failed:Failed to download data. S3 key: {item.uri} is too long to be a file")
    for sequence, found in (("//", "" in parts), ("..", ".." in parts), (".", "." in parts), ("\0", "\0" in item.path)):
        if found:
            raise DataError(
                f"Data download failed:Failed to download data. S3 key: {item.uri} has an illegal char sub-sequence "
                f"'{sequence}' in it"
            )
    for end in range(1, len(parts)):
        if "/".join(parts[:end]) in paths:
            raise DataError(
                f"Data download failed:Failed to download data. S3 key: {item.uri} lies below another key that would "
                "be a file of the same name as its folder"
            )
