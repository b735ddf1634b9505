"""The Python that functions run on: this one's interpreter, with the packages that AWS's runtime brings and no others.

So a function that imports what it does not bring with it fails here as it fails on AWS.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import uuid
import venv
from collections.abc import Iterator
from pathlib import Path

BROUGHT = "boto3 botocore s3transfer jmespath python-dateutil six urllib3".split()
CLIENT = "awslambdaric simplejson snapshot-restore-py".split()
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
# By Lambda's names.
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
# Set to "python", it makes the environments use our own runtime client where AWS's is installed too.
CHOICE = "LOCALAWS_RUNTIME_CLIENT"
LANG = "/var/lang"


class Interpreter:
    """A virtual environment below ``folder`` whose packages are links to this one's, made when first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own_client = os.environ.get(CHOICE) == "python" or importlib.util.find_spec("awslambdaric") is None

    def command(self, handler: str) -> list[str]:
        """What starts a runtime: AWS's runtime client, or our own where AWS has no wheel of it (macOS)."""
        python = str(self.home / "bin" / "python")
        if self._own_client:
            # -P: the folder of the client must not be where the function's imports are looked for.
            return [python, "-P", str(Path(__file__).with_name("runtime_client.py")), handler]
        return [python, "-m", "awslambdaric", handler]

    @functools.cached_property
    def home(self) -> Path:
        """The virtual environment; made by the first look."""
        names = [*BROUGHT, *([] if self._own_client else CLIENT)]
        home = self._folder / _fingerprint(names)
        if not home.exists():
            part = self._folder / f"{uuid.uuid4().hex}.part"
            venv.EnvBuilder(symlinks=True, with_pip=False).create(part)
            packages = next(part.glob("lib/python*/site-packages"))
            for source in _sources(names):
                (packages / source.name).symlink_to(source)
            _settle(part, home)
        return home


def _settle(part: Path, home: Path) -> None:
    try:
        part.rename(home)
    except OSError:
        # Another environment's start has made it meanwhile.
        shutil.rmtree(part)


def _fingerprint(names: list[str]) -> str:
    versions = [f"{name}=={importlib.metadata.version(name)}" for name in names]
    return hashlib.sha256("\n".join([sys.version, sys.prefix, *versions]).encode()).hexdigest()[:16]


def _sources(names: list[str]) -> Iterator[Path]:
    """The files and folders that these distributions have put into site-packages."""
    for name in names:
        distribution = importlib.metadata.distribution(name)
        root = Path(str(distribution.locate_file("")))
        tops = {path.parts[0] for path in distribution.files or []} - {"..", "__pycache__"}
        yield from (root / top for top in sorted(tops) if (root / top).exists())
