"""The mistakes that the notebooks make on purpose: made on copies only, and caught by what is meant to catch them."""

import shutil
import sys
from types import SimpleNamespace

import pytest

from helpers import data, mistakes, review
from helpers.settings import Settings
from tests.tiny_photos import TRAIN_SRC, write_photos

sys.path.insert(0, str(TRAIN_SRC))
from dataset import list_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = write_photos(tmp_path_factory.mktemp("photos"))
    for path in [path for path in folder.glob("*/*/*") if path.is_file()]:
        path.rename(path.with_name(f"{path.parts[-3]}_{path.name}"))  # no two of one name, as in the real data set
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_truncated_photo_is_caught_and_its_original_stays_whole(photos, tmp_path):
    before = contents(photos)
    copied = mistakes.excerpt(photos, tmp_path / "copy", breeds=2)
    assert {path.parent.name for path in copied.glob("*/*/*")} == {
        one.name for one in sorted(photos.glob("train/*"))[:2]
    }
    broken = mistakes.truncate(data.sample_photos(copied, 1)[0], 150)
    assert broken.stat().st_size == 150
    name = broken.relative_to(copied).as_posix()
    assert list(data.verify(copied).unreadable) == [name]
    assert contents(photos) == before
    assert not data.verify(mistakes.excerpt(photos, tmp_path / "copy", breeds=2)).unreadable


def test_tuning_on_the_test_photos_is_a_leak_of_each_of_them(photos, tmp_path):
    copied = mistakes.excerpt(photos, tmp_path / "copy")
    before = data.verify(copied)
    tests = [photo.name for photo in before.photos if photo.split == "test"]
    assert not before.leaks
    assert mistakes.choose_by_test(copied) == len(tests)
    leaks = data.verify(copied).leaks
    assert sorted(name for group in leaks for name in group if name.startswith("test/")) == sorted(tests)


def test_the_best_of_many_guessers_is_lucky_and_no_better():
    found = mistakes.best_of_guessers(models=200, photos=120, classes=12)
    assert found == mistakes.best_of_guessers(models=200, photos=120, classes=12)
    assert found["chosen"] == max(found["scores"]) > 1.5 / 12
    news = [mistakes.best_of_guessers(models=50, seed=seed)["new"] for seed in range(40)]
    assert sum(news) / len(news) == pytest.approx(1 / 12, abs=0.02)


def test_a_run_that_learnt_from_the_test_photos_is_found_out(photos, tmp_path):
    report = mistakes.train_on_test(photos, tmp_path / "wrong", epochs=1)
    known = {split: list_photos(split, photos / split).digest() for split in ("train", "valid", "test")}
    found = {one.question: (one.found, one.right) for one in review.check(report, known, epochs=50)}
    assert found == {
        "learnt from": ("test", False),
        "best epoch chosen by": ("valid", True),
        "judged on": ("test", True),
        "epochs": ("1 of 50", False),
    }


def test_a_failing_run_says_why(photos, tmp_path):
    copied = mistakes.excerpt(photos, tmp_path / "copy")
    mistakes.truncate(data.sample_photos(copied, 1, split="test")[0])
    with pytest.raises(RuntimeError, match="remove or replace this file"):
        mistakes.train_on_test(copied, tmp_path / "wrong", epochs=1)


def test_the_digest_is_that_of_the_training_program(photos, tmp_path):
    shutil.copytree(photos / "test", tmp_path / "photos")
    (first,) = sorted((tmp_path / "photos").iterdir())[:1]
    shutil.copytree(first, first.with_name(f"{first.name}-like"))  # sorts before the first as text, after it as a class
    split = list_photos("test", tmp_path / "photos")
    assert review.digest(reversed(split.files)) == split.digest()
    assert review.digest(split.files[1:]) != split.digest()


def test_other_photos_are_said_to_be_other():
    known = {"train": "a", "valid": "b", "test": "c"}
    report = {"digests": {"train": "z", "valid": "b", "test": "c"}, "history": [{}, {}]}
    first, *others = review.check(report, known, epochs=2)
    assert (first.found, first.right) == ("other photos", False)
    assert all(one.right for one in others)


class Quotas:
    """Of an account that may run nothing, or anything."""

    def __init__(self, value):
        self.value = value

    def get_paginator(self, _):
        name = "ml.g5.xlarge for training job usage"
        pages = [{"Quotas": [{"QuotaName": name, "QuotaCode": "L-1", "Value": self.value}]}]
        return SimpleNamespace(paginate=lambda **_: pages)


def test_a_job_that_could_start_is_not_started():
    cloud = SimpleNamespace(
        client=lambda name: {"service-quotas": Quotas(1.0)}[name],  # SageMaker is not even asked
        settings=Settings.of(project="careful"),
        region="us-east-1",
    )
    assert mistakes.start_unchecked(cloud, "role", "ml.g5.xlarge") == ""
