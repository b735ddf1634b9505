"""A container without a container engine: a folder tree with its own /opt/ml, Python and environment.

AWS's contract is written in absolute paths below ``/opt/ml``. Mount namespaces would give every process its own, but
Ubuntu 24.04 and macOS refuse them to ordinary users; so the path is replaced instead, wherever the contract carries it
(:meth:`Container.localise`): commands, configuration, environment, the SDK's drivers, and the user's own text files.
"""

from __future__ import annotations

import os
import shutil
import site
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

ML = "/opt/ml"
TEXT = frozenset([".py", ".sh", ".json", ".env", ".txt", ".cfg", ".toml", ".yaml", ".yml", ".ini"])
PASSED_ON = (
    # Where packages come from: a container has the machine's package index, but not its user's home.
    "PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CERT PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT SSL_CERT_FILE "
    "SSL_CERT_DIR REQUESTS_CA_BUNDLE LANG LC_ALL TZ LD_LIBRARY_PATH DYLD_LIBRARY_PATH"
).split()
# glibc gives large blocks back to the system after every batch and takes them again, page by page, for the next: most
# of PyTorch's CPU time on small machines. Keeping them made a batch-64 forward pass three times faster.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}


def cores() -> int:
    """The processor cores this machine lets us use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Container:
    """One instance's folder tree below ``home``; make it once, before anything runs in it."""

    def __init__(self, home: Path) -> None:
        self.home = home.resolve()
        self.ml = self.home / "opt" / "ml"
        self._bin = self.home / "python" / "bin"
        for folder in (self.ml, self.home / "tmp", self.home / "root"):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def python(self) -> Path:
        """The interpreter of :meth:`make_python`."""
        return self._bin / "python"

    def localise(self, text: str) -> str:
        """``text`` with this container's own folder where the contract says /opt/ml."""
        return text.replace(ML, str(self.ml))

    def path(self, contract_path: str) -> Path:
        """Where a path of the contract (``/opt/ml/checkpoints``) lies; ``ValueError`` for one outside /opt/ml."""
        if not (contract_path + "/").startswith(ML + "/") or ".." in Path(contract_path).parts:
            raise ValueError(f"{contract_path} does not lie below {ML}")
        return Path(self.localise(contract_path))

    def localise_files(self, folder: Path) -> None:
        """Replace /opt/ml in every text file below ``folder``; the files must be this container's own copies."""
        _replace_below(folder, ML, str(self.ml))

    def generalise(self, text: str) -> str:
        """``text`` with /opt/ml where this container's own folder is: what leaves it reads as it would on AWS."""
        return text.replace(str(self.ml), ML)

    def generalise_files(self, folder: Path) -> None:
        """The way back of :meth:`localise_files`: an artefact must not carry the path of a folder that is soon gone."""
        _replace_below(folder, str(self.ml), ML)

    def make_python(self, commands: Iterable[tuple[str, str]] = ()) -> None:
        """A Python that sees this one's packages and keeps what ``pip install`` adds to itself.

        ``commands`` are further (name, module) pairs to have on PATH, run as ``python -m module``.
        """
        venv.EnvBuilder(symlinks=True, with_pip=False).create(self.home / "python")
        packages = next((self.home / "python").glob("lib/python*/site-packages"))
        # addsitedir also follows the .pth files found there: editable installs keep working.
        lines = [f"import site; site.addsitedir({folder!r})\n" for folder in site.getsitepackages()]
        for name in ("loopback_names", "loopback_store"):
            shutil.copyfile(Path(__file__).with_name(f"{name}.py"), packages / f"_{name}.py")
        lines.append("import _loopback_names, _loopback_store; _loopback_names.install()\n")
        (packages / "_image.pth").write_text("".join(lines))
        for name, module in (("pip", "pip"), ("pip3", "pip"), ("torchrun", "torch.distributed.run"), *commands):
            script = self._bin / name
            script.write_text(f'#!/bin/sh\nexec "{self.python}" -m {module} "$@"\n')
            script.chmod(0o755)

    def environment(self, threads: int) -> dict[str, str]:
        """The environment a container's image starts with, ``threads`` being its share of this machine's cores."""
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        pip_settings = _pip_settings()
        return {
            **passed,
            **({"PIP_CONFIG_FILE": str(pip_settings)} if pip_settings else {}),
            **MALLOC,
            "PATH": f"{self._bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home / "root"),
            "TMPDIR": str(self.home / "tmp"),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "PIP_CACHE_DIR": str(Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pip"),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            # Threads that spin while they wait for each other are fast alone, and five times slower than sleeping ones
            # as soon as anything else wants a core; here the instances, the server and the notebook share them.
            "OMP_WAIT_POLICY": "PASSIVE",
            # There is no instance metadata service on this machine: an SDK that looked for one would only wait.
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _replace_below(folder: Path, old: str, new: str) -> None:
    """Replace ``old`` in every text file below ``folder``."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix in TEXT:
            _replace_in(path, old, new)


def _replace_in(path: Path, old: str, new: str) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    if old in text:
        mode = path.stat().st_mode
        path.unlink()  # the file may be a hard link that other hosts share
        path.write_text(text.replace(old, new), encoding="utf-8")
        path.chmod(mode)


def _pip_settings() -> Path | None:
    """The user's pip configuration, which is not found by itself once HOME is the container's."""
    candidates = (
        Path(os.environ.get("PIP_CONFIG_FILE", "/nonexistent")),
        Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "pip" / "pip.conf",
        Path.home() / ".pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
    )
    return next((path for path in candidates if path.is_file()), None)
