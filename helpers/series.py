"""Run the numbered notebooks headless, in order, and write a page that says what came of each.

``python -m helpers.series --help``; ``make run`` calls it.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from traitlets.config import Config

from . import cloud
from .costs import Line, total
from .settings import ROOT, Settings, SettingsError
from .show import SUMMARY

NOTEBOOKS = ROOT / "notebooks"
# Of a cell's metadata: its tags, and why its outputs may differ from run to run.
KEPT = ("tags", "lax")
# Kernels are spoken to through sockets in the file system: no port, and nothing for anyone else to listen to.
KERNELS = Config({"KernelManager": {"transport": "ipc"}})


@dataclass
class Outcome:
    """What came of one notebook. ``failed`` names the cell and the error, or is empty."""

    notebook: Path
    title: str
    seconds: float = 0.0
    result: str = ""
    lines: list[Line] = field(default_factory=list)
    failed: str = ""

    @property
    def usd(self) -> float:
        """What it would cost on AWS, or has cost there: the sum of its lines."""
        return total(self.lines)


def run(settings: Settings, only: list[str], out: Path) -> list[Outcome]:
    """Execute the notebooks into ``out``; stops after the first that fails. Raises :class:`SettingsError`."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOCALAWS_STATE", str(out / "localaws"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    outcomes = []
    with PeakMemory() as peak:
        try:
            for notebook in chosen(only):
                print(f"{notebook.stem:20}", end=" ", flush=True)
                outcomes.append(execute(notebook, settings, out))
                print(_line(outcomes[-1]), flush=True)
                if outcomes[-1].failed:
                    break
        finally:
            if settings.target == "local":
                cloud.stop_embedded()
    page = index(outcomes, settings, peak.bytes)
    (out / "index.html").write_text(page, encoding="utf-8")
    return outcomes


def chosen(only: list[str]) -> list[Path]:
    """The notebooks to run, in order; raises :class:`SettingsError` for a number that no notebook has."""
    found = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    unknown = [number for number in only if not any(path.name.startswith(f"{number}_") for path in found)]
    if unknown:
        numbers = ", ".join(path.name[:2] for path in found)
        raise SettingsError(f"there is no notebook {', '.join(unknown)}; there are {numbers}")
    return [path for path in found if not only or path.name[:2] in only]


def execute(notebook: Path, settings: Settings, out: Path) -> Outcome:
    """Run one notebook; the executed copy and an HTML page of it go to ``out``."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    executed = out / notebook.name
    outcome = Outcome(executed, _title(nbformat.read(notebook, as_version=4)))
    declared = papermill.inspect_notebook(str(notebook))
    parameters = {name: value for name, value in settings.model_dump().items() if name in declared}
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters,
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            kernel_name="python3",
            config=KERNELS,
        )
    except PapermillExecutionError as error:
        outcome.failed = f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    outcome.seconds = time.monotonic() - started
    document = nbformat.read(executed, as_version=4)
    outcome.result, outcome.lines = _summary(document)
    _write_page(document, executed.with_suffix(".html"))
    return outcome


def store(outcomes: Iterable[Outcome]) -> None:
    """Put executed notebooks back into the repository, without what changes from run to run."""
    import nbformat

    for outcome in outcomes:
        document = nbformat.read(outcome.notebook, as_version=4)
        nbformat.write(clean(document), NOTEBOOKS / outcome.notebook.name)


def clean(document: Any) -> Any:
    """A notebook without injected parameters, timings, progress bars and machine-dependent metadata."""
    import nbformat

    document.cells = [cell for cell in document.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    executed = 0
    for number, cell in enumerate(document.cells, 1):
        cell.metadata = nbformat.from_dict({name: cell.metadata[name] for name in KEPT if cell.metadata.get(name)})
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            executed += 1
            _clean_outputs(cell, executed)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    document.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return document


def _clean_outputs(cell: Any, execution_count: int) -> None:
    """Number the cell as if nothing had been injected, and keep of its outputs what a reader is to see."""
    cell.execution_count = execution_count
    cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = execution_count
        output.get("data", {}).pop(SUMMARY, None)


class PeakMemory:
    """The most memory that kernels, embedded AWS and all that it runs held together, sampled once a second."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(1.0):
            self.bytes = max(self.bytes, sum(_memory(process) for process in self._processes()))

    def _processes(self) -> list[psutil.Process]:
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        try:
            saved = json.loads((cloud.embedded_state() / "server.json").read_text())
            server = psutil.Process(saved["pid"])
            processes += [server, *server.children(recursive=True)]
        except (OSError, ValueError, psutil.Error):
            pass
        return processes


def _memory(process: psutil.Process) -> int:
    """Bytes of a process, what it shares with others counted in part (Linux), else resident bytes."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except psutil.Error:
        return 0


# ---- the index page ----

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{project}: a run of the series</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .5rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
.ok {{ color: #05664f }} .failed {{ color: #a3260b; font-weight: 600 }} small, footer {{ color: #666 }}
</style>
<h1>{heading}</h1>
<p>{settings}</p>
<table><tr><th>Notebook<th>Result<th class="number">Time<th class="number">Cost on AWS
{rows}
<tr><th>Together<td><td class="number">{seconds:.0f} s<td class="number">${usd:.4f}</table>
<h2>The bill, item by item</h2>
<table><tr><th>Notebook<th>What<th class="number">Quantity<th>Unit<th>Price from<th class="number">USD
{bill}
<tr><th>Together<td><td><td><td><td class="number">${usd:.6f}</table>
<footer><p>{note} Peak memory of everything together: {memory:.1f} GB.</footer></html>
"""
ROW = """<tr><td><a href="{name}.html">{title}</a><br><small><a href="{name}.ipynb">{name}.ipynb</a></small>
<td class="{state}">{result}<td class="number">{seconds:.1f} s<td class="number">${usd:.4f}"""

BILL_ROW = """<tr><td>{notebook}<td>{what}<td class="number">{quantity:.4g}<td>{unit}<td>{source}
<td class="number">${usd:.6f}"""


def index(outcomes: list[Outcome], settings: Settings, peak_bytes: int) -> str:
    """The page that links the executed notebooks and shows time, cost and result of each."""
    failed = next((one for one in outcomes if one.failed), None)
    local = settings.target == "local"
    note = "Nothing was charged: costs say what the same seconds would have cost on AWS." if local else ""
    shown = {name: getattr(settings, name) for name in ("target", "project", "region", "data", "weights")}
    return PAGE.format(
        project=html.escape(settings.project),
        heading=f"Stopped at {html.escape(failed.title)}" if failed else "All notebooks ran",
        settings=html.escape(" · ".join(f"{name}: {value or 'drawn sample set'}" for name, value in shown.items())),
        rows="\n".join(_row(one) for one in outcomes),
        bill="\n".join(_bill_row(one, line) for one in outcomes for line in one.lines),
        seconds=sum(one.seconds for one in outcomes),
        usd=sum(one.usd for one in outcomes),
        note=note,
        memory=peak_bytes / 1e9,
    )


def _row(outcome: Outcome) -> str:
    return ROW.format(
        name=outcome.notebook.stem,
        title=html.escape(outcome.title),
        state="failed" if outcome.failed else "ok",
        result=html.escape(outcome.failed or outcome.result or "ran").replace("\n", "<br>"),
        seconds=outcome.seconds,
        usd=outcome.usd,
    )


def _bill_row(outcome: Outcome, line: Line) -> str:
    told = {name: html.escape(value) for name, value in asdict(line).items() if isinstance(value, str)}
    return BILL_ROW.format(notebook=outcome.notebook.stem, quantity=line.quantity, usd=line.usd, **told)


def _line(outcome: Outcome) -> str:
    told = f"FAILED in {outcome.failed}" if outcome.failed else outcome.result.partition("\n")[0]
    return f"{outcome.seconds:6.1f} s  {told}"


def _title(document: Any) -> str:
    found = re.search(r"^# (.+)$", "\n".join(c.source for c in document.cells if c.cell_type == "markdown"), re.M)
    return found[1] if found else "Untitled"


def _summary(document: Any) -> tuple[str, list[Line]]:
    for cell in reversed(document.cells):
        for output in cell.get("outputs", []):
            if SUMMARY in output.get("data", {}):
                told = output["data"][SUMMARY]
                return str(told["result"]), [Line(**line) for line in told["lines"]]
    return "", []


def _write_page(document: Any, path: Path) -> None:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(document)
    path.write_text(page, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the series; 0 if every notebook ran, 1 if one failed, 2 if a setting is bad."""
    parser = argparse.ArgumentParser(prog="python -m helpers.series", description=__doc__)
    parser.add_argument("--only", default="", help="numbers of the notebooks to run: 03 or 03,04 (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what the run writes (default: out)")
    parser.add_argument("--store", action="store_true", help="put the executed notebooks back into notebooks/")
    for name, setting in Settings.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", help=f"{setting.description or ''} (default: {setting.default})"
        )
    options = vars(parser.parse_args(arguments))
    only, out, keep = options.pop("only"), options.pop("out").resolve(), options.pop("store")
    try:
        settings = Settings.of(**{name: value for name, value in options.items() if value is not None})
        outcomes = run(settings, [number for number in re.split(r"[,\s]+", only) if number], out)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    failed = next((one for one in outcomes if one.failed), None)
    print(f"\n{out / 'index.html'}")
    if failed:
        print(f"{failed.notebook.name} failed in {failed.failed}", file=sys.stderr)
        return 1
    if keep:
        store(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
