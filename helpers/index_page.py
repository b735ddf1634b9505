"""The pages that say what came of a run: of its notebooks, and of several runs side by side."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from .cloud import charges
from .costs import Line
from .footprint import GIB
from .outcomes import Outcome, together
from .settings import Settings

SHOWN = ("target", "project", "region", "data", "weights")

FRAME = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .5rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
.ok {{ color: #05664f }} .failed {{ color: #a3260b; font-weight: 600 }} small, footer {{ color: #666 }}
</style>
<h1>{heading}</h1>
{body}
<footer><p>{note}</footer></html>
"""
RUN = """<p>{settings}</p>
<table><tr><th>Notebook<th>Result<th class="number">Time<th class="number">Peak memory<th class="number">Cost on AWS
{rows}
<tr><th>Together<td><td class="number">{seconds:.0f} s<td class="number">{memory:.2f} GiB<td class="number">${usd:.4f}
</table>
<h2>The bill, item by item</h2>
<table><tr><th>Notebook<th>What<th class="number">Quantity<th>Unit<th>Price from<th class="number">USD
{bill}
<tr><th>Together<td><td><td><td><td class="number">${usd:.6f}</table>"""
ROW = """<tr><td><a href="{name}.html">{title}</a><br><small><a href="{name}.ipynb">{name}.ipynb</a></small>
<td class="{state}">{result}<td class="number">{seconds:.1f} s
<td class="number" title="{held}">{memory:.2f} GiB<td class="number">${usd:.4f}"""
BILL_ROW = """<tr><td>{notebook}<td>{what}<td class="number">{quantity:.4g}<td>{unit}<td>{source}
<td class="number">${usd:.6f}"""


def index(outcomes: Sequence[Outcome], settings: Settings, disk: Mapping[str, int], notebooks: int = 0) -> str:
    """The page that links the executed notebooks and shows result, time, memory and cost of each.

    ``disk`` is the bytes of each folder; ``notebooks`` is how many the series has, where not all may have run.
    """
    return FRAME.format(
        title=html.escape(f"{settings.project}: a run of the series"),
        heading=html.escape(_heading(outcomes, notebooks)),
        body=RUN.format(
            settings=html.escape(_settings(settings, SHOWN)),
            rows="\n".join(_row(one) for one in outcomes),
            bill="\n".join(_bill_row(one, line) for one in outcomes for line in one.lines),
            seconds=sum(one.seconds for one in outcomes),
            memory=together(outcomes).bytes / GIB,
            usd=sum(one.usd for one in outcomes),
        ),
        note=_note(outcomes, settings, disk),
    )


def compare(runs: Mapping[str, tuple[Settings, Sequence[Outcome]]], note: str) -> str:
    """The page of several runs side by side: a column each, named and linked by the folder that it is in."""
    names = list(runs)
    outcomes = {name: {one.notebook.stem: one for one in runs[name][1]} for name in names}
    stems = sorted({stem for of_run in outcomes.values() for stem in of_run})
    titles = {stem: one.title for of_run in outcomes.values() for stem, one in of_run.items()}
    head = "".join(f'<th><a href="{html.escape(name)}/index.html">{html.escape(name)}</a>' for name in names)
    rows = [_compared("Settings", [html.escape(_differing(runs, name)) for name in names])]
    for stem in stems:
        rows.append(_compared(html.escape(titles[stem]), [_cell(name, outcomes[name].get(stem)) for name in names]))
    sums = [(sum(one.seconds for one in runs[name][1]), sum(one.usd for one in runs[name][1])) for name in names]
    rows.append(_compared("Together", [f"{seconds:.0f} s, ${usd:.4f}" for seconds, usd in sums]))
    failed = [name for name in names if any(one.failed for one in runs[name][1])]
    return FRAME.format(
        title="Runs of the series, side by side",
        heading=html.escape(f"Stopped: {', '.join(failed)}" if failed else f"{len(names)} runs, side by side"),
        body="<table><tr><th>Notebook" + head + "\n" + "\n".join(rows) + "</table>",
        note=html.escape(note),
    )


def _heading(outcomes: Sequence[Outcome], notebooks: int) -> str:
    failed = next((one for one in outcomes if one.failed), None)
    if failed:
        return f"Stopped at {failed.title}"
    return f"{len(outcomes)} of {notebooks} notebooks ran" if len(outcomes) < notebooks else "All notebooks ran"


def _settings(settings: Settings, names: Sequence[str]) -> str:
    shown = {name: getattr(settings, name) for name in names}
    if shown.get("data") == "":
        shown["data"] = "drawn sample set"
    return " · ".join(f"{name}: {value}" for name, value in shown.items())


def _note(outcomes: Sequence[Outcome], settings: Settings, disk: Mapping[str, int]) -> str:
    most = together(outcomes)
    told = [f"Costs: {charges(settings)}."]
    told.append(f"Peak memory of everything together: {most.bytes / GIB:.1f} GiB{f' ({most})' if most.by else ''}.")
    if disk:
        parts = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in disk.items())
        told.append(f"Disk: {sum(disk.values()) / 1e9:.1f} GB ({parts}).")
    return html.escape(" ".join(told))


def _row(outcome: Outcome) -> str:
    return ROW.format(
        name=outcome.notebook.stem,
        title=html.escape(outcome.title),
        state=_state(outcome),
        result=_result(outcome),
        seconds=outcome.seconds,
        held=html.escape(str(outcome.memory)),
        memory=outcome.memory.bytes / GIB,
        usd=outcome.usd,
    )


def _bill_row(outcome: Outcome, line: Line) -> str:
    told = {name: html.escape(value) for name, value in asdict(line).items() if isinstance(value, str)}
    return BILL_ROW.format(notebook=outcome.notebook.stem, quantity=line.quantity, usd=line.usd, **told)


def _state(outcome: Outcome) -> str:
    return "failed" if outcome.failed else "ok"


def _result(outcome: Outcome) -> str:
    return html.escape(outcome.failed or outcome.result or "ran").replace("\n", "<br>")


def _compared(title: str, cells: Sequence[str]) -> str:
    return f"<tr><th>{title}" + "".join(f"<td>{cell}" for cell in cells)


def _cell(run: str, outcome: Outcome | None) -> str:
    if outcome is None:
        return "did not run"
    page = html.escape(f"{run}/{outcome.notebook.stem}.html")
    figures = f"{outcome.seconds:.1f} s, ${outcome.usd:.4f}, {outcome.memory.bytes / GIB:.2f} GiB"
    return f'<span class="{_state(outcome)}">{_result(outcome)}</span><br><a href="{page}">{figures}</a>'


def _differing(runs: Mapping[str, tuple[Settings, Sequence[Outcome]]], name: str) -> str:
    """The settings of a run that another has another value of."""
    everyone = [settings.model_dump() for settings, _ in runs.values()]
    differ = [one for one in Settings.model_fields if len({str(settings[one]) for settings in everyone}) > 1]
    return _settings(runs[name][0], differ)
