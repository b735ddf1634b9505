"""Deployment packages: checked, kept as the zip file that came, and unpacked for the environments that run them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import shutil
import stat
import uuid
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from .faults import invalid, refuse

TASK = "/var/task"
MAX_ZIP = 50 << 20
MAX_UNZIPPED = 262_144_000
# The files in which a path of the contract may be written: each function has a /var/task of its own.
TEXT = frozenset([".py", ".sh", ".json", ".env", ".txt", ".cfg", ".toml", ".yaml", ".yml", ".ini"])


class CodeStore:
    """Packages by the SHA-256 of their zip file, below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def keep(self, archive: bytes) -> str:
        """Check, write and unpack a package; returns its ``CodeSha256``. Raises as AWS does for a bad zip file."""
        digest = hashlib.sha256(archive).digest()
        code_sha256 = base64.b64encode(digest).decode()
        if not self.task_root(code_sha256).exists():
            part = self._folder / f"{digest.hex()}.{uuid.uuid4().hex}.part"
            try:
                unpack(archive, part)
                _localise(part, self.task_root(code_sha256))
                _write(self.archive(code_sha256), archive)
                _rename(part, self.task_root(code_sha256))
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return code_sha256

    def task_root(self, code_sha256: str) -> Path:
        """The folder that a function sees as /var/task."""
        return self._folder / base64.b64decode(code_sha256).hex()

    def archive(self, code_sha256: str) -> Path:
        """The zip file as it came."""
        return self.task_root(code_sha256).with_suffix(".zip")

    def keep_only(self, used: Collection[str]) -> None:
        """Remove the packages that no function has any more."""
        wanted = {self.task_root(sha).name for sha in used}
        for path in self._folder.iterdir():
            if path.name.split(".")[0] not in wanted:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack a deployment package; raises ``InvalidParameterValueException``, and writes nothing outside ``folder``."""
    if len(archive) > MAX_ZIP:
        refuse(
            "RequestEntityTooLargeException",
            f"The deployment package of {len(archive)} bytes exceeds the maximum of {MAX_ZIP} bytes.",
            413,
        )
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            _check(opened.infolist())
            folder.mkdir(parents=True)
            links = [entry for entry in opened.infolist() if _is_link(entry)]
            for entry in opened.infolist():
                if not _is_link(entry):
                    _extract(opened, entry, folder)
            # Last, so that nothing is written through one; and judged when all are there, since one may lead through
            # another.
            for entry in links:
                _link(folder / entry.filename, opened.read(entry).decode(), folder)
            for entry in links:
                _check_link(folder / entry.filename, folder)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if not any(not entry.is_dir() for entry in entries):
        invalid("Uploaded file must be a non-empty zip")
    if sum(entry.file_size for entry in entries) > MAX_UNZIPPED:
        invalid(f"Unzipped size must be smaller than {MAX_UNZIPPED} bytes")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\0" in entry.filename:
            raise zipfile.BadZipFile(f"{entry.filename} would lie outside")


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    path, mode = folder / entry.filename, entry.external_attr >> 16
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The header's size was checked; reading no more than that is what makes a lying header harmless.
    with opened.open(entry) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    if mode & 0o111:
        path.chmod(0o755)


def _is_link(entry: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _link(path: Path, target: str, folder: Path) -> None:
    """A symbolic link, as ``npm`` and some build tools pack them; only to something inside the package."""
    root = folder.resolve()
    if any((folder / parent).is_symlink() for parent in path.relative_to(folder).parents):
        raise zipfile.BadZipFile(f"{path.name} lies behind a link")
    if not (path.parent / target).resolve().is_relative_to(root):
        raise zipfile.BadZipFile(f"{path.name} points outside")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _check_link(path: Path, folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere
        if not Path(os.path.realpath(path, strict=True)).is_relative_to(folder.resolve()):
            raise zipfile.BadZipFile(f"{path.name} points outside")


def _localise(folder: Path, root: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix in TEXT and path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if TASK.encode() in content:
                path.write_bytes(content.replace(TASK.encode(), str(root).encode()))


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.write_bytes(content)
    part.replace(path)


def _rename(part: Path, root: Path) -> None:
    try:
        part.rename(root)
    except OSError:
        # Another request has unpacked the same package meanwhile.
        if not root.exists():
            raise
