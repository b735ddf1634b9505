"""What a model's archive may hold, and what it may not."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from helpers.localaws.engines.hosting import model_archive
from helpers.localaws.engines.hosting.model_archive import ArchiveError
from helpers.localaws.errors import AwsError


class Objects:
    """S3 with one object."""

    def __init__(self, content: bytes | None) -> None:
        self._content = content

    def read(self, uri: Any) -> bytes:
        if self._content is None:
            raise AwsError("NoSuchKey", f"no {uri}", 404)
        return self._content


def tar(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for one in members:
            member = tarfile.TarInfo(one[0]) if isinstance(one, tuple) else one
            if isinstance(one, tuple):
                member.size = len(one[1])
            archive.addfile(member, io.BytesIO(one[1]) if isinstance(one, tuple) else None)
    return content.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def fetch(content: bytes | None, folder: Path) -> None:
    model_archive.fetch(Objects(content), "s3://bucket/model.tar.gz", folder)  # type: ignore[arg-type]


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    fetch(tar(("model.pt", b"weights"), ("code/app.py", b"app")), tmp_path / "model")
    assert (tmp_path / "model" / "model.pt").read_bytes() == b"weights"
    assert (tmp_path / "model" / "code" / "app.py").read_bytes() == b"app"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        gzip.compress(b"no tar"),
        tar(("model.pt", b"x" * 100_000))[:-200],
        tar(("../out", b"x")),
        tar(special("link", tarfile.SYMTYPE, "/etc/passwd")),
        tar(special("link", tarfile.SYMTYPE, "../../out")),
        tar(special("hard", tarfile.LNKTYPE, "../out")),
        tar(special("device", tarfile.CHRTYPE)),
    ],
    ids=["empty", "text", "gzip only", "cut off", "..", "link /", "link ..", "hard link", "device"],
)
def test_a_bad_archive_leaves_nothing(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match='Failed to extract model data archive for container "primary" from'):
        fetch(content, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": model_archive.RESERVE + 1_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    fetch(tar(("small", b"0" * 900_000)), tmp_path / "small")
    with pytest.raises(ArchiveError, match="too large"):
        fetch(tar(("one", b"0" * 900_000), ("two", b"0" * 900_000)), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_object_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="Failed to download model data"):
        fetch(None, tmp_path / "model")
