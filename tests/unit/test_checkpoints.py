"""The checkpoint folder's way to S3: only whole files go there, whenever their host is killed."""

import os
import signal
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines import stopping
from helpers.localaws.engines.channels import DataError
from helpers.localaws.engines.checkpoints import Checkpoints
from helpers.localaws.engines.processes import Processes
from helpers.localaws.errors import AwsError
from helpers.localaws.objects import S3Uri


@dataclass
class Bucket:
    """S3 as the engine sees it."""

    held: dict[str, bytes] = field(default_factory=dict)
    refuses: bool = False

    def keys(self, uri: S3Uri) -> list[str]:
        return sorted(key for key in self.held if key.startswith(uri.key))

    def download(self, uri: S3Uri, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.held[uri.key])

    def write(self, uri: S3Uri, content: bytes) -> None:
        if self.refuses:
            raise AwsError("NoSuchBucket", "gone")
        self.held[uri.key] = content


@dataclass(eq=False)
class Host:
    folder: Path
    exit_code: int | None = None
    torn: set[Path] = field(default_factory=set)
    open: set[Path] = field(default_factory=set)

    def checkpoints(self) -> Path:
        return self.folder

    def being_written(self) -> set[Path]:
        return self.open


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def watching(bucket: Bucket, *hosts: Host) -> tuple[Checkpoints, list[int]]:
    """Checkpoints whose looks the test calls itself, and the uploads that they tell of."""
    told: list[int] = []
    checkpoints = Checkpoints(bucket, "s3://b/c/", hosts, lambda: told.append(len(bucket.held)))
    checkpoints.restore()
    return checkpoints, told


def in_place(path: Path, content: str) -> None:
    """Written as it lies there: its two times are one."""
    path.write_text(content)


def renamed(path: Path, content: str) -> None:
    """Renamed into place, long enough after its last byte for the file system's clock to tell."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(content)
    part.replace(path)
    while path.stat().st_ctime_ns == path.stat().st_mtime_ns:
        path.replace(part)
        part.replace(path)


def test_what_is_in_s3_is_restored_and_not_uploaded_again(bucket, host, tmp_path):
    other = Host(tmp_path / "other")
    bucket.held["c/deep/one"] = b"1"
    bucket.held["cc"] = b"another prefix"
    checkpoints, told = watching(bucket, host, other)
    assert [(one.folder / "deep/one").read_bytes() for one in (host, other)] == [b"1", b"1"]
    bucket.refuses = True
    checkpoints.look()
    checkpoints.look()
    assert checkpoints.close() == told == []


def test_a_file_written_in_place_goes_when_it_is_settled_and_closed(bucket, host):
    checkpoints, told = watching(bucket, host)
    path = host.folder / "model"
    in_place(path, "ha")
    checkpoints.look()
    in_place(path, "half")
    host.open = {path}
    checkpoints.look()
    checkpoints.look()
    host.open = set()
    checkpoints.look()
    assert bucket.held == {}
    checkpoints.look()
    assert (bucket.held, told) == ({"c/model": b"half"}, [1])


def test_a_renamed_file_goes_at_once(bucket, host):
    checkpoints, told = watching(bucket, host)
    renamed(host.folder / "model", "whole")
    checkpoints.look()
    assert (bucket.held, told) == ({"c/model": b"whole"}, [1])


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=64), st.data())
def test_a_host_killed_at_any_byte_leaves_the_checkpoint_before(tmp_path_factory, old, new, data):
    bucket, host = Bucket({"c/model": old}), Host(tmp_path_factory.mktemp("killed") / "host")
    checkpoints, _ = watching(bucket, host)
    written = data.draw(st.integers(0, len(new)))
    looks = data.draw(st.integers(0, 3))
    (host.folder / "model").write_bytes(new[:written])
    host.open = {host.folder / "model"}
    for _ in range(looks):
        checkpoints.look()
    # Killed by the engine, which has looked what it was writing, or by somebody who has not.
    by_engine = data.draw(st.booleans())
    host.exit_code = data.draw(st.sampled_from([137, 143, 1, 0] if by_engine else [137, 143, 1]))
    host.torn, host.open = host.open if by_engine else set(), set()
    checkpoints.close()
    assert bucket.held == {"c/model": old}


@pytest.mark.parametrize("code", [137, 143, 1])
def test_killed_from_outside_what_is_not_settled_stays_away(bucket, host, code):
    bucket.held["c/model"] = b"good"
    checkpoints, _ = watching(bucket, host)
    in_place(host.folder / "model", "ha")
    host.exit_code = code
    assert checkpoints.close() == ["model"]
    assert bucket.held == {"c/model": b"good"}


@pytest.mark.parametrize("code", [0, 137])
def test_at_the_end_whole_files_go(bucket, host, code):
    checkpoints, told = watching(bucket, host)
    renamed(host.folder / "renamed", "whole")
    in_place(host.folder / "closed", "by the program")
    host.exit_code = code
    assert checkpoints.close() == ([] if code == 0 else ["closed"])
    assert set(bucket.held) == ({"c/renamed", "c/closed"} if code == 0 else {"c/renamed"})
    assert told == [], "an interruption for a checkpoint of a host that has ended"


def test_a_killed_process_tells_what_it_was_writing(tmp_path):
    (tmp_path / "read").touch()
    script = "import sys, time\na, b = open('half', 'w'), open('read')\nprint('ready', flush=True)\ntime.sleep(600)"
    ready = threading.Event()
    child = Processes("test-checkpoints").spawn(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={stopping.CONTAINER: str(tmp_path)},
        on_line=lambda _: ready.set(),
        name="writer",
    )
    assert ready.wait(60)
    assert stopping.kill("test-checkpoints", tmp_path) == {tmp_path / "half"}
    assert child.wait() == -signal.SIGKILL


def test_files_go_in_the_order_in_which_they_were_written(bucket, host):
    checkpoints, _ = watching(bucket, host)
    for number, name in enumerate("cab"):
        in_place(host.folder / name, name)
        os.utime(host.folder / name, ns=(number, number))
    host.exit_code = 0
    checkpoints.close()
    assert list(bucket.held) == ["c/c", "c/a", "c/b"]


def test_a_bucket_that_is_gone_fails_the_job_at_its_end(bucket, host):
    checkpoints, _ = watching(bucket, host)
    in_place(host.folder / "model", "x")
    host.exit_code, bucket.refuses = 0, True
    with pytest.raises(DataError, match="Checkpoint upload failed:gone"):
        checkpoints.close()
