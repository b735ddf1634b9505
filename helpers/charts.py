"""Every figure of the series, in one style. Each function returns its Figure: as a cell's last value it is shown.

No window is opened and nothing is drawn twice, since a figure is closed for pyplot before it is returned.
"""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .comparison import Run
    from .concurrency import Busy
    from .costs import Choice
    from .data import BreedCount, Summary
    from .metrics import Use

# Okabe and Ito's colours, told apart by the colour-blind too, in the order to use them.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, GREY = (
    "#0072B2 #E69F00 #009E73 #D55E00 #56B4E9 #CC79A7 #F0E442 #8C8C8C".split()
)
SPLIT_COLOURS = {"train": BLUE, "valid": ORANGE, "test": GREEN}
SERIES = (BLUE, ORANGE, PURPLE, SKY, GREY)  # green and vermilion are left for good and bad
WIDTH = 7.5  # inches: a notebook's column
STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.prop_cycle": f"cycler(color={[BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE]})",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
MOST_LABELS = 45  # of rows that can be read one below the other


def in_style() -> AbstractContextManager[None]:
    """While it is entered, what is drawn is drawn in the series' style."""
    from matplotlib import pyplot as plt

    entered: AbstractContextManager[None] = plt.rc_context(STYLE)
    return entered


def new_figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of the notebook's width and ``height`` inches, and its (rows, columns) array of axes."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **options)
    plt.close(figure)
    return figure, axes


def breed_name(folder: str) -> str:
    """The name to show for a class folder: ``057.Dalmatian`` is Dalmatian."""
    return folder.partition(".")[2].replace("_", " ") or folder


def class_balance(photos: Summary | Sequence[BreedCount]) -> Figure:
    """How many photos of each breed there are, in each split: the largest breed on top."""
    given = photos if isinstance(photos, Sequence) else photos.rows
    rows = sorted(given, key=lambda row: (-row.photos, row.breed), reverse=True)  # upwards, as an axis goes
    with in_style():
        figure, axes = new_figure(height=min(1.0 + 0.2 * len(rows), 8.5))
        ax, lefts = axes[0, 0], [0] * len(rows)
        for split, colour in SPLIT_COLOURS.items():
            counts = [getattr(row, split) for row in rows]
            ax.barh(range(len(rows)), counts, left=lefts, color=colour, label=split, height=0.78)
            lefts = [left + count for left, count in zip(lefts, counts, strict=True)]
        step = -(-len(rows) // MOST_LABELS)
        shown = range(len(rows) - 1, -1, -step)
        ax.set_yticks(list(shown), [breed_name(rows[i].breed) for i in shown])
        ax.tick_params(axis="y", length=0)
        for i in shown:
            ax.annotate(str(lefts[i]), (lefts[i], i), (3, 0), textcoords="offset points", va="center", size=7.5)
        ax.set(ylim=(-0.6, len(rows) - 0.4), xlim=(0, 1.06 * max(lefts)), xlabel="photos")
        ax.set_title(f"{sum(lefts):,} photos of {len(rows)} breeds" + (f" (1 name in {step})" if step > 1 else ""))
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderaxespad=0.2)
    return figure


def photo_grid(photos: Sequence[str | os.PathLike[str]], titles: Sequence[str] = (), columns: int = 6) -> Figure:
    """The photos side by side, each under its title: by default its breed, which is its folder's name."""
    if not photos:
        raise ValueError("there are no photos to show")
    names = titles or [breed_name(Path(photo).parent.name) for photo in photos]
    columns = min(columns, len(photos))
    rows, cell = -(-len(photos) // columns), WIDTH / columns
    names = [textwrap.fill(name, width=max(8, int(11 * cell))) for name in names]
    with in_style():
        figure, axes = new_figure(
            rows * (cell + 0.15 * (1 + max(name.count("\n") for name in names)) + 0.1), rows, columns
        )
        for ax in axes.flat:
            ax.axis("off")
        for ax, photo, name in zip(axes.flat, photos, names, strict=False):
            ax.imshow(thumbnail(photo, pixels=round(cell * STYLE["figure.dpi"])))
            ax.set_title(name, size=8.5, loc="center", pad=3)
    return figure


def thumbnail(photo: str | os.PathLike[str], pixels: int) -> Image.Image:
    """The photo in RGB, at most ``pixels`` wide and high: what a figure shows, it also stores."""
    with Image.open(photo) as image:
        small = image.convert("RGB")
    small.thumbnail((pixels, pixels))
    return small


def learning_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Loss and top-1 accuracy by epoch; ``runs`` are the ``history`` of metrics.json, by the name to show.

    A run is one colour; training is its thin line, validation its thick one with marks.
    """
    with in_style():
        figure, axes = new_figure(2.9, 1, 2)
        for ax, (key, label) in zip(axes[0], (("loss", "loss per photo"), ("top1", "top-1 accuracy")), strict=True):
            for (name, history), colour in zip(runs.items(), (BLUE, VERMILION, GREEN, PURPLE), strict=False):
                epochs = [entry["epoch"] for entry in history]
                ax.plot(epochs, [entry["train"][key] for entry in history], color=colour, lw=1, label=f"{name}, train")
                valid = [entry["valid"][key] for entry in history]
                ax.plot(epochs, valid, "o-", color=colour, lw=2, ms=3.5, label=f"{name}, valid")
            ax.set(xlabel="epoch", title=label)
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.grid()
        axes[0, 0].set_ylim(bottom=0)
        axes[0, 1].set_ylim(0, 1.02)
        axes[0, 1].legend(loc="lower right", fontsize=8)
    return figure


def seen_and_unseen(runs: Mapping[str, Mapping[str, float]]) -> Figure:
    """Accuracies of each run as paired bars: ``{"run": {"as reported": 0.9, "on photos it never saw": 0.5}}``."""
    kinds = list(dict.fromkeys(kind for scores in runs.values() for kind in scores))
    with in_style():
        figure, axes = new_figure(1.1 + 0.6 * len(runs))
        ax, height = axes[0, 0], 0.8 / len(kinds)
        for row, scores in enumerate(runs.values()):
            for place, kind in enumerate(kinds):
                at = -row + 0.4 - height * (place + 0.5)
                ax.barh(at, scores[kind], height=0.92 * height, color=SERIES[place], label=None if row else kind)
                told = f"{scores[kind]:.0%}"
                ax.annotate(told, (scores[kind], at), (4, 0), textcoords="offset points", va="center", size=8)
        ax.set_yticks([-row for row in range(len(runs))], [textwrap.fill(name, 24) for name in runs])
        ax.set(xlim=(0, 1.05), xlabel="accuracy (top-1)")
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(kinds), borderaxespad=0.2)
    return figure


def best_by_luck(scores: Sequence[float], new: float, chance: float) -> Figure:
    """How often which score came up among models that only guess; the best of them, and what it scores elsewhere."""
    from matplotlib.ticker import MultipleLocator

    with in_style():
        figure, axes = new_figure(2.5)
        ax, best = axes[0, 0], max(scores)
        values, counts = np.unique(scores, return_counts=True)
        ax.bar(values, counts, width=0.8 * min(np.diff(values), default=0.01), color=SKY)
        high = counts.max()
        ax.plot([chance] * 2, [0, 1.05 * high], color=GREY, ls="--", lw=1)
        marks = ((best, VERMILION, "chosen: its test score", 1.4), (new, GREEN, "the same model, new photos", 1.18))
        for score, colour, words, level in marks:
            ax.plot([score] * 2, [0, level * high], color=colour, lw=1.2)
            ax.plot([score], [level * high], "v", color=colour, ms=7)
            at, told = (score, level * high), f"{words}, {score:.0%}"
            ax.annotate(told, at, (7, 0), textcoords="offset points", va="center", size=8, color=colour)
        ax.set(xlabel="accuracy on the test photos (dashed: chance)", title=f"{len(scores)} models that only guess")
        ax.set(ylabel="models", xlim=(0, 1.5 * best), ylim=(0, 1.55 * high))
        ax.xaxis.set_major_locator(MultipleLocator(0.05))
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
        ax.grid(axis="y")
        ax.set_axisbelow(True)
    return figure


def confusion_matrix(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Which breed (row) is taken for which (column): shares of a row; exact counts where there is room for them."""
    counts, names = np.asarray(matrix), [breed_name(one) for one in classes]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    few = len(names) <= 16
    with in_style():
        figure, axes = new_figure(6.2 if few else 7.0)
        ax = axes[0, 0]
        image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        step = -(-len(names) // MOST_LABELS)
        shown, size = range(0, len(names), step), 8 if few else 6.5
        ax.set_xticks(list(shown), names[::step], rotation=90, size=size)
        ax.set_yticks(list(shown), names[::step], size=size)
        ax.set(xlabel="predicted breed", ylabel="true breed")
        ax.set_title(f"{np.trace(counts):,} of {counts.sum():,} test photos right")
        for row, column in zip(*np.nonzero(counts), strict=True) if few else ():
            colour = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, counts[row, column], ha="center", va="center", size=7.5, color=colour)
        figure.colorbar(image, ax=ax, shrink=0.6, label="share of the true breed")
    return figure


def predictions(photos: Sequence[str | os.PathLike[str]], answers: Sequence[Mapping[str, Any]]) -> Figure:
    """Photos with the likeliest breed and its probability; where it is not the photo's own, that stands below."""
    titles = []
    for photo, answer in zip(photos, answers, strict=True):
        best, true = answer["predictions"][0], breed_name(Path(photo).parent.name)
        told = f"{best['breed']} {best['probability']:.0%}"
        titles.append(told if best["class"] == Path(photo).parent.name else f"{told} (is {true})")
    return photo_grid(photos, titles)


def _plain_log_axis(ax: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each decade: more would run into one another."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.xaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=15))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def latencies(seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Every call's latency in milliseconds, a row for each name; the line is the median."""
    with in_style():
        figure, axes = new_figure(0.9 + 0.45 * len(seconds))
        ax = axes[0, 0]
        names = list(seconds)[::-1]  # upwards, as an axis goes
        for row, name in enumerate(names):
            milliseconds = 1000 * np.asarray(seconds[name])
            ax.plot(milliseconds, np.full(len(milliseconds), row), "o", color=BLUE, alpha=0.35, ms=5)
            ax.plot([np.median(milliseconds)] * 2, [row - 0.3, row + 0.3], color=VERMILION, lw=2)
            ax.annotate(
                f"{np.median(milliseconds):.0f} ms",
                (np.median(milliseconds), row + 0.3),
                (4, 0),
                textcoords="offset points",
                size=8,
                color=VERMILION,
            )
        ax.set_yticks(range(len(seconds)), names)
        ax.set(xscale="log", xlabel="milliseconds, logarithmic", ylim=(-0.6, len(seconds) - 0.3))
        _plain_log_axis(ax)
        ax.grid(axis="x")
    return figure


def time_and_money(runs: Sequence[Run], accuracy: float) -> Figure:
    """Ways to train: how long each took and what of it was billed; and what its validation accuracy cost."""
    colours = [BLUE, VERMILION, GREEN, PURPLE, ORANGE]
    with in_style():
        figure, (panels,) = new_figure(1.9 + 0.35 * len(runs), 1, 2)
        time, money = panels
        for row, (run, colour) in enumerate(zip(runs, colours, strict=False)):
            time.barh(-row, run.wall_seconds, color=colour, alpha=0.3, height=0.7)
            time.barh(-row, run.billable_seconds, color=colour, height=0.35)
            time.annotate(f"${run.usd:.4f}", (run.wall_seconds, -row), (3, -3), textcoords="offset points", size=8)
            usd, reached = zip(*run.curve(), strict=True)
            money.plot(usd, reached, "o-", ms=3, lw=1.5, color=colour, label=run.name)
        time.set_yticks([-row for row in range(len(runs))], [textwrap.fill(run.name, 16) for run in runs])
        time.set(xlabel="seconds", title="wall (pale) and billable, of each instance")
        time.set_xlim(right=1.25 * max(run.wall_seconds for run in runs))
        money.axhline(accuracy, color=GREY, lw=1, ls="--")
        money.annotate(f"{accuracy:.0%}, reached by all", (0, accuracy), (2, 3), textcoords="offset points", size=8)
        money.set(xlabel="USD spent", title="validation accuracy (top-1)", xlim=(0, None), ylim=(0, 1.02))
        money.legend(loc="lower right", fontsize=8)
        for ax, axis in ((time, "x"), (money, "both")):
            ax.grid(axis=axis)
            ax.set_axisbelow(True)
    return figure


def interrupted(reports: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Training loss by step of runs that should be one and the same: the later ones thin upon the first, which is wide.

    ``reports`` are the training program's, by the name to show. A dashed line stands where a run was taken up again.
    """
    with in_style():
        figure, axes = new_figure(3.0)
        ax = axes[0, 0]
        for (name, report), colour, width in zip(reports.items(), (SKY, VERMILION, GREEN), (6, 1.4, 1.4), strict=False):
            steps, losses = zip(*report["step_loss"], strict=True)
            ax.plot(steps, losses, color=colour, lw=width, label=name, solid_capstyle="round")
            for again in report["resumed"]:
                ax.axvline(again["global_step"], color=colour, lw=1, ls="--")
                told = f"interrupted; taken up after step {again['global_step']:,}, {again['lost_steps']} done again"
                ax.annotate(
                    told,
                    (again["global_step"], 0.98),
                    (4, 0),
                    xycoords=("data", "axes fraction"),
                    textcoords="offset points",
                    va="top",
                    size=8,
                )
        ax.set(xlabel="step", title="training loss per photo", xlim=(0, None))
        ax.set_ylim(0, 1.15 * ax.get_ylim()[1])  # room for the words above the curves
        ax.grid()
        ax.legend(loc="lower left")
    return figure


def trials(
    rows: Sequence[Mapping[str, Any]],
    *,
    photos: int,
    rate: str = "learning-rate",
    batch: str = "batch-size",
    objective: str = "loss per photo",
) -> Figure:
    """The trials of a tuning job that minimises a mean loss over so many validation photos, and the original's mistake.

    Left: the objective against the learning rate, a colour and a marker for each batch size, the best trial ringed.
    Right: the same trials ranked by what the original project minimised, with the one it would have chosen on top.
    """
    from .tuning import ranked_as_the_original  # it knows AWS, whose SDK takes a third of a second to import

    ranked = ranked_as_the_original(rows, photos, batch)
    if not ranked:
        raise ValueError("no trial has a value of the objective")
    best = min(ranked, key=lambda row: (row["objective"], row["number"]))
    sizes = sorted({row[batch] for row in ranked})
    looks = dict(zip(sizes, zip(itertools.cycle(SERIES), itertools.cycle("osD^vP"), strict=False), strict=False))
    with in_style():
        figure, (panels,) = new_figure(max(3.2, 1.3 + 0.23 * len(ranked)), 1, 2, width_ratios=[1.1, 1])
        _draw_objective(panels[0], ranked, looks, (rate, batch, objective), (best, ranked[0]))
        _draw_original(panels[1], ranked, looks, batch, best)
    return figure


def _draw_objective(
    ax: Any,
    rows: Sequence[Mapping[str, Any]],
    looks: Mapping[int, tuple[str, str]],
    names: tuple[str, str, str],
    marked: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> None:
    rate, batch, objective = names
    ax.set(xscale="log", xlabel=rate.replace("-", " "), title=f"{objective}, validation photos")
    _plain_log_axis(ax)
    ax.margins(0.12, 0.18)
    for size, (colour, marker) in looks.items():
        of_size = [row for row in rows if row[batch] == size]
        rates, values = [row[rate] for row in of_size], [row["objective"] for row in of_size]
        ax.plot(rates, values, marker, color=colour, ms=6.5, label=str(size))
    best, chosen = marked
    _ring(ax, best[rate], best["objective"], GREEN, "best" if best is not chosen else "best, and the original's choice")
    if best is not chosen:
        _ring(ax, chosen[rate], chosen["objective"], VERMILION, "the original's choice")
    # Below the axes, since there may be a trial anywhere inside.
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, fontsize=8, handletextpad=0.1).set_title(
        batch.replace("-", " "), {"size": 8}
    )
    ax.grid()
    ax.set_axisbelow(True)


def _ring(ax: Any, x: float, y: float, colour: str, words: str) -> None:
    """Mark one point, and say why above it; the words stay inside the axes, which are logarithmic in x."""
    ax.plot([x], [y], "o", mfc="none", mec=colour, mew=2, ms=14)
    low, high = np.log(ax.get_xlim())
    share = (np.log(x) - low) / (high - low)
    aligned = "left" if share < 0.3 else "right" if share > 0.7 else "center"
    ax.annotate(words, (x, y), (0, 11), textcoords="offset points", ha=aligned, size=8, color=colour)


def _draw_original(
    ax: Any,
    ranked: Sequence[Mapping[str, Any]],
    looks: Mapping[int, tuple[str, str]],
    batch: str,
    best: Mapping[str, Any],
) -> None:
    for place, row in enumerate(ranked):
        chosen, colour = place == 0, looks[row[batch]][0]
        ax.barh(-place, row["original"], color=colour, height=0.7, ec=VERMILION if chosen else "none", lw=2)
        words = f"{row['objective']:.3f} a photo" + (", the best" if row is best else "")
        ax.annotate(words, (row["original"], -place), (4, -3), textcoords="offset points", size=8)
    ax.set_yticks([-place for place in range(len(ranked))], [f"trial {row['number']}, {row[batch]}" for row in ranked])
    ax.set(xlabel="summed loss // number of batches", title="trial, batch size: ranked as the original did")
    ax.set_xlim(right=1.65 * max(1.0, *(row["original"] for row in ranked)))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_axisbelow(True)


def busy(load: Busy, provisioned: int) -> Figure:
    """How many environments a load keeps busy, moment by moment, against its mean and what is kept ready."""
    most = load.most
    with in_style():
        figure, axes = new_figure(2.6)
        ax = axes[0, 0]
        ax.fill_between(load.at, load.environments, step="post", color=SKY, lw=0)
        over = np.maximum(load.environments, provisioned)
        ax.fill_between(load.at, over, provisioned, step="post", color=VERMILION, lw=0, label="more: started on demand")
        ax.axhline(provisioned, color=VERMILION, lw=1.2, ls="--", label=f"{provisioned} kept ready")
        ax.axhline(load.mean, color=BLUE, lw=1.6, label=f"mean {load.mean:.2g}")
        ax.set(xlabel="seconds", xlim=(0, float(load.at[-1])), ylim=(0, 1.35 * most))
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.set_title(f"busy environments: {load.rate:g} requests a second of {load.duration:g} s each")
        ax.legend(loc="upper right", ncols=3, fontsize=8)
        ax.grid(axis="y")
        ax.set_axisbelow(True)
    return figure


def utilisation(rows: Sequence[Use], instance_type: str = "", candidates: Sequence[Choice] = ()) -> Figure:
    """CPU, memory and disk of an instance over time, a line for each host.

    Dashed: where other instance types (and this one) would be full. CPU is in cores, memory in GiB where the size of
    ``instance_type`` is among the ``candidates``, else in per cent.
    """
    if not rows:
        raise ValueError("nothing was measured")
    sizes = {one.type: one for one in candidates if one.vcpu and one.gib}
    gib = sizes[instance_type].gib or 0.0 if instance_type in sizes else 0.0
    cores = {name: float(one.vcpu or 0) for name, one in sizes.items()}
    memories = {name: one.gib or 0.0 for name, one in sizes.items()} if gib else {}
    with in_style():
        figure, (panels,) = new_figure(3.0, 1, 3)
        _draw_use(panels[0], "CPU, cores", rows, lambda row: row.cpu / 100, cores)
        label = "memory, GiB" if gib else "memory, %"
        _draw_use(panels[1], label, rows, lambda row: row.memory * (gib / 100 if gib else 1), memories)
        _draw_use(panels[2], "disk, %", rows, lambda row: row.disk, {"full": 100.0})
        if len({row.host for row in rows}) > 1:
            panels[0].legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=3, fontsize=8)
    return figure


def _draw_use(
    ax: Any, title: str, rows: Sequence[Use], value: Callable[[Use], float], limits: Mapping[str, float]
) -> None:
    began, peak = min(row.time for row in rows), max(map(value, rows))
    for host, colour, style in zip(
        dict.fromkeys(row.host for row in rows), SERIES, ("-", "--", "-.", ":", "-"), strict=False
    ):
        mine = [row for row in rows if row.host == host]
        seconds = [(row.time - began).total_seconds() for row in mine]
        ax.plot(seconds, list(map(value, mine)), style, color=colour, lw=1.6, label=host)
    # The next limit above what was used says most; those far away would only flatten the curves.
    above = sorted({limit for limit in limits.values() if limit >= peak})[:2]
    top = 1.15 * max([peak, *above])
    by_limit: dict[float, list[str]] = {}
    for name, limit in limits.items():
        if limit <= top:
            by_limit.setdefault(limit, []).append(name)
    for limit, names in by_limit.items():
        ax.axhline(limit, color=VERMILION, lw=1, ls=(0, (4, 3)))
        text = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        ax.annotate(text, (1, limit), (0, 2), ("axes fraction", "data"), "offset points", ha="right", size=6.5)
    ax.set(xlabel="seconds", title=title, ylim=(0, top or 1))
    ax.margins(x=0.02)
    ax.grid()
    ax.set_axisbelow(True)


ALARM_LOOKS = {"ALARM": (VERMILION, ""), "OK": ("#E4E4E4", ""), "INSUFFICIENT_DATA": ("white", "////")}


def scaling(windows: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]], target: float) -> Figure:
    """One load and what it did, over time: requests at once, instances, latency, and the two alarms.

    ``windows`` are those of a load's result, ``samples`` the rows of ``scaling.observe``; ``target`` is the policy's.
    """
    begin = min(row["at"] for row in (*windows, *samples))
    at, looked = ([row["at"] - begin for row in rows] for rows in (windows, samples))
    heights = {"height_ratios": [2, 2, 2, 1]}
    with in_style():
        figure, axes = new_figure(6.4, 4, 1, sharex=True, gridspec_kw=heights)
        offered, instances, latency, alarms = axes[:, 0]
        offered.fill_between(at, [row["level"] for row in windows], step="post", color=SKY, alpha=0.45, lw=0)
        offered.plot(at, [row["level"] for row in windows], color=BLUE, drawstyle="steps-post", label="offered")
        carried = [target * row["instances"] for row in samples]
        offered.plot(looked, carried, "--", color=GREY, drawstyle="steps-post", label=f"{target:g} per instance")
        offered.set_title("requests at once")
        desired = [row["desired"] for row in samples]
        instances.plot(looked, desired, ":", color=ORANGE, lw=2, drawstyle="steps-post", label="desired")
        in_service = [row["instances"] for row in samples]
        instances.plot(looked, in_service, color=BLUE, lw=2, drawstyle="steps-post", label="in service")
        instances.yaxis.get_major_locator().set_params(integer=True)
        instances.set_title("instances")
        latency.plot(at, [row["p95"] for row in windows], "--", color=ORANGE, label="p95")
        latency.plot(at, [row["p50"] for row in windows], color=BLUE, label="p50")
        latency.set_title("latency in milliseconds")
        for ax in (offered, instances, latency):
            ax.set_ylim(bottom=0)
            ax.grid()
            _legend_above(ax)
        _draw_alarms(alarms, looked, samples)
    return figure


def _legend_above(ax: Any, **options: Any) -> None:
    """A legend in the line of the title, where it covers nothing."""
    given = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 3, "fontsize": 8, "borderaxespad": 0.1}
    ax.legend(**given, **options)


def _draw_alarms(ax: Any, at: Sequence[float], samples: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.patches import Rectangle

    ends = [*at[1:], at[-1] + (at[-1] - at[-2] if len(at) > 1 else 1.0)]
    for level, which in enumerate(("low", "high")):
        for start, end, row in zip(at, ends, samples, strict=True):
            if row[which] in ALARM_LOOKS:
                colour, hatch = ALARM_LOOKS[row[which]]
                edge = GREY if hatch else colour  # which also draws the hatch
                ax.barh(level, end - start, left=start, height=0.7, color=colour, hatch=hatch, edgecolor=edge, lw=0)
    handles = [
        Rectangle((0, 0), 1, 1, facecolor=colour, hatch=hatch, edgecolor=GREY, label=state)
        for state, (colour, hatch) in ALARM_LOOKS.items()
    ]
    _legend_above(ax, handles=handles)
    ax.set_yticks([0, 1], ["low", "high"])
    ax.set(xlabel="seconds", title="alarms", ylim=(-0.6, 1.6))


def what_if(outcomes: Mapping[str, Any]) -> Figure:
    """Simulated policies over the same traffic (``scaling.simulate``): instances, latency, and what each comes to."""
    with in_style():
        figure, axes = new_figure(5.4, 3, 1, sharex=True, gridspec_kw={"height_ratios": [1.3, 2, 2]})
        rate, instances, latency = axes[:, 0]
        moments = next(iter(outcomes.values())).moments
        rate.fill_between([one.at / 3600 for one in moments], [one.rate for one in moments], color=SKY, alpha=0.6, lw=0)
        rate.set_title("offered requests a second")
        lines = itertools.cycle(("-", "--", "-.", ":"))
        for (name, outcome), colour, line in zip(outcomes.items(), itertools.cycle(SERIES), lines, strict=False):
            hours, lost = [one.at / 3600 for one in outcome.moments], outcome.lost / max(outcome.requests, 1)
            told = f"{name}: p95 {outcome.percentile(95):.2g} s, {lost:.1%} lost, ${outcome.usd:.2f}"
            instances.plot(hours, [one.instances for one in outcome.moments], line, color=colour, lw=1.8, label=told)
            latency.plot(hours, [one.seconds for one in outcome.moments], line, color=colour, lw=1.4)
        instances.yaxis.get_major_locator().set_params(integer=True)
        instances.set_title("instances in service")
        instances.set_ylim(0, 1.9 * max(one.instances for outcome in outcomes.values() for one in outcome.moments))
        instances.legend(loc="upper left", fontsize=8, borderaxespad=0)
        latency.set(yscale="log", xlabel="hours", title="mean latency in seconds, logarithmic")
        for ax in (rate, instances, latency):
            ax.grid()
    return figure
