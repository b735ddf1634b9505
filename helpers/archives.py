"""Archives of photos: downloaded with resumption, unpacked without trust."""

from __future__ import annotations

import errno
import gzip
import http.client
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from helpers.progress import progress

BLOCK = 1 << 20
SPARE_BYTES = 200 << 20  # of disk that no download or archive may take
MOST_FILES = 1_000_000
MOST_BYTES = 200 << 30
MOST_RATIO = 100  # photos hardly shrink: an archive that grows more than this is no archive of photos
# What zipfile and its decompressors raise over damaged archives.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    NotImplementedError,
)


class ArchiveError(RuntimeError):
    """The archive cannot be had or is refused; the message says why and what to do."""


# -- download


def download(url: str, target: Path, *, attempts: int = 5, timeout: float = 60.0, pause: float = 2.0) -> Path:
    """Fetch ``url`` (http or https) into the file ``target``; go on where a lost connection or a call before stopped.

    What has arrived waits in ``target``.part, which becomes ``target`` only when as many bytes are there as the server
    announced. It gives up after ``attempts`` tries in a row that bring nothing (``pause`` seconds apart, then doubled).

    Raises :class:`ArchiveError` where the server refuses, the disk is too small, or the attempts are used up.
    """
    if not url.startswith(("https://", "http://")):
        raise ArchiveError(f"{url} is not an http(s) address; fetch it yourself and give the zip file's path")
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part, fruitless = target.with_name(target.name + ".part"), 0
    while True:
        before = _size(part)
        try:
            _download_more(url, part, timeout)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 425, 429):
                raise ArchiveError(f"{url} answers {error.code} {error.reason}: check the address") from error
            reason: Exception = error
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise ArchiveError(
                    f"{part} cannot be written ({error}): make room, or choose another folder"
                ) from error
            reason = error
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless >= attempts:
            kept = f"{_size(part):,} bytes are kept in {part}"
            raise ArchiveError(f"{url} could not be fetched ({reason}); {kept}: run this again to go on") from reason
        if fruitless:
            time.sleep(pause * 2 ** (fruitless - 1))
    _mark_of(part).unlink(missing_ok=True)
    return part.replace(target)


def _download_more(url: str, part: Path, timeout: float) -> None:
    """One request for what is missing. Raises OSError when it ends early: whatever came is in ``part``."""
    have, mark = _size(part), _mark_of(part)
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if have and mark.is_file():
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", mark.read_text())  # if the file has changed since, it comes whole
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing, or the file has shrunk
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise OSError("the file on the server has changed; starting over") from error
        raise
    with response:
        start = _start_of(response, have)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        _need_room(part.parent, (total or 0) - start, url)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if version and not version.startswith("W/"):
            mark.write_text(version)
        else:  # the server cannot tell whether it is still the same file: never resume
            mark.unlink(missing_ok=True)
        with part.open("r+b" if start else "wb") as file, progress(f"download {part.stem}", total, "bytes") as advance:
            file.seek(start)
            file.truncate()
            advance(start)
            while block := response.read(BLOCK):
                file.write(block)
                advance(len(block))
    if total is not None and _size(part) != total:
        raise OSError(f"the connection ended after {_size(part):,} of {total:,} bytes")


def _start_of(response: Any, have: int) -> int:
    """The offset of the response's first byte: a server may ignore Range and send everything."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
    if not match or int(match[1]) > have:
        raise OSError(f"the server sent another part than asked for: {response.headers.get('Content-Range')}")
    return int(match[1])


def _mark_of(part: Path) -> Path:
    """Where the version (ETag or date) of a partial file is kept."""
    return part.with_name(part.name + ".version")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _need_room(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise ArchiveError(
            f"{what} needs {needed / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free: "
            "make room, or enlarge the volume (SageMaker: notebook instance settings)"
        )


# -- unpack


def unpack(archive: Path, target: Path) -> Path:
    """Unpack the zip file into the folder ``target``, which appears only when everything is in it.

    Everything is judged before anything is written: an archive with a name that leads out of the folder, a link, a
    password, an absurd size, or more than the disk holds is refused (:class:`ArchiveError`).
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened, archive)
            _need_room(target.parent, sum(member.file_size for member in members), str(archive))
            with progress(f"unpack {archive.name}", len(members), "files") as advance:
                for member in members:
                    _write(opened, member, part / member.filename)
                    advance(1)
        part.rename(target)
    except FileExistsError as error:  # names that differ only in case, on a disk that does not tell them apart
        raise ArchiveError(f"{archive} holds two files of one name ({error.filename})") from error
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: an offset that cannot be
            raise
        raise ArchiveError(f"{archive} is damaged or no zip file ({error}): delete it and fetch it again") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, BLOCK)


def _checked(opened: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files to unpack, all of them harmless."""
    members = opened.infolist()
    for member in members:
        if objection := objection_to(member):
            raise ArchiveError(f"{archive} is refused: {objection}. Nothing was unpacked; get the archive elsewhere")
    # What macOS adds beside the photos: its own records, one hidden twin for each file.
    files = [m for m in members if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    names = {PurePosixPath(file.filename) for file in files}
    folders = {folder for name in names for folder in name.parents}
    size, packed = sum(file.file_size for file in files), max(1, archive.stat().st_size)
    if not files:
        objection = "it holds no files"
    elif len(names) < len(files) or names & folders:
        objection = "it holds two files of one name"
    elif len(files) > MOST_FILES:
        objection = f"it holds {len(files):,} files, more than {MOST_FILES:,}"
    elif size > MOST_BYTES or size > MOST_RATIO * packed + BLOCK:
        objection = f"its {packed:,} bytes would grow to {size:,}, which photos do not"
    else:
        return files
    raise ArchiveError(f"{archive} is refused: {objection}. Nothing was unpacked; get the archive elsewhere")


def objection_to(member: zipfile.ZipInfo) -> str:
    """Why this member must not be unpacked; empty if it may."""
    for name in {member.filename, member.orig_filename}:
        shown, parts = ascii(name), re.split(r"[/\\]", name)
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
            return f"{shown} is an absolute path"
        if ".." in parts:
            return f"{shown} leads out of the folder"
        if "\\" in name:
            return f"{shown} has backslashes (zip it again with a current program)"
        if re.search(r"[\x00-\x1f\x7f]", name):
            return f"{shown} has control characters"
        if not PurePosixPath(name).parts:
            return f"{shown} names no file"
        if any(len(os.fsencode(part)) > 255 for part in parts) or len(os.fsencode(name)) > 1024:
            return f"{shown[:60]}… is too long a name"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"{member.filename!a} is a {'link' if stat.S_ISLNK(kind) else 'special file'}"
    if member.flag_bits & 0x1:
        return f"{member.filename!a} is locked with a password"
    return ""


# -- what a training has written


def unpack_tar(archive: IO[bytes], folder: Path) -> None:
    """Unpack a training's tar.gz into the folder: files and folders, and no more of them than the disk holds.

    Links are refused with all else that is neither: through them, a member can lead out of the folder on versions of
    Python whose own filter overlooks it. Raises :class:`ArchiveError`; what was written until then stays.
    """
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            tar.extractall(folder, members=_plain(tar, folder), filter="data")
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, UnicodeError) as error:
        raise ArchiveError(f"the archive cannot be unpacked ({error}): was it written by this series?") from error


def _plain(tar: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The members one by one, as long as they are harmless: a few kilobytes of gzip can hold terabytes."""
    room = shutil.disk_usage(folder).free - SPARE_BYTES
    for number, member in enumerate(tar, 1):
        if not (member.isreg() or member.isdir()):
            raise tarfile.TarError(f"{member.name!a} is neither a file nor a folder")
        room -= member.size
        if room < 0 or member.size < 0 or number > MOST_FILES:
            raise tarfile.TarError("it holds more than this disk has room for")
        yield member
