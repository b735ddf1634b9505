"""The figures: drawn without a screen, returned, and readable at any number of breeds."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from helpers import charts, scaling
from helpers.data import BreedCount, Summary


def rendered(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer)
    return Image.open(buffer)


def rows(count: int) -> list[BreedCount]:
    return [BreedCount(f"{i:03d}.Breed_{i}", 10 + i, 3, 2) for i in range(count)]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for i, name in enumerate(["057.Dalmatian", "113.Old_english_sheepdog", "124.Poodle"]):
        path = tmp_path / name / "photo.png"
        path.parent.mkdir()
        Image.new("RGB" if i else "L", (300 + 100 * i, 200), 128 if not i else (10, 60, 110)).save(path)
        paths.append(path)
    return paths


def labels(figure: Figure) -> list[str]:
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def test_class_balance_shows_every_breed_and_split() -> None:
    figure = charts.class_balance(rows(12))
    axes = figure.axes[0]
    assert labels(figure)[0] == "Breed 11", "the largest is on top"
    assert len(labels(figure)) == 12
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "valid", "test"]
    assert sum(bar.get_extents().width for bar in axes.patches) > 0
    assert len(axes.patches) == 3 * 12
    assert axes.get_title(loc="left") == "246 photos of 12 breeds"
    assert rendered(figure).size[0] == 750


def test_class_balance_takes_a_summary() -> None:
    summary = Summary(rows(3), (1, 1, 1), (1, 1, 1), 1)
    assert labels(charts.class_balance(summary)) == ["Breed 2", "Breed 1", "Breed 0"]


def test_equal_breeds_are_in_the_order_of_their_numbers() -> None:
    figure = charts.class_balance([BreedCount("002.B", 1, 1, 1), BreedCount("001.A", 1, 1, 1)])
    heights = dict(zip(labels(figure), figure.axes[0].get_yticks(), strict=True))
    assert heights["A"] > heights["B"]


def test_of_many_breeds_some_are_named_and_it_is_said() -> None:
    figure = charts.class_balance(rows(133))
    assert len(labels(figure)) <= charts.MOST_LABELS
    assert len(figure.axes[0].patches) == 3 * 133
    assert "(1 name in 3)" in figure.axes[0].get_title(loc="left")
    assert rendered(figure).size[1] <= 900


def test_class_balance_of_an_empty_split() -> None:
    rendered(charts.class_balance([BreedCount("001.A", 5, 0, 0)]))


def test_the_grid_names_each_photo_by_its_folder(photos: list[Path]) -> None:
    figure = charts.photo_grid(photos, columns=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Dalmatian", "Old english sheepdog", "Poodle", ""]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0]
    assert rendered(figure).size[0] == 750


def test_the_grid_takes_other_titles_and_breaks_long_ones(photos: list[Path]) -> None:
    figure = charts.photo_grid(photos * 2, titles=["Old english sheepdog 93 %"] * 6)
    assert figure.axes[0].get_title() == "Old english\nsheepdog 93 %"


def test_the_grid_stores_no_more_pixels_than_it_shows(photos: list[Path]) -> None:
    image = charts.photo_grid(photos, columns=3).axes[2].images[0].get_array()
    assert image is not None
    assert max(image.shape) <= 250


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="no photos to show"):
        charts.photo_grid([])


def test_figures_are_closed_and_the_callers_style_is_kept(photos: list[Path]) -> None:
    before = dict(mpl.rcParams)
    charts.class_balance(rows(2))
    charts.photo_grid(photos)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_no_screen_is_needed(tmp_path: Path) -> None:
    script = (
        "from helpers import charts; from helpers.data import BreedCount;"
        f"charts.class_balance([BreedCount('001.A', 1, 1, 1)]).savefig({str(tmp_path / 'x.png')!r})"
    )
    bare = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    }
    subprocess.run([sys.executable, "-c", script], check=True, env=bare, cwd=Path(__file__).parents[2])
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_breed_names() -> None:
    assert charts.breed_name("057.Dalmatian") == "Dalmatian"
    assert charts.breed_name("113.Old_english_sheepdog") == "Old english sheepdog"
    assert charts.breed_name("wolf") == "wolf"


def test_the_colours_differ_in_lightness_too() -> None:
    """So that they are told apart in print, and by those who see no colours."""

    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    shades = sorted(lightness(colour) for colour in charts.SPLIT_COLOURS.values())
    assert min(b - a for a, b in pairwise(shades)) > 15


def test_an_interruption_is_marked_on_the_curve_of_its_run() -> None:
    curve = [[step, 2.5 / step] for step in range(1, 40)]
    again = {"global_step": 17, "lost_steps": 3, "lost_photos": 96}
    reports = {"one": {"step_loss": curve, "resumed": []}, "two": {"step_loss": curve, "resumed": [again]}}
    (axes,) = charts.interrupted(reports).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert [text.get_text() for text in axes.texts] == ["interrupted; taken up after step 17, 3 done again"]


def test_a_scaled_load_is_shown_with_its_instances_latency_and_alarms() -> None:
    windows = [{"at": 1000.0 + i, "level": 30 if i < 5 else 0, "p50": 10.0, "p95": 20.0 + i} for i in range(10)]
    states = ["INSUFFICIENT_DATA", "OK", "ALARM"]
    samples = [
        {"at": 1000.5 + i, "instances": 1 + i // 4, "desired": 2, "high": states[i % 3], "low": ""} for i in range(10)
    ]
    figure = charts.scaling(windows, samples, target=10)
    offered, instances, _, alarms = figure.axes
    assert list(instances.lines[1].get_ydata()) == [1] * 4 + [2] * 4 + [3] * 2
    assert list(offered.lines[1].get_ydata())[-1] == 30  # what three instances carry at ten each
    assert min(offered.lines[0].get_xdata()) == 0
    assert len(alarms.patches) == 10  # one row of states, for only one alarm is there
    assert rendered(figure).width == 750


def test_what_ifs_are_compared_with_what_they_come_to() -> None:
    policies = {"one": {"target": None}, "scaled": {"target": 4}}
    outcomes = scaling.simulate(policies, [1.0, 50.0, 1.0], hours=3, rate=20, seconds=0.2, usd_per_hour=1.0)
    figure = charts.what_if(outcomes)
    told = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert told[0].startswith("one: p95 ")
    assert told[0].endswith("$3.00")
    assert max(figure.axes[1].lines[1].get_ydata()) == 3
    assert rendered(figure).width == 750
