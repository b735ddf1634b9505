"""Tells what is broken from what was unlucky: runs the files again in which a few tests have failed.

Tests of real processes, clocks and browsers can meet a machine that is busy for a moment. When no more than
:data:`FEW` tests have failed, ``make test`` runs their files once more, one after another, with nothing beside them.
What fails again is broken, and so is the suite. What passes is named at the end, as what it is: a test that depends on
luck, or a race in the product, to be found (``make test-delays``) and not to be got used to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAST_FAILED = Path(".pytest_cache") / "v" / "cache" / "lastfailed"
FEW = 3


def files_to_run(failed: Iterable[str]) -> list[str]:
    """The files of these tests, by their node ids; none where the tests are too many for bad luck."""
    tests = sorted(failed)
    return sorted({test.partition("::")[0] for test in tests}) if len(tests) <= FEW else []


def run(root: Path) -> int:
    """Run what has failed last in a checkout; pytest's exit code, or 1 where that is not to be run again."""
    record = root / LAST_FAILED
    failed = sorted(json.loads(record.read_text())) if record.exists() else []
    files = files_to_run(failed)
    if not files:
        return 1
    print(f"\n{len(failed)} failed. Once more, with nothing beside them: {', '.join(files)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "-m", "not ray", *files], cwd=root, check=False).returncode
    if code == 0:
        print("\nUNLUCKY: these failed, and passed when run again. Each is a race, or a limit too narrow, to be found:")
        print("\n".join(f"  {test}" for test in failed), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(run(ROOT))
