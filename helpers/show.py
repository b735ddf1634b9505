"""Show things in a notebook: a table, facts, a figure, and the summary that the series' index page collects."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from . import costs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY = "application/vnd.dog-breeds.summary+json"


def table(rows: Iterable[Any], columns: list[str] | None = None) -> None:
    """Print rows (mappings or dataclasses) as aligned text; ``columns`` chooses and orders them."""
    records = [asdict(row) if is_dataclass(row) and not isinstance(row, type) else dict(row) for row in rows]
    if not records:
        print("(none)")
        return
    names = columns or list(records[0])
    cells = [[_text(record.get(name, "")) for name in names] for record in records]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]
    numeric = [all(isinstance(record.get(name), int | float) for record in records) for name in names]
    rule = "  ".join("-" * width for width in widths)
    print("\n".join([_line(names, widths, numeric), rule, *(_line(row, widths, numeric) for row in cells)]))


def facts(values: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, values), default=0)
    print("\n".join(f"{name:<{width}}  {_text(value)}" for name, value in values.items()))


def figure(drawn: Figure, alt: str) -> None:
    """Show a figure, described by ``alt`` for who cannot see it.

    In 256 colours: figures have few, photos at thumbnail size look the same, and a notebook stays a third of the size.
    """
    from IPython.display import display

    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png")
    picture = Image.open(buffer).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    shown = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt}
    display(shown, metadata={"image/png": {"alt": alt}}, raw=True)  # type: ignore[no-untyped-call]


def summary(result: str, lines: Iterable[costs.Line] = ()) -> None:
    """The last word of a notebook: its result and what it cost, item by item; a run's index page shows both."""
    from IPython.display import display

    bill = list(lines)
    usd = costs.total(bill)
    sources = ", ".join(dict.fromkeys(line.source for line in bill if line.source))
    text = f"{result}\nOn AWS this costs about ${usd:.4f}{f' ({sources})' if sources else ''}."
    payload = {"result": result, "usd": usd, "lines": [asdict(line) for line in bill]}
    display({"text/plain": text, SUMMARY: payload}, raw=True)  # type: ignore[no-untyped-call]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _line(cells: list[str], widths: list[int], numeric: list[bool]) -> str:
    aligned = zip(cells, widths, numeric, strict=True)
    return "  ".join(f"{cell:>{width}}" if right else f"{cell:<{width}}" for cell, width, right in aligned).rstrip()
