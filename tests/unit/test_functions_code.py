"""Deployment packages are unpacked inside their folder, or not at all."""

import io
import os
import stat
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.functions.code import CodeStore, unpack
from helpers.localaws.errors import AwsError

UNZIP = "Could not unzip uploaded file"


def made(*entries: tuple[str, bytes, int]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, mode << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def test_a_package_is_kept_once_and_found_by_its_digest(tmp_path):
    store = CodeStore(tmp_path)
    archive = made(
        ("app.py", b"x = '/var/task/data'", 0o644), ("bin/tool", b"#!/bin/sh", 0o755), ("raw", b"/var/task", 0)
    )
    sha = store.keep(archive)
    root = store.task_root(sha)
    assert store.keep(archive) == sha
    assert store.archive(sha).read_bytes() == archive
    assert (root / "app.py").read_text() == f"x = '{root}/data'"
    assert (root / "raw").read_bytes() == b"/var/task", "only text is localised"
    assert os.access(root / "bin/tool", os.X_OK)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([root.name, f"{root.name}.zip"])
    store.keep_only({sha})
    assert root.exists()
    store.keep_only(set())
    assert list(tmp_path.iterdir()) == []


def test_a_link_may_point_inside_only(tmp_path):
    unpack(made(("a/real", b"x", 0o644), ("link", b"a/real", stat.S_IFLNK | 0o777)), tmp_path / "good")
    assert (tmp_path / "good/link").read_text() == "x"
    for target in (b"../../outside", b"/etc/passwd"):
        with pytest.raises(AwsError, match=UNZIP):
            unpack(made(("link", target, stat.S_IFLNK | 0o777)), tmp_path / "bad")


LINK = stat.S_IFLNK | 0o777
CHAINS = {
    "made before what it leads through": [
        ("a", b"s1/s2/../..", LINK),
        ("t/f", b"", 0o644),
        ("s1/s2", b"../t", LINK),
        ("a/x", b"x", 0o644),
    ],
    "only links": [("a", b"s1/s2/../..", LINK), ("t/f", b"", 0o644), ("s1/s2", b"../t", LINK)],
    "a link behind a link": [("t/f", b"", 0o644), ("a", b"t", LINK), ("a/x", b"f", LINK)],
    "a ring": [("f", b"", 0o644), ("a", b"b", LINK), ("b", b"a", LINK)],
}


@pytest.mark.parametrize("entries", CHAINS.values(), ids=CHAINS)
def test_links_that_lead_out_together_are_refused(tmp_path, entries):
    with pytest.raises(AwsError, match=UNZIP):
        CodeStore(tmp_path / "code").keep(made(*entries))
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a/../../../x"])
def test_nothing_lies_outside(tmp_path, name):
    with pytest.raises(AwsError, match=UNZIP):
        unpack(made((name, b"x", 0o644)), tmp_path / "root")
    assert not list(tmp_path.rglob("x"))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_zip_file_are_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("code") / "root"
    with pytest.raises(AwsError, match="InvalidParameterValueException"):
        unpack(content, folder)


def test_a_damaged_zip_file_is_refused_and_leaves_nothing(tmp_path):
    archive = bytearray(made(("app.py", os.urandom(5000), 0o644)))
    archive[100] ^= 0xFF
    with pytest.raises(AwsError, match=UNZIP):
        CodeStore(tmp_path).keep(bytes(archive))
    assert list(tmp_path.iterdir()) == []


def test_a_zip_file_is_at_most_50_mb(tmp_path):
    with pytest.raises(AwsError, match="RequestEntityTooLargeException"):
        unpack(bytes((50 << 20) + 1), tmp_path / "root")
