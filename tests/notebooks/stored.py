"""The notebooks as they are stored: their cells, what those print, which of it is compared, and the exercises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LAX = "nbval-ignore-output"

EXERCISE = re.compile(r"### (\d)\. (.+)")
SOLUTION = re.compile(r"<details><summary>Solution</summary>\n\n(.+?)\n\n</details>", re.S)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)


@dataclass(frozen=True)
class Exercise:
    """An exercise of a notebook: its number, its title, what it asks, and the code blocks of its solution."""

    number: int
    title: str
    text: str
    solution: list[str]


def read(path: Path) -> Any:
    """A notebook, which is valid."""
    document = nbformat.read(path, as_version=4)
    nbformat.validate(document)
    return document


def code(document: Any) -> list[Any]:
    """The code cells."""
    return [cell for cell in document.cells if cell.cell_type == "code"]


def markdown(document: Any) -> list[str]:
    """The sources of the markdown cells."""
    return [cell.source for cell in document.cells if cell.cell_type == "markdown"]


def is_lax(cell: Any) -> bool:
    """Whether the outputs of a cell may differ from run to run."""
    return LAX in cell.metadata.get("tags", [])


def is_figure(output: Any) -> bool:
    """Whether an output is a picture."""
    return "image/png" in output.get("data", {})


def prints(cell: Any) -> bool:
    """Whether a cell shows text: pictures do not count, of which only the description could be compared."""
    return any(not is_figure(output) for output in cell.outputs)


def exercises(document: Any) -> list[Exercise]:
    """The exercises, in the order of the cells after the heading ``## Exercises``."""
    sources = markdown(document)
    first = next((at + 1 for at, source in enumerate(sources) if source.startswith("## Exercises")), len(sources))
    return [_exercise(source) for source in sources[first:] if EXERCISE.match(source)]


def _exercise(source: str) -> Exercise:
    heading = EXERCISE.match(source)
    solution = SOLUTION.search(source)
    assert heading
    text = source[heading.end() : solution.start() if solution else None].strip()
    return Exercise(int(heading[1]), heading[2], text, PYTHON.findall(solution[1]) if solution else [])
