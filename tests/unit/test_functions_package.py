"""A package is the same bytes for the same files."""

import os
import zipfile
from io import BytesIO

import pytest

from helpers.functions import package


def test_the_same_files_make_the_same_bytes(tmp_path):
    for number, names in enumerate((("a.py", "deep/b.py"), ("deep/b.py", "a.py"))):
        folder = tmp_path / str(number)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"# {name}")
            os.utime(folder / name, (number * 1000 + 1e9, number * 1000 + 1e9))
    assert package(tmp_path / "0") == package(tmp_path / "1")
    (tmp_path / "1/a.py").write_text("# another")
    assert package(tmp_path / "0") != package(tmp_path / "1")


def test_what_is_left_behind_is_left_out(tmp_path):
    for name in ("app.py", "__pycache__/app.cpython-311.pyc", ".git/config", "deep/.DS_Store", "old.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "tool").write_text("#!/bin/sh")
    (tmp_path / "tool").chmod(0o755)
    with zipfile.ZipFile(BytesIO(package(tmp_path))) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes == {"app.py": 0o100644, "tool": 0o100755}


def test_nothing_is_no_package(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing to package"):
        package(tmp_path)
