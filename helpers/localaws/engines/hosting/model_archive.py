"""``model.tar.gz``: from S3 to the folder that every instance of a variant is made from."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ...errors import AwsError
from ...objects import Objects, S3Uri

# What must stay free on the disk whatever an archive claims to hold.
RESERVE = 1 << 30
MOST_MEMBERS = 1_000_000


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
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        archive.extractall(folder, members=_within(archive, folder), filter="data")
    _check_links(folder)


def _within(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The members, until they need more room than there is: a few kilobytes of gzip can hold terabytes.

    None is written through a link: the filter judges a link by what is there before it, and links made later (or names
    longer than the system resolves) can turn one that stayed inside into one that leads out.
    """
    room = shutil.disk_usage(folder).free - RESERVE
    for number, member in enumerate(archive, 1):
        room -= member.size
        if room < 0 or member.size < 0 or number > MOST_MEMBERS:
            raise tarfile.TarError("the model data archive is too large for the disk")
        if _leads_through_a_link(folder, member.name) or (
            member.islnk() and (".." in member.linkname or _leads_through_a_link(folder, member.linkname))
        ):
            raise tarfile.TarError(f"{member.name!a} leads through a link")
        yield member


def _leads_through_a_link(folder: Path, name: str) -> bool:
    return any((folder / parent).is_symlink() for parent in PurePosixPath(name.lstrip("/")).parents)


def _check_links(folder: Path) -> None:
    """Raises ``TarError`` where a link, now that all are there, leads out of the folder."""
    root = Path(os.path.realpath(folder))
    for path in folder.rglob("*"):
        if path.is_symlink():
            try:
                found = Path(os.path.realpath(path, strict=True))
            except FileNotFoundError:
                continue  # it leads nowhere
            if not found.is_relative_to(root):
                raise tarfile.TarError(f"the link {path.name!a} leads out of the archive")


__all__ = ["ArchiveError", "fetch", "unpack"]
