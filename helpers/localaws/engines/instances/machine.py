"""What an EC2 instance is here: a folder tree as its disk, a Python, a few commands of its own, and its processes.

Different from AWS, and said in the console: no kernel boots; everything runs as this user, not as root; the system is
this machine's. Absolute paths of the folders in :data:`OWN_FOLDERS` are replaced by the instance's own wherever they
stand in user data and in commands sent by Systems Manager; files that a script fetches are not changed.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from .. import stopping, utilisation
from ..container import Container
from ..processes import Child, Processes
from ..training_host import TEMPORARY, remove, temporary_folder
from .images import Image

OWN_FOLDERS = ("/opt", "/home/ec2-user", "/home/ubuntu", "/root", "/tmp", "/var/log", "/var/lib/cloud", "/srv", "/mnt")
# Not within a longer path, a URL or a variable's value: only where a path begins.
_BEGINNING = re.compile(rf"(?<![\w/.}}~$-])({'|'.join(map(re.escape, OWN_FOLDERS))})(?![\w.-])")
LOG = "var/log/cloud-init-output.log"
# cloud-init's formats for user data other than scripts, by how they begin.
OTHER_FORMATS = ("#cloud-config", "#include", "#part-handler", "#cloud-boothook", "Content-Type:", "MIME-Version:")

_POWER = """\
#!{python} -ISs
# Asks the machine to power {action}, as systemd's command of this name: now, or "+5" minutes from now; "-c" cancels.
import sys, urllib.request
when, cancel = "0", False
for word in sys.argv[1:]:
    if word == "-c":
        cancel = True
    elif word.startswith("+") and word[1:].isdigit():
        when = str(60 * int(word[1:]))
reboot = {reboot} or "-r" in sys.argv[1:]
action = "cancel" if cancel else "reboot" if reboot else "off"
request = urllib.request.Request("{url}/power/" + action + "?seconds=" + when, method="POST")
urllib.request.urlopen(request, timeout=60).read()
"""
_SUDO = """\
#!/bin/sh
# Everything here runs as one user: sudo only takes its options away.
while [ $# -gt 0 ]; do
  case "$1" in
    -u|-g|-C) shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *=*) export "$1"; shift ;;
    *) break ;;
  esac
done
[ $# -eq 0 ] || exec "$@"
"""
_PACKAGES = """\
#!/bin/sh
# This machine's system is not an instance's to change. What is asked for and there already is said to be; what is
# missing fails, as it does where a repository has no such package.
name=$(basename "$0")
action=
missing=0
for word in "$@"; do
  case "$word" in -*) continue ;; esac
  if [ -z "$action" ]; then action=$word; continue; fi
  case "$action" in install|reinstall|upgrade|update) ;; *) continue ;; esac
  case "$word" in
    python3-pip|python3.*-pip) found=$(command -v "${word%-pip}" || true) ;;
    awscli*) found=$(command -v aws || true) ;;
    *) found=$(command -v "${word%%-[0-9]*}" || true) ;;
  esac
  if [ -n "$found" ]; then echo "[localaws] $name: $word is already provided by this machine"
  else echo "[localaws] $name: No match for argument: $word (this machine's packages cannot be changed)" >&2; missing=1
  fi
done
exit $missing
"""
_AWS = """\
#!/bin/sh
# The AWS CLI 2 of an instance asks the metadata service for its region where none is set; the CLI 1 here does not.
[ -n "$AWS_REGION$AWS_DEFAULT_REGION" ] || export AWS_DEFAULT_REGION={region}
exec "{python}" -m awscli "$@"
"""


class Machine:
    """One instance's disk and processes; the disk outlives stops and starts, and goes when the instance does."""

    def __init__(self, folder: Path, identity: str, region: str) -> None:
        self.folder, self._identity, self._region = folder, identity, region

    @property
    def root(self) -> Path:
        """What is ``/`` on an instance of AWS."""
        return (self.folder / "root").resolve()

    @property
    def made(self) -> bool:
        """Whether the disk is there, all of it."""
        return self._mark.is_file()

    @property
    def _mark(self) -> Path:
        # Beside the disk: what is on it is the instance's own to delete.
        return self.folder / "made"

    def make(self, image: Image | None, url: str) -> None:
        """Lay out the disk, anew where that was broken off; ``url`` is where the instance's own addresses are."""
        remove(self.root)
        self._link()
        container = Container(self.root)
        container.make_python()
        for folder in (*OWN_FOLDERS, "/usr/local/bin"):
            (self.root / folder[1:]).mkdir(parents=True, exist_ok=True)
        (self.root / "var/lib/cloud/data").mkdir()
        (self.root / "var/lib/cloud/data/instance-id").write_text(f"{self.folder.name}\n")
        if image is not None and image.deep_learning:
            (self.root / "opt" / "pytorch").symlink_to(self.root / "python")
        texts = {
            "sudo": _SUDO,
            "aws": _AWS.format(python=container.python, region=self._region),
            **dict.fromkeys(("dnf", "yum", "apt-get", "apt"), _PACKAGES),
            **{
                name: _POWER.format(python=sys.executable, url=url, action=action, reboot=action == "on again")
                for name, action in (("shutdown", "off"), ("poweroff", "off"), ("halt", "off"), ("reboot", "on again"))
            },
        }
        for name, text in texts.items():
            script = self.root / "usr" / "local" / "bin" / name
            script.write_text(text)
            script.chmod(0o755)
        self._mark.touch()

    def remove(self) -> None:
        """Remove the disk."""
        self._mark.unlink(missing_ok=True)
        if self._plain_root != self.root:
            self._plain_root.unlink(missing_ok=True)
        remove(self.root)

    def localise(self, text: str) -> str:
        """A script with the instance's own folders where it names a system's."""
        return _BEGINNING.sub(lambda found: f"{self._plain_root}{found[0]}", text)

    def generalise(self, text: str) -> str:
        """Output that reads as it would on AWS."""
        return text.replace(str(self.root), "").replace(str(self._plain_root), "")

    @property
    def _plain_root(self) -> Path:
        """The root by a path that a shell takes without quotes: a link, where the state folder's own has spaces."""
        if re.fullmatch(r"[\w./+-]+", str(self.root)):
            return self.root
        return Path(tempfile.gettempdir()) / f"{TEMPORARY}{self._identity[:8]}-{self.folder.name}"

    def _link(self) -> None:
        """Have the plain root there: whoever clears the temporary folder may have removed it."""
        if self._plain_root != self.root and not self._plain_root.is_symlink():
            self._plain_root.symlink_to(self.root)

    def environment(self, threads: int, extra: Mapping[str, str]) -> dict[str, str]:
        """What a process of the instance starts with."""
        container = Container(self.root)
        inherited = container.environment(threads)
        del inherited["AWS_EC2_METADATA_DISABLED"]
        return {
            **inherited,
            "PATH": f"{self.root}/usr/local/bin:{inherited['PATH']}",
            "TMPDIR": str(temporary_folder(self.root)),
            "USER": "root",
            # One second and one try, the SDKs' defaults, are short where instances share a machine's cores.
            "AWS_METADATA_SERVICE_TIMEOUT": "10",
            "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "3",
            **extra,
            stopping.CONTAINER: str(self.root),
        }

    def run(
        self,
        processes: Processes,
        script: str,
        name: str,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        errors: Path | None = None,
    ) -> Child:
        """Start a script with the interpreter of its first line (sh, where there is none). Raises ``OSError``.

        What it writes to stderr goes to ``on_line`` too, or else to the file ``errors``.
        """
        self._link()
        path = self.root / "var" / "lib" / "cloud" / name
        path.write_text(self.localise(script))
        path.chmod(0o700)
        apart = ["/bin/sh", "-c", 'exec "$@" 2>"$0"', str(errors)] if errors else []
        return processes.spawn(
            [*apart, *self._interpreter(script), str(path)],
            cwd=self._plain_root,
            env=environment,
            on_line=lambda line: on_line(self.generalise(line)),
            name=name,
        )

    def end(self, grace: float = 0.0) -> None:
        """End all of the instance's processes: SIGTERM, SIGKILL for what is left after ``grace`` seconds."""
        found = stopping.processes_below(self._identity, self.root)
        if grace > 0:
            for process in found:
                _send(process, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline and any(_lives(process) for process in found):
                time.sleep(0.05)
        stopping.kill(self._identity, self.root)

    def cpu_seconds(self) -> float:
        """Processor time of the instance's processes and the children they have waited for."""
        return utilisation.measured(stopping.processes_below(self._identity, self.root)).cpu_seconds

    def _interpreter(self, script: str) -> list[str]:
        first = script.split("\n", 1)[0]
        words = shlex.split(first[2:]) if first.startswith("#!") else []
        if words and Path(words[0]).name == "env":
            words = [word for word in words[1:] if not word.startswith("-")]
        if not words:
            return ["/bin/sh"]
        if re.fullmatch(r"python3?(\.\d+)?", Path(words[0]).name):
            return [str(Container(self.root).python), *words[1:]]
        found = words[0] if Path(words[0]).exists() else shutil.which(Path(words[0]).name)
        return [found or words[0], *words[1:]]


def script_of(user_data: bytes) -> str:
    """User data as text, unzipped as cloud-init does; bytes that are no text come out with replacements."""
    if user_data.startswith(b"\x1f\x8b"):
        user_data = gzip.decompress(user_data)
    return user_data.decode(errors="replace")


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
