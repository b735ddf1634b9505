"""Run stored notebooks under nbval, in order, on one embedded AWS, in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbformat

from tests.notebooks.stored import LAX, ROOT, code, exercises, read

HERE = Path(__file__).parent
# What notebooks use of the checkout. The rest of it they only write: photos, models, state.
USED = ("helpers", "train_src", "lambda", "environment.yml", "requirements.lock", "pyproject.toml")
CELL_TIMEOUT = 900  # seconds; the longest cell takes a minute on two idle cores


@dataclass
class Validated:
    """What came of one notebook: the failures, each naming its cell, and whether all cells were run."""

    failures: list[str] = field(default_factory=list)
    ran: bool = True


class Series:
    """A copy of the checkout in ``folder``, with notebooks that end with the solutions of their exercises."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: dict[str, Validated] = {}
        self._labels: dict[str, list[str]] = {}
        (folder / "notebooks").mkdir(parents=True)
        for name in USED:
            whole = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            whole(ROOT / name, folder / name)
        shutil.copy(HERE / "nbval_conftest.py", folder / "notebooks" / "conftest.py")
        (folder / "notebooks" / "pytest.ini").write_text("[pytest]\n")

    def add(self, name: str, document: Any) -> None:
        """A notebook, followed by the solutions of its exercises as cells whose outputs are not compared."""
        labels = [f"cell [{number}]" for number in range(1, len(code(document)) + 1)]
        for exercise in exercises(document):
            for block in exercise.solution:
                cell = nbformat.v4.new_code_cell(block, metadata={"tags": [LAX]})
                document.cells.append(cell)
                labels.append(f"the solution of exercise {exercise.number}")
        self._labels[name] = labels
        nbformat.write(document, self.folder / "notebooks" / f"{name}.ipynb")

    def validated(self, path: Path) -> Validated:
        """What came of a stored notebook; run once, after those before it."""
        if path.stem not in self.done:
            self.add(path.stem, read(path))
            self.done[path.stem] = self.validate(path.stem)
        return self.done[path.stem]

    def validate(self, name: str) -> Validated:
        """Run a notebook of the folder under nbval."""
        report = self.folder / f"{name}.xml"
        argv = [sys.executable, "-m", "pytest", f"{name}.ipynb", "--nbval", "--nbval-current-env", "--color=no", "-q"]
        argv += ["--nbval-sanitize-with", str(HERE / "sanitize.cfg"), f"--junitxml={report}", "-p", "no:cacheprovider"]
        argv += [f"--nbval-cell-timeout={CELL_TIMEOUT}", "--nbval-kernel-startup-timeout=300", "-p", "no:xdist"]
        done = subprocess.run(
            argv, cwd=self.folder / "notebooks", env=self.environment, check=False, capture_output=True, text=True
        )
        if done.returncode not in (0, 1, 2) or not report.exists():
            return Validated([f"{name}.ipynb: nbval did not run\n{done.stdout}{done.stderr}"], ran=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
        failures = [
            self._told(name, case)
            for case in cases
            if case.find("failure") is not None or case.find("error") is not None
        ]
        if not failures and done.returncode:
            failures = [f"{name}.ipynb: nbval failed\n{done.stdout}{done.stderr}"]
        return Validated(failures, ran=len(cases) == len(self._labels[name]) and done.returncode != 2)

    def _told(self, name: str, case: ElementTree.Element) -> str:
        fault = case.find("failure") if case.find("failure") is not None else case.find("error")
        assert fault is not None
        number = int(case.get("name", "").rpartition(" ")[2])
        told = re.sub(r"^Notebook cell execution failed\nCell \d+: ", "", fault.text or "")  # nbval counts from 0
        return f"{name}.ipynb, {self._labels[name][number]}: {told.strip()}"

    @property
    def environment(self) -> dict[str, str]:
        """A reader's variables, and the state folder of this copy."""
        ours = ("AWS_", "SAGEMAKER_", "LOCALAWS_", "DOGS_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**kept, "LOCALAWS_STATE": str(self.folder / "state"), "PYTHONPATH": str(self.folder)}

    def stop(self) -> None:
        """End the embedded AWS and every process it started."""
        argv = [sys.executable, "-m", "helpers.localaws", "down", "--state", str(self.folder / "state")]
        subprocess.run(argv, cwd=self.folder, env=self.environment, check=True, capture_output=True, timeout=120)
