"""The page that compares the runs, made of what executed notebooks have printed and drawn: nothing is typed by hand."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

SUMMARY = "application/vnd.dog-breeds.summary+json"
RULE = re.compile(r"-+(?:  -+)*")
COST = re.compile(r"On AWS this costs about (\$\d+\.\d+)")
SINGLE, SPOT, EC2 = "03_single_training", "04_spot_training", "05_ec2_training"
INTRODUCTION = f"""# Runs compared

The same training program three ways: one on-demand instance ([03](notebooks/{SINGLE}.ipynb)), two spot instances that
are taken away once ([04](notebooks/{SPOT}.ipynb)), and a bare EC2 machine ([05](notebooks/{EC2}.ipynb)). Everything on
this page is what the notebooks printed.

- *Wall* seconds: from the request to the end, as a clock on the wall shows them. *Billable* seconds: those that AWS
  charges, of each instance. A spot job's are fewer than it ran: that is the discount.
- *$ to n %*: what had been spent when the validation photos were first answered that well; n is the highest accuracy
  that every run reached.
- *Test top-1*: the share of photos, never seen in training, whose breed the model names right.
"""


class Missing(Exception):
    """What the page is made of is not in the notebooks; says what and where."""


@dataclass(frozen=True)
class Table:
    """A table that a notebook printed."""

    headings: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As a Markdown table; columns of numbers are aligned right."""
        numeric = [all(_is_number(row[column]) for row in self.rows) for column in range(len(self.headings))]
        rule = ["--:" if right else "---" for right in numeric]
        return "\n".join("| " + " | ".join(map(_escaped, row)) + " |" for row in [self.headings, rule, *self.rows])


@dataclass(frozen=True)
class Executed:
    """An executed notebook."""

    path: Path
    document: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Executed:
        """From a file; raises :class:`Missing` where there is none."""
        if not path.is_file():
            raise Missing(f"{path.name} is not in {path.parent}: has that run finished?")
        return cls(path, json.loads(path.read_text(encoding="utf-8")))

    def outputs(self) -> Iterator[dict[str, Any]]:
        """All outputs, in order."""
        for cell in self.document["cells"]:
            yield from cell.get("outputs", [])

    @property
    def title(self) -> str:
        """Its first heading."""
        text = "".join("".join(cell["source"]) for cell in self.document["cells"] if cell["cell_type"] == "markdown")
        return text.partition("\n")[0].removeprefix("# ")

    def table(self, *headings: str) -> Table:
        """The last printed table that has these headings. Raises :class:`Missing`."""
        printed = "\n".join("".join(output.get("text", "")) for output in self.outputs())
        found = [table for table in tables(printed) if set(headings) <= set(table.headings)]
        if not found:
            raise Missing(f"{self.path.name} has printed no table with the columns {', '.join(headings)}")
        return found[-1]

    def figure(self, word: str) -> tuple[str, bytes]:
        """Description and PNG of the last figure whose description has this word. Raises :class:`Missing`."""
        found = [
            (alt, b64decode("".join(output["data"]["image/png"])))
            for output in self.outputs()
            if word in (alt := output.get("metadata", {}).get("image/png", {}).get("alt", ""))
        ]
        if not found:
            raise Missing(f"{self.path.name} has no figure whose description says “{word}”")
        return found[-1]

    def summary(self) -> tuple[str, str]:
        """Its result and what that costs on AWS. Raises :class:`Missing`."""
        told = ["".join(output.get("data", {}).get("text/plain", "")) for output in self.outputs()]
        found = [text for text in told if COST.search(text)]
        if not found:
            raise Missing(f"{self.path.name} has not been run to its summary")
        return found[-1].partition("\n")[0], COST.findall(found[-1])[0]

    @property
    def seconds(self) -> float:
        """How long it ran, as ``make run`` notes it. Raises :class:`Missing` where it has failed, or did not end."""
        noted = self.document["metadata"].get("series", {"failed": "the run was ended while it ran"})
        if noted["failed"]:
            raise Missing(f"{self.path.name} has failed in that run: {noted['failed']}")
        return float(noted["seconds"])

    def bill(self) -> list[dict[str, Any]]:
        """Its bill, item by item. Only what ``make run`` has executed tells it."""
        return [line for output in self.outputs() for line in output.get("data", {}).get(SUMMARY, {}).get("lines", [])]


def tables(printed: str) -> Iterator[Table]:
    """The aligned tables in a printed text: headings, a rule of dashes, rows until one does not keep to the columns."""
    lines = printed.split("\n")
    for number, line in enumerate(lines):
        if number and RULE.fullmatch(line):
            spans = [match.span() for match in re.finditer("-+", line)]
            gaps = [(left[1], right[0]) for left, right in pairwise(spans)]
            rows = []
            for row in lines[number + 1 :]:
                if not row or len(row) > spans[-1][1] or any(row[a:b].strip() for a, b in gaps):
                    break
                rows.append(_cells(row, spans))
            yield Table(_cells(lines[number - 1], spans), rows)


def pages(stored: Path, run: Path | None) -> dict[str, bytes]:
    """The page and its figures, from the stored notebooks, and from those of a finished run where one is given."""
    text, figures = _comparison(stored, "runs")
    parts = [INTRODUCTION, "## As stored in the repository\n", text, _results(stored, timed=False)]
    if run is not None:
        more, drawn = _comparison(run, "run")
        figures |= drawn
        parts += ["## In your run\n", more, _results(run, timed=True), _bill(run)]
    return {"runs.md": "\n".join(parts).encode(), **figures}


def _comparison(folder: Path, name: str) -> tuple[str, dict[str, bytes]]:
    """The three runs in figures, and the life of the one that was interrupted."""
    ec2, spot = Executed.read(folder / f"{EC2}.ipynb"), Executed.read(folder / f"{SPOT}.ipynb")
    money, curve = ec2.figure("dollars"), spot.figure("interrupted")
    text = [
        *("### Time, money, accuracy\n", ec2.table("run", "billable s").markdown(), ""),
        *(f"![{money[0]}]({name}/time-and-money.png)\n", "On the test photos:\n"),
        *(ec2.table("run", "loss", "top1").markdown(), ""),
        *("### What an interruption does\n", "The states of the spot job, and how long each lasted:\n"),
        *(spot.table("status", "seconds").markdown(), "", f"![{curve[0]}]({name}/interruption.png)\n"),
    ]
    return "\n".join(text), {f"{name}/time-and-money.png": money[1], f"{name}/interruption.png": curve[1]}


def _results(folder: Path, *, timed: bool) -> str:
    """What came of each notebook, linked to the stored one."""
    rows = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        notebook = Executed.read(path)
        result, cost = notebook.summary()
        link = f"[{notebook.title}](notebooks/{path.name})"
        rows.append([link, _escaped(result), *([f"{notebook.seconds:.0f} s"] if timed else []), cost])
    headings = ["Notebook", "Result", *(["Time"] if timed else []), "Cost on AWS"]
    rule = ["---", "---", *(["--:"] if timed else []), "--:"]
    lines = ["| " + " | ".join(row) + " |" for row in [headings, rule, *rows]]
    return "\n".join(["### What came of each notebook\n", *lines, ""])


def _bill(folder: Path) -> str:
    """The bill of a run, item by item."""
    rows = [
        [path.stem, line["what"], f"{line['quantity']:.4g}", line["unit"], f"{line['usd']:.6f}"]
        for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))
        for line in Executed.read(path).bill()
    ]
    table = Table(["notebook", "what", "quantity", "unit", "USD"], rows)
    return "\n".join(["### The bill, item by item\n", table.markdown(), ""])


def _cells(line: str, spans: list[tuple[int, int]]) -> list[str]:
    return [line[start:end].strip() for start, end in spans]


def _escaped(text: str) -> str:
    return re.sub(r"([|$*_<\[])", r"\\\1", text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[\d.,]+(e[-+]\d+)?", text) is not None
