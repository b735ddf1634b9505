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


CHAINS = {
    "through a link": [special("out", tarfile.SYMTYPE, "."), ("out/x", b"x")],
    "a link made before what it leads through": [
        special("a", tarfile.SYMTYPE, "s1/s2/../.."),
        special("s1", tarfile.DIRTYPE),
        special("t", tarfile.DIRTYPE),
        special("s1/s2", tarfile.SYMTYPE, "../t"),
    ],
    "a hard link through a link": [
        ("x", b"x"),
        special("here", tarfile.SYMTYPE, "."),
        special("hard", tarfile.LNKTYPE, "here/x"),
    ],
    "a ring": [special("a", tarfile.SYMTYPE, "b"), special("b", tarfile.SYMTYPE, "a")],
}


@pytest.mark.parametrize("members", CHAINS.values(), ids=CHAINS)
def test_links_that_lead_out_together_are_refused(members: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="Failed to extract"):
        fetch(tar(*members), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_links_beyond_what_the_system_resolves_are_refused(tmp_path: Path) -> None:
    """A chain of folders so deep that a link through it is no longer resolved, only spelt: CVE-2025-4517."""
    members, path = [], ""
    for step in "abcdefghijklmnop":
        members += [
            special(f"{path}{'d' * 247}", tarfile.DIRTYPE),
            special(f"{path}{step}", tarfile.SYMTYPE, "d" * 247),
        ]
        path += f"{step}/"
    members += [special(f"{path}{'l' * 254}", tarfile.SYMTYPE, "../" * 16)]
    members += [special("escape", tarfile.SYMTYPE, f"{path}{'l' * 254}/../../outside"), ("escape/x", b"x")]
    (tmp_path / "outside").mkdir()
    with pytest.raises(ArchiveError, match="Failed to extract"):
        fetch(tar(*members), tmp_path / "model")
    assert [found.name for found in tmp_path.rglob("*")] == ["outside"]


def test_links_inside_stay(tmp_path: Path) -> None:
    links = (special("latest", tarfile.SYMTYPE, "v1"), special("same", tarfile.LNKTYPE, "v1/model.pt"))
    nowhere = special("later", tarfile.SYMTYPE, "not-there")
    fetch(tar(("v1/model.pt", b"weights"), *links, nowhere), tmp_path / "model")
    assert (tmp_path / "model/latest/model.pt").read_bytes() == (tmp_path / "model/same").read_bytes() == b"weights"


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
