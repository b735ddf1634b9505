"""Which tests the workers share out: those that share something slow stay on one of them, the longest begin.

Each worker is a process with fixtures of its own, so whatever tests make once for all of them (a run of the whole
series, a site, a JupyterLab, an endpoint of a module) would else be made twice.
"""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).resolve().parent
# Folders whose files share what their conftest.py makes. All other files stand for themselves.
TOGETHER = ("notebooks", "site", "lab")
# A file of such a folder that shares nothing with the others, and takes long.
APART = ("notebooks/test_outputs.py",)
# Seconds on one idle core, of those that take longest. The order is what matters: what is long and begins last keeps
# one worker waiting for the other.
SECONDS = {
    "notebooks/test_outputs.py": 500,
    "notebooks": 400,
    "lab": 120,
    "site": 60,
}


def group(path: Path) -> str:
    """What a test file is run together with: the name of its folder, or its own."""
    inside = path.relative_to(TESTS)
    together = inside.parts[0] in TOGETHER and inside.as_posix() not in APART
    return inside.parts[0] if together else inside.as_posix()


def rank(path: Path) -> float:
    """By this the files are sorted: the longest groups first."""
    return -SECONDS.get(group(path), 0.0)
