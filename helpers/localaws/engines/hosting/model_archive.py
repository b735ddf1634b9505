"""``model.tar.gz``: from S3 to the folder that every instance of a variant is made from."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ...errors import AwsError
from ...objects import Objects, S3Uri

# What must stay free on the disk whatever an archive claims to hold.
RESERVE = 1 << 30


class ArchiveError(Exception):
    """The model data cannot be had; the message is AWS's FailureReason."""


def fetch(objects: Objects, url: str, folder: Path) -> None:
    """Unpack the archive at ``url`` to ``folder``, all or nothing. Raises :class:`ArchiveError`."""
    try:
        content = objects.read(S3Uri.parse(url))
    except AwsError as error:
        raise ArchiveError(
            f'Failed to download model data for container "primary" from URL: "{url}". Please ensure that there is an '
            "object located at the URL and that the role passed to CreateModel has permissions to download the object."
        ) from error
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        unpack(content, part)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise ArchiveError(
            f'Failed to extract model data archive for container "primary" from URL "{url}". Please ensure that the '
            f"object located at the URL is a valid tar.gz archive. ({error})"
        ) from error
    part.replace(folder)


def unpack(content: bytes, folder: Path) -> None:
    """Unpack a gzipped tar; nothing may leave ``folder``, be a device, or fill the disk. May raise ``TarError``."""
    folder.mkdir(parents=True)
    room = shutil.disk_usage(folder).free - RESERVE
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        archive.extractall(folder, members=_within(archive, room), filter="data")


def _within(archive: tarfile.TarFile, room: int) -> Iterator[tarfile.TarInfo]:
    """The members, until they need more than ``room`` bytes: a few kilobytes of gzip can hold terabytes."""
    for member in archive:
        room -= member.size
        if room < 0:
            raise tarfile.TarError("the model data archive is too large for the disk")
        yield member


__all__ = ["ArchiveError", "fetch", "unpack"]
