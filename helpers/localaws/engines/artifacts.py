"""What a training job leaves: /opt/ml/model and /opt/ml/output/data of all hosts, merged and uploaded to S3.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-train-storage.html
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import AwsError
from ..objects import Objects, S3Uri
from .channels import DataError

FAST = 1  # gzip's level: weights hardly compress, and level 9 takes ten times as long for one percent


def merge(folders: Mapping[str, Path], note: Callable[[str], None]) -> dict[str, Path]:
    """The files, links and folders below the hosts' folders, by relative path; of one path, the first host's is kept.

    ``folders`` are by host name; ``note`` is told of every file that another host's hides.
    """
    found: dict[str, tuple[str, Path]] = {}
    for host, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if not (path.is_symlink() or path.is_file() or path.is_dir()):
                continue
            first, _ = found.setdefault(name, (host, path))
            if first != host and not path.is_dir():
                note(f"{folder.name}/{name} was written by {first} and by {host}; {first}'s is kept")
    return {name: path for name, (_, path) in found.items()}


def archive(files: dict[str, Path], path: Path) -> None:
    """Write a ``.tar.gz`` of merged files, owned by nobody in particular."""
    with tarfile.open(path, "w:gz", compresslevel=FAST) as tar:
        for name, file in files.items():
            tar.add(file, name, recursive=False, filter=_anonymous)


def upload(
    objects: Objects, files: dict[str, Path], base: S3Uri, name: str, *, compressed: bool, scratch: Path
) -> S3Uri:
    """Upload merged files as ``<base>/<name>.tar.gz``, or one by one below ``<base>/<name>/``; returns where.

    Raises :class:`DataError` where S3 refuses.
    """
    try:
        if compressed:
            path = scratch / f"{name}.tar.gz"
            archive(files, path)
            objects.upload(path, base / path.name)
            path.unlink()
            return base / path.name
        for relative, file in files.items():
            if file.is_file():
                objects.upload(file, base / name / relative)
        return base / f"{name}/"
    except AwsError as error:
        raise DataError(f"Artifact upload failed:{error.message}") from error


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
