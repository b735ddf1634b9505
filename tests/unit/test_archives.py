"""Downloads that go on where they stopped; archives that are judged before a byte of them is written."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import archives
from helpers.archives import SPARE_BYTES, ArchiveError, download, objection_to, unpack, unpack_tar

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Server:
    """A web server with one file and faults."""

    content: bytes = CONTENT
    etag: str | None = '"v1"'
    ranges: bool = True
    drop_after: list[int] = field(default_factory=list)  # bytes to send before the line is cut, request by request
    answers: list[int] = field(default_factory=list)  # statuses to answer first, instead of the file
    answers_later: list[int] = field(default_factory=list)  # and those once the file has been sent or cut
    length: bool = True
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(dict(handler.headers))
        if self.answers:
            handler.send_error(self.answers.pop(0))
            return
        start, wanted = 0, handler.headers.get("Range")
        same = handler.headers.get("If-Range") in (None, self.etag)
        if wanted and self.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(self.content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.length:
            handler.send_header("Content-Length", str(len(self.content) - start))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        stop = start + self.drop_after.pop(0) if self.drop_after else len(self.content)
        handler.wfile.write(self.content[start:stop])
        self.answers, self.answers_later = self.answers_later, []


@pytest.fixture
def server() -> Iterator[Server]:
    shared = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shared.answer(self)

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shared.url = f"http://127.0.0.1:{web.server_port}/dogImages.zip"
    thread = Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield shared
    web.shutdown()
    web.server_close()
    thread.join()


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Path]:
    return lambda **options: download(server.url, tmp_path / "in" / "photos.zip", pause=0.01, **options)


def test_a_download(server: Server, get: Callable[..., Path]) -> None:
    path = get()
    assert path.read_bytes() == CONTENT
    assert get() == path
    assert len(server.requests) == 1, "what is there is not fetched again"
    assert [entry.name for entry in path.parent.iterdir()] == ["photos.zip"]


def test_a_lost_connection_is_resumed(server: Server, get: Callable[..., Path]) -> None:
    server.drop_after = [100_000, 500_000]
    assert get().read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=100000-", "bytes=600000-"]


def test_an_earlier_call_is_resumed(server: Server, get: Callable[..., Path], tmp_path: Path) -> None:
    server.drop_after, server.answers_later = [300_000], [500, 500]
    with pytest.raises(ArchiveError, match=r"300,000 bytes are kept in .*photos\.zip\.part: run this again"):
        get(attempts=2)
    assert not (tmp_path / "in" / "photos.zip").exists()
    assert get().read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == "bytes=300000-"
    assert [entry.name for entry in (tmp_path / "in").iterdir()] == ["photos.zip"]


def test_a_server_that_ignores_ranges_is_asked_for_all_again(server: Server, get: Callable[..., Path]) -> None:
    server.ranges, server.drop_after = False, [100_000]
    assert get().read_bytes() == CONTENT


def test_a_file_that_changed_in_between_is_started_over(server: Server, get: Callable[..., Path]) -> None:
    server.drop_after = [100_000]
    changed = CONTENT[::-1]

    def change(handler: BaseHTTPRequestHandler) -> None:
        Server.answer(server, handler)
        server.content, server.etag = changed, '"v2"'

    server.answer = change  # type: ignore[method-assign]
    assert get().read_bytes() == changed


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_version_nothing_is_resumed(server: Server, get: Callable[..., Path], etag: str | None) -> None:
    server.etag, server.drop_after = etag, [100_000]
    assert get().read_bytes() == CONTENT
    assert all("Range" not in request for request in server.requests)


def test_all_bytes_but_no_end(server: Server, get: Callable[..., Path], tmp_path: Path) -> None:
    part = tmp_path / "in" / "photos.zip.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    part.with_name("photos.zip.part.version").write_text('"v1"')
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, get: Callable[..., Path], tmp_path: Path) -> None:
    part = tmp_path / "in" / "photos.zip.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"more")
    part.with_name("photos.zip.part.version").write_text('"v1"')
    assert get().read_bytes() == CONTENT


def test_no_announced_length(server: Server, get: Callable[..., Path]) -> None:
    server.length = False
    assert get().read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server: Server, get: Callable[..., Path]) -> None:
    server.answers = [503, 429, 500]
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(server: Server, get: Callable[..., Path], status: int) -> None:
    server.answers = [status, status]
    with pytest.raises(ArchiveError, match=f"answers {status} .*check the address"):
        get()
    assert len(server.requests) == 1


def test_it_gives_up_in_the_end(server: Server, get: Callable[..., Path]) -> None:
    server.answers = [500] * 9
    with pytest.raises(ArchiveError, match="could not be fetched"):
        get(attempts=3)
    assert len(server.requests) == 3


def test_a_line_that_brings_a_little_each_time_is_worth_going_on(server: Server, get: Callable[..., Path]) -> None:
    server.drop_after = [100_000] * 10
    assert get(attempts=2).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x.zip", "s3://bucket/x.zip"])
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"is not an http\(s\) address"):
        download(url, tmp_path / "x.zip")


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="could not be fetched"):
        download("http://127.0.0.1:9/x.zip", tmp_path / "x.zip", attempts=2, pause=0.01)


def full_disk(_: object) -> Any:
    return shutil._ntuple_diskusage(10**9, 10**9, 1000)


def test_room_is_asked_for_before_the_download(
    get: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    with pytest.raises(ArchiveError, match="make room, or enlarge the volume"):
        get()
    assert not (tmp_path / "in" / "photos.zip").exists()


# -- unpack


def archive(path: Path, members: dict[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as opened:
        for member, content in members.items():
            opened.writestr(member, content)
    return path


def linked(name: str, kind: int = stat.S_IFLNK) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3  # Unix
    info.external_attr = (kind | 0o777) << 16
    return info


def test_unpacking(tmp_path: Path) -> None:
    members: dict[str | zipfile.ZipInfo, bytes] = {
        "a/": b"",
        "a/b/c.jpg": b"photo",
        "a/d.jpg": b"",
        "__MACOSX/a/._d.jpg": b"record",
        "./e.jpg": b"e",
        "ü/ö.jpg": b"u",
    }
    target = unpack(archive(tmp_path / "x.zip", members), tmp_path / "out")
    assert {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()} == {
        "a/b/c.jpg",
        "a/d.jpg",
        "e.jpg",
        "ü/ö.jpg",
    }
    assert (target / "a/b/c.jpg").read_bytes() == b"photo"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x.zip"]


EVIL: list[tuple[str | zipfile.ZipInfo, str]] = [
    ("../evil.jpg", "leads out of the folder"),
    ("a/../../evil.jpg", "leads out of the folder"),
    ("a/..", "leads out of the folder"),
    ("/etc/evil.jpg", "is an absolute path"),
    ("\\\\host\\share\\evil.jpg", "is an absolute path"),
    ("C:\\evil.jpg", "is an absolute path"),
    ("C:evil.jpg", "is an absolute path"),
    ("a\\..\\..\\evil.jpg", "leads out of the folder"),
    ("a\\b.jpg", "has backslashes"),
    ("a/b\n.jpg", "has control characters"),
    ("a/" + "x" * 300 + ".jpg", "is too long a name"),
    (linked("link"), "is a link"),
    (linked("device", stat.S_IFCHR), "is a special file"),
]


@pytest.mark.parametrize(("member", "objection"), EVIL, ids=[str(getattr(m, "filename", m))[:20] for m, _ in EVIL])
def test_evil_members_are_refused_before_anything_is_written(
    tmp_path: Path, member: str | zipfile.ZipInfo, objection: str
) -> None:
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    path = archive(inner / "x.zip", {"good.jpg": b"photo", member: b"../../target"})
    with pytest.raises(ArchiveError, match=rf"{objection}.*Nothing was unpacked"):
        unpack(path, inner / "out")
    assert [p.name for p in inner.iterdir()] == ["x.zip"]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x.zip"]


def test_a_name_cut_by_a_null_is_seen_whole(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {"good.jpgX../../evil": b"photo"})
    path.write_bytes(path.read_bytes().replace(b"good.jpgX..", b"good.jpg\0.."))
    with pytest.raises(ArchiveError, match=r"refused|damaged"):
        unpack(path, tmp_path / "out")


def test_a_locked_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {"good.jpg": b"photo"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="locked with a password"):
        unpack(path, tmp_path / "out")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "x.zip", {"a.jpg": b"1", zipfile.ZipInfo("a.jpg"): b"2"})
    with pytest.raises(ArchiveError, match="two files of one name"):
        unpack(path, tmp_path / "out")
    path = archive(tmp_path / "y.zip", {"a": b"1", "a/b.jpg": b"2"})
    with pytest.raises(ArchiveError, match="two files of one name"):
        unpack(path, tmp_path / "out")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {f"{i}.jpg": bytes(5_000_000) for i in range(4)})
    with pytest.raises(ArchiveError, match="would grow to 20,000,000, which photos do not"):
        unpack(path, tmp_path / "out")


def test_a_size_that_lies_is_noticed(tmp_path: Path) -> None:
    """The declared size is what was judged, so no more than that may come out."""
    path = archive(tmp_path / "x.zip", {"a.jpg": bytes(5_000_000)})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10)))
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    path = archive(tmp_path / "x.zip", {f"{i}.jpg": b"" for i in range(3)})
    with pytest.raises(ArchiveError, match="3 files, more than 2"):
        unpack(path, tmp_path / "out")


def test_room_is_asked_for_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.zip", {"a.jpg": b"photo"})
    monkeypatch.setattr(shutil, "disk_usage", full_disk)
    with pytest.raises(ArchiveError, match="make room"):
        unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"PK\3\4 and nothing more"])
def test_what_is_no_zip_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=r"is damaged or no zip file .*: delete it and fetch it again"):
        unpack(tmp_path / "x.zip", tmp_path / "out")


def test_half_an_archive_leaves_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {f"{i}.jpg": os.urandom(5000) for i in range(20)}, zipfile.ZIP_STORED)
    damaged = bytearray(path.read_bytes())
    damaged[60_000] ^= 255  # in the middle of a photo
    path.write_bytes(damaged)
    with pytest.raises(ArchiveError, match=r"damaged.*Bad CRC-32"):
        unpack(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "b.jpg", "C:", "~", "/", "\\", "\0", "ü", " ", "..."]), max_size=6
)


@given(NAMES, st.sampled_from(["/", "\\"]))
def test_no_name_leads_out(parts: list[str], separator: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name = separator.join(parts)
    if not objection_to(info):
        root = PurePosixPath("/root/folder")
        resolved = PurePosixPath(os.path.normpath(root / name))
        assert root in resolved.parents
        assert "\\" not in name


@given(st.text(max_size=40))
def test_no_text_leads_out(name: str) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    if not objection_to(info):
        assert PurePosixPath("/root") in PurePosixPath(os.path.normpath(f"/root/{name}")).parents


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_anywhere_is_an_archive_error_or_harmless(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a/b.jpg", b"photo" * 20)
        opened.writestr("c.jpg", b"other")
    data = bytearray(buffer.getvalue())
    for position, value in flips:
        data[position % len(data)] = value
    box = tmp_path / "box"
    shutil.rmtree(box, ignore_errors=True)
    box.mkdir()
    (box / "x.zip").write_bytes(data)
    try:
        unpack(box / "x.zip", box / "out")
    except ArchiveError:
        assert [p.name for p in box.iterdir()] == ["x.zip"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["box"]


# -- what a training has written


def tarred(*members: tarfile.TarInfo, content: bytes = b"") -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(content))
    packed.seek(0)
    return packed


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, size
    return member


def test_a_training_s_archive_is_unpacked(tmp_path: Path) -> None:
    unpack_tar(tarred(entry("code", tarfile.DIRTYPE), entry("code/a.py", size=4), content=b"text"), tmp_path)
    assert (tmp_path / "code/a.py").read_bytes() == b"text"


@pytest.mark.parametrize(
    "member",
    [
        entry("../out"),
        entry("a/../../out"),
        entry("link", tarfile.SYMTYPE, "model.pt"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("hard", tarfile.LNKTYPE, "../out"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("device", tarfile.CHRTYPE),
        entry("disk", tarfile.BLKTYPE),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_an_archive_with_anything_but_files_below_is_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack_tar(tarred(member), tmp_path / "in")
    assert [path.name for path in tmp_path.rglob("*")] == ["in"]


def test_an_absolute_name_stays_below(tmp_path: Path) -> None:
    unpack_tar(tarred(entry("/etc/model.pt")), tmp_path)
    assert (tmp_path / "etc/model.pt").exists()


def test_a_tar_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": SPARE_BYTES + 1_000_000}))
    bomb = tarred(entry("one", size=600_000), entry("two", size=600_000), content=bytes(600_000))
    with pytest.raises(ArchiveError, match="more than this disk has room for"):
        unpack_tar(bomb, tmp_path)
    assert not (tmp_path / "two").exists()


CUT = tarred(entry("a", size=5000), content=os.urandom(5000)).getvalue()[:-200]


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no tar"), CUT], ids=["empty", "text", "gzip only", "cut off"]
)
def test_what_is_no_archive_says_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack_tar(io.BytesIO(content), tmp_path)
