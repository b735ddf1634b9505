"""The drawn sample set: the same everywhere, whole or absent, and not to be solved by colour alone."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.samples import BREEDS, Breed, draw_dog, draw_sample_set, pictures
from helpers.samples.bones import Pose, extent, skeleton
from helpers.samples.breeds import COLOURS

SMALL = {"breeds": 3, "train": 4, "valid": 2, "test": 1, "size": 48}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def test_the_layout_is_that_of_the_real_set(tmp_path: Path) -> None:
    folder = draw_sample_set(tmp_path, **SMALL)
    assert folder == tmp_path / "dogImages"
    assert sorted(path.name for path in folder.iterdir()) == ["test", "train", "valid"]
    for split, count in (("train", 4), ("valid", 2), ("test", 1)):
        assert sorted(path.name for path in (folder / split).iterdir()) == sorted(b.folder for b in BREEDS[:3])
        assert all(len(list(breed.glob("*.jpg"))) == count for breed in (folder / split).iterdir())
    with Image.open(next(folder.glob("train/016.Beagle/Beagle_00001.jpg"))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 48))
    assert [path.name for path in tmp_path.iterdir()] == ["dogImages"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        contents(draw_sample_set(tmp_path / name, **SMALL, seed=seed))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert not set(first.values()) & set(other.values())
    assert len(set(first.values())) == len(first) == 21


def test_how_many_share_the_work_does_not_matter(tmp_path: Path) -> None:
    many = {**SMALL, "train": 30}  # enough for two processes
    drawn = contents(draw_sample_set(tmp_path, **many, seed=5))
    one = pictures(3, 30, 2, 1, seed=5)[40]
    assert drawn[one.path] == one.jpeg(48)


@pytest.mark.skipif(PIL.__version__ != "13.0.0", reason="another Pillow may round otherwise")
def test_the_pixels_are_those_of_every_other_machine() -> None:
    digest = hashlib.sha256()
    for breed in BREEDS:
        digest.update(draw_dog(breed, "everywhere", 64).tobytes())
    assert digest.hexdigest() == EVERYWHERE, "if the drawing was changed on purpose, put the new digest here"


EVERYWHERE = "7a5d5bd70715addde6521f996256c69df8082a0c0a625bca19a14c9f6281bc35"


def test_a_set_that_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw_sample_set(tmp_path, **SMALL)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setattr(sys, "executable", "/bin/false")  # which cannot draw
    assert draw_sample_set(tmp_path, **SMALL) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_other_photos_are_never_overwritten(tmp_path: Path) -> None:
    folder = draw_sample_set(tmp_path, **SMALL)
    with pytest.raises(FileExistsError, match="holds other photos: delete it"):
        draw_sample_set(tmp_path, **SMALL, seed=9)
    next(folder.rglob("*.jpg")).unlink()
    with pytest.raises(FileExistsError):
        draw_sample_set(tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"breeds": 1}, "choose 2 to 12"),
        ({"breeds": 99}, "choose 2 to 12"),
        ({"valid": 0}, "each split needs a picture"),
        ({"size": 8}, "32 pixels or more"),
    ],
)
def test_numbers_that_make_no_set_are_refused(tmp_path: Path, wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_sample_set(tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_breed_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'000.Cat'; there are 003.Airedale_terrier"):
        draw_dog("000.Cat")


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        draw_sample_set(tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="looks at processes as Linux and macOS show them")
def test_an_interrupt_ends_the_workers_and_leaves_nothing(tmp_path: Path) -> None:
    # What is started in the background of a shell ignores SIGINT, and so do its children, unless they say otherwise.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    drawn = f"from helpers.samples import draw_sample_set; draw_sample_set({str(tmp_path / 'set')!r}, train=400)"
    script = f"{heard}; {drawn}"
    drawing = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    while not list(tmp_path.glob("set/.dogImages*/*/*/*.jpg")):
        assert drawing.poll() is None
        time.sleep(0.05)
    drawing.send_signal(2)
    assert drawing.wait(120) != 0
    assert list((tmp_path / "set").iterdir()) == []
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in running


# -- the breeds


def test_breeds_share_their_colours_and_each_has_several() -> None:
    of_colour = Counter(colour for breed in BREEDS for colour in {pair[0] for pair in breed.colours})
    assert len(BREEDS) >= 12
    assert all(len(breed.colours) >= 4 for breed in BREEDS)
    assert min(of_colour.values()) >= 2, "a colour that only one breed has would give it away"
    assert {colour for breed in BREEDS for pair in breed.colours for colour in pair} <= set(COLOURS)


def test_breeds_differ_in_shape_or_texture() -> None:
    looks = {(b.ears, b.tail, b.coat, b.patterns, b.leg > 0.25, b.body > 0.55) for b in BREEDS}
    assert len(looks) == len(BREEDS)
    assert {b.ears for b in BREEDS} == {"pricked", "cropped", "drooping", "button", "rose"}
    assert {b.coat for b in BREEDS} == {"smooth", "wiry", "fluffy", "shaggy", "curly"}


@pytest.mark.parametrize("breed", BREEDS, ids=lambda breed: breed.folder)
def test_every_dog_stands_on_the_ground_in_every_pose(breed: Breed) -> None:
    for seed in range(40):
        rng = random.Random(seed)
        dog = breed.individual(rng)
        left, right, low, high = extent(skeleton(dog, Pose.draw(rng)).bones)
        assert -0.12 < low < 0.06
        assert 0.3 < right - left < 2.2
        assert 0.3 < high - low < 1.9


@pytest.mark.parametrize("size", [33, 224])
def test_pictures_of_any_size(size: int) -> None:
    for breed in BREEDS[::4]:
        image = draw_dog(breed.folder, seed=1, size=size)
        assert image.size == (size, size)
        assert np.asarray(image).std() > 20


# -- not by colour alone


def thumbnails(folder: Path, split: str, side: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Photos averaged down to side x side, one row each, and their classes."""
    rows, classes = [], []
    for number, breed in enumerate(sorted((folder / split).iterdir())):
        for path in sorted(breed.iterdir()):
            with Image.open(path) as image:
                rows.append(np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float64).ravel() / 255)
            classes.append(number)
    return np.array(rows), np.array(classes)


def nearest_centroid(x: NDArray[np.float64], y: NDArray[np.int64], unseen: NDArray[np.float64]) -> NDArray[np.int64]:
    centroids = np.stack([x[y == c].mean(axis=0) for c in range(y.max() + 1)])
    guesses: NDArray[np.int64] = ((unseen[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
    return guesses


def logistic(x: NDArray[np.float64], y: NDArray[np.int64], unseen: NDArray[np.float64]) -> NDArray[np.int64]:
    """Multinomial logistic regression by gradient descent, on standardised features."""
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, unseen = ((np.hstack([(v - mean) / spread, np.ones((len(v), 1))])) for v in (x, unseen))
    truth, weights = np.eye(y.max() + 1)[y], np.zeros((x.shape[1], y.max() + 1))
    for _ in range(800):
        scores = x @ weights
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        weights -= 0.5 * (x.T @ (chances - truth) / len(x) + 1e-3 * weights)
    guesses: NDArray[np.int64] = (unseen @ weights).argmax(axis=1)
    return guesses


def test_colour_does_not_tell_the_breeds_apart(tmp_path: Path) -> None:
    folder = draw_sample_set(tmp_path, train=30, valid=1, test=12, size=48)
    for side, most in ((1, 0.25), (4, 0.35)):
        x, y = thumbnails(folder, "train", side)
        unseen, truth = thumbnails(folder, "test", side)
        for classifier in (nearest_centroid, logistic):
            accuracy = float((classifier(x, y, unseen) == truth).mean())
            assert accuracy < most, f"{classifier.__name__} on {side} x {side} pixels: {accuracy:.2f}"
