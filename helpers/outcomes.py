"""What came of a notebook, as its executed copy tells: result, time, bill, memory, or what it failed of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .costs import Line, total
from .footprint import Held
from .settings import Settings
from .show import SUMMARY

RECORD = "series"  # the key of what a run notes in the metadata of an executed copy


@dataclass
class Outcome:
    """What came of one notebook. ``failed`` names the cell and the error, or is empty."""

    notebook: Path
    title: str
    seconds: float = 0.0
    result: str = ""
    lines: list[Line] = field(default_factory=list)
    failed: str = ""
    memory: Held = field(default_factory=Held)  # the most, of everything together, while it ran

    @property
    def usd(self) -> float:
        """What it would cost on AWS, or has cost there: the sum of its lines."""
        return total(self.lines)

    @classmethod
    def read(cls, executed: Path) -> Outcome:
        """From an executed copy; one that no run has noted to have ended has failed."""
        import nbformat

        document = nbformat.read(executed, as_version=4)
        ended = {"failed": f"cell {last_cell(document)}: the run was ended while it ran"}
        noted = document.metadata.get(RECORD, ended)
        result, lines = summary(document)
        return cls(
            notebook=executed,
            title=_title(document),
            seconds=noted.get("seconds", 0.0),
            result=result,
            lines=lines,
            failed=noted.get("failed", ""),
            memory=Held(dict(noted.get("memory", {}))),
        )


def note(executed: Path, seconds: float, memory: Held, failed: str) -> None:
    """Write into an executed copy what only the run knows of it, so that a later run's page can tell it, too."""
    import nbformat

    document = nbformat.read(executed, as_version=4)
    document.metadata[RECORD] = {"seconds": seconds, "memory": memory.by, "failed": failed}
    nbformat.write(document, executed)


def of_runs(out: Path, settings: Settings) -> list[Outcome]:
    """What came of the notebooks that are in ``out``, in order: those of this project on this cloud."""
    import nbformat

    wanted = {name: getattr(settings, name) for name in ("project", "target", "region")}
    found = []
    for executed in sorted(out.glob("[0-9][0-9]_*.ipynb")):
        given = nbformat.read(executed, as_version=4).metadata.get("papermill", {}).get("parameters", {})
        if all(given.get(name) == value for name, value in wanted.items()):
            found.append(Outcome.read(executed))
    return found


def last_cell(document: Any) -> int:
    """The number of the code cell that an executed copy ended in, counted as its kernel did."""
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    return sum(bool(cell.metadata.get("papermill", {}).get("start_time")) for cell in cells)


def summary(document: Any) -> tuple[str, list[Line]]:
    """Result and bill that a notebook's last word gave."""
    for cell in reversed(document.cells):
        for output in cell.get("outputs", []):
            if SUMMARY in output.get("data", {}):
                told = output["data"][SUMMARY]
                return str(told["result"]), [Line(**line) for line in told["lines"]]
    return "", []


def together(outcomes: Iterable[Outcome]) -> Held:
    """The most memory of any of them."""
    return max((one.memory for one in outcomes), key=lambda held: held.bytes, default=Held())


def _title(document: Any) -> str:
    found = re.search(r"^# (.+)$", "\n".join(c.source for c in document.cells if c.cell_type == "markdown"), re.M)
    return found[1] if found else "Untitled"
