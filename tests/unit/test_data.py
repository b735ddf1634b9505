"""The photos, from a source to S3: fetched once, verified wholly, summarised, sampled and staged exactly."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from PIL import Image

from helpers import data, photos
from helpers.data import BreedCount, DataError
from helpers.samples import draw_sample_set
from helpers.workers import run_shares
from tests.unit.test_archives import Server, archive, server

__all__ = ["server"]  # the fixture
REAL_ZIP = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dogImages.zip"
COUNTS = {"train": 3, "valid": 2, "test": 1}
BREEDS = ("001.Affenpinscher", "057.Dalmatian")


def jpeg(seed: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A photo of coloured noise, another for each seed."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def fill(folder: Path) -> Path:
    """A sound data set of 12 photos."""
    number = 0
    for split, count in COUNTS.items():
        for breed in BREEDS:
            (folder / split / breed).mkdir(parents=True)
            for _ in range(count):
                number += 1
                (folder / split / breed / f"{breed[4:]}_{number:05d}.jpg").write_bytes(jpeg(number))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "dogImages")


def zipped(folder: Path, path: Path, top: str = "dogImages/") -> Path:
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.jpg"))]
    return archive(path, {top + name: (folder / name).read_bytes() for name in names})


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file())


# -- fetch


def test_a_folder_is_used_as_it_is(folder: Path, tmp_path: Path) -> None:
    assert data.fetch(folder, tmp_path / "into") == folder
    assert data.fetch(str(folder.parent), tmp_path / "into") == folder
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("top", ["dogImages/", "", "downloads/dogs/"])
def test_a_zip_file_is_unpacked_once(
    folder: Path, tmp_path: Path, top: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = zipped(folder, tmp_path / "dogs.zip", top)
    first = data.fetch(path, tmp_path / "into")
    assert names_in(first) == names_in(folder)
    before = {entry: entry.stat().st_mtime_ns for entry in first.rglob("*")}
    capsys.readouterr()
    assert data.fetch(path, tmp_path / "into") == first
    assert {entry: entry.stat().st_mtime_ns for entry in first.rglob("*")} == before
    assert "is there already" in capsys.readouterr().err


def test_another_zip_file_is_never_taken_for_the_first(folder: Path, tmp_path: Path) -> None:
    path = zipped(folder, tmp_path / "dogs.zip")
    first = data.fetch(path, tmp_path / "into")
    next(folder.rglob("*.jpg")).unlink()
    zipped(folder, path)
    second = data.fetch(path, tmp_path / "into")
    assert len(names_in(first)) == 12
    assert len(names_in(second)) == 11


def test_a_url_is_downloaded_once(server: Server, folder: Path, tmp_path: Path) -> None:
    server.content = zipped(folder, tmp_path / "dogs.zip").read_bytes()
    server.drop_after = [5000]
    first = data.fetch(server.url, tmp_path / "into")
    assert names_in(first) == names_in(folder)
    assert data.fetch(server.url, tmp_path / "into") == first
    assert len(server.requests) == 2
    assert not list((tmp_path / "into").glob("*.zip*")), "the archive is not kept beside its photos"


def test_nothing_given_is_the_drawn_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"breeds": 2, "train": 1, "valid": 1, "test": 1, "size": 32}
    monkeypatch.setattr(data, "draw_sample_set", lambda home: draw_sample_set(home, **small))
    first = data.fetch(None, tmp_path / "into")
    assert data.fetch("", tmp_path / "into") == first
    assert len(names_in(first)) == 6
    next(first.rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="holds other photos: delete it"):
        data.fetch(None, tmp_path / "into")


@pytest.mark.parametrize("source", ["nowhere.zip", "/nowhere/at/all"])
def test_a_source_that_does_not_exist(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist: give a URL, a zip file, a folder, or nothing"):
        data.fetch(source, tmp_path)


def test_a_source_of_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not an http\(s\) address; fetch it yourself"):
        data.fetch("s3://bucket/dogs.zip", tmp_path)


def test_an_evil_zip_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leads out of the folder"):
        data.fetch(archive(tmp_path / "evil.zip", {"../evil.jpg": b""}), tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_a_zip_file_in_another_layout(tmp_path: Path) -> None:
    path = archive(tmp_path / "cats.zip", {"cats/one.jpg": b"", "readme.txt": b""})
    for _ in range(2):
        with pytest.raises(DataError, match=r"the layout dogImages/.* is missing; there is cats, readme.txt"):
            data.fetch(path, tmp_path / "into")


def test_two_sets_in_one_folder(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    fill(tmp_path / "two")
    with pytest.raises(DataError, match="is in more than one folder"):
        data.dog_images(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is nothing"):
        data.fetch(tmp_path, tmp_path)


# -- verify


def test_a_sound_set(folder: Path) -> None:
    report = data.verify(folder)
    assert report.sound
    assert len(report.readable) == 12
    assert repr(report) == str(report), "a notebook shows it in words, not photo by photo"
    assert (report.unreadable, report.missing, report.leaks, report.strays) == ({}, {}, [], [])
    assert str(report).splitlines() == [
        "12 readable photos of 2 breeds (train 6, valid 4, test 2)",
        "nothing is missing, damaged or there twice",
    ]


@pytest.mark.parametrize("keep", [0, 1, 150, 0.5, 0.9])
def test_a_truncated_photo_is_found(folder: Path, keep: float) -> None:
    photo = sorted(folder.glob("train/*/*.jpg"))[1]
    content = photo.read_bytes()
    photo.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    report = data.verify(folder)
    assert list(report.unreadable) == [photo.relative_to(folder).as_posix()]
    assert all(report.unreadable.values())
    assert len(report.readable) == 11
    assert f"unreadable: 1\n  {photo.relative_to(folder).as_posix()}: " in str(report)


@pytest.mark.parametrize("size", [(16, 16), (333, 257), (640, 480)])
@pytest.mark.parametrize("progressive", [False, True])
def test_decoding_an_eighth_finds_what_decoding_all_finds(
    tmp_path: Path, size: tuple[int, int], progressive: bool
) -> None:
    buffer = io.BytesIO()
    noise = random.Random(1).randbytes(size[0] * size[1] * 3)
    Image.frombytes("RGB", size, noise).save(buffer, "JPEG", progressive=progressive)
    content = buffer.getvalue()
    for share in range(1, 101):
        (tmp_path / "x.jpg").write_bytes(content[: len(content) * share // 100])
        try:
            with Image.open(tmp_path / "x.jpg") as image:
                image.convert("RGB")
            readable = True
        except OSError:
            readable = False
        assert (not photos.examine(tmp_path, "x.jpg").problem) == readable, f"{share} %"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "is empty"), (b"<html>404</html>", "cannot identify image file"), (b"\x89PNG\r\n\x1a\n", "")],
)
def test_what_is_no_photo_in_spite_of_its_name(folder: Path, content: bytes, problem: str) -> None:
    (folder / "train" / BREEDS[0] / "z.jpg").write_bytes(content)
    assert problem in data.verify(folder).unreadable[f"train/{BREEDS[0]}/z.jpg"]


def test_a_bomb_among_the_photos(folder: Path) -> None:
    bitmap = io.BytesIO()
    Image.new("1", (8, 8)).save(bitmap, "BMP")
    claim = bytearray(bitmap.getvalue())
    claim[18:26] = struct.pack("<LL", 20_000, 20_000)  # width and height
    (folder / "train" / BREEDS[0] / "z.png").write_bytes(claim)
    assert "decompression bomb" in data.verify(folder).unreadable[f"train/{BREEDS[0]}/z.png"]


def test_photos_in_two_splits_are_a_leak(folder: Path) -> None:
    train, test = sorted(folder.glob("train/*/*.jpg"))[0], sorted(folder.glob("test/*/*.jpg"))[1]
    shutil.copy(train, test)
    shutil.copy(train, train.with_name("again.jpg"))
    report = data.verify(folder)
    names = sorted(path.relative_to(folder).as_posix() for path in (train, test, train.with_name("again.jpg")))
    assert [sorted(group) for group in report.leaks] == [names]
    assert [sorted(group) for group in report.mislabelled] == [names]
    assert not report.sound
    assert "in two splits: 1\n" in str(report)
    assert "in two classes: 1\n" in str(report)


def test_photos_twice_in_a_split_are_no_leak(folder: Path) -> None:
    photo = next(folder.glob("train/*/*.jpg"))
    shutil.copy(photo, photo.with_name("again.jpg"))
    report = data.verify(folder)
    assert report.leaks == []
    assert len(report.duplicates) == 1
    assert "twice in a split: 1\n" in str(report)


def test_a_breed_that_a_split_lacks(folder: Path) -> None:
    shutil.rmtree(folder / "test" / BREEDS[1])
    for photo in folder.glob(f"valid/{BREEDS[0]}/*"):
        photo.write_bytes(b"")  # photos that cannot be read are none
    report = data.verify(folder)
    assert report.missing == {"valid": [BREEDS[0]], "test": [BREEDS[1]]}
    assert f"test has no {BREEDS[1]}" in str(report)


def test_strays_are_listed_and_not_used(folder: Path) -> None:
    strays = [
        ".DS_Store",
        "readme.txt",
        "train/loose.jpg",
        f"train/{BREEDS[0]}/.hidden.jpg",
        f"train/{BREEDS[0]}/Thumbs.db",
        "train/.trash/x.jpg",
        "extra/001.X/x.jpg",
    ]
    for name in strays:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(1))
    (folder / "train" / BREEDS[0] / "more").mkdir()
    report = data.verify(folder)
    assert sorted(report.strays) == sorted([*strays, f"train/{BREEDS[0]}/more/"])
    assert len(report.photos) == 12


def test_every_kind_that_training_reads_is_a_photo(folder: Path) -> None:
    with Image.open(next(folder.rglob("*.jpg"))) as image:
        for name in ("a.JPG", "b.jpeg", "c.png"):
            image.save(folder / "train" / BREEDS[0] / name, "PNG" if name == "c.png" else "JPEG")
    report = data.verify(folder)
    assert len(report.readable) == 15
    assert report.strays == []


def test_links_to_photos_elsewhere_are_followed(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for split in COUNTS:
        (linked / split).symlink_to(folder / split)
    assert len(data.verify(linked).readable) == 12


def test_long_lists_are_cut_and_say_so(folder: Path) -> None:
    for i in range(25):
        (folder / f"stray{i:02d}").touch()
    assert "stray: 25\n" in str(data.verify(folder))
    assert "… and 15 more" in str(data.verify(folder))


def test_a_set_without_a_readable_photo(tmp_path: Path) -> None:
    for split in COUNTS:
        (tmp_path / "x" / split / "001.X").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no photo that can be read"):
        data.verify(tmp_path / "x")
    (tmp_path / "x" / "train" / "001.X" / "a.jpg").touch()
    with pytest.raises(DataError, match=r"(?s)no photo that can be read.*is empty"):
        data.verify(tmp_path / "x")


def test_several_processes_find_what_one_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "train" / BREEDS[0] / "ü\n.jpg").write_bytes(b"")
    alone = data.verify(folder)
    monkeypatch.setattr(photos, "run_shares", lambda module, given, pieces, **_: run_shares(module, given, pieces, 1))
    assert data.verify(folder) == alone


# -- look at


def test_the_summary(folder: Path) -> None:
    (folder / "train" / BREEDS[0] / "wide.jpg").write_bytes(jpeg(77, (100, 50)))
    summary = data.summarise(folder)
    assert summary.rows == [BreedCount(BREEDS[0], 4, 2, 1), BreedCount(BREEDS[1], 3, 2, 1)]
    assert summary.total == BreedCount("all", 7, 4, 2)
    assert (summary.width, summary.height) == ((40, 40, 100), (30, 30, 50))
    assert summary.bytes == sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    assert str(summary).startswith("13 photos of 2 breeds: train 7, valid 4, test 2; ")


def test_the_summary_wants_bad_photos_left_out(folder: Path) -> None:
    bad = f"train/{BREEDS[0]}/bad.jpg"
    (folder / bad).write_bytes(b"")
    with pytest.raises(DataError, match="verify first, and pass what it finds as exclude"):
        data.summarise(folder)
    assert data.summarise(folder, exclude=[bad]).total.photos == 12


def test_the_summary_of_nothing(tmp_path: Path) -> None:
    for split in COUNTS:
        (tmp_path / split).mkdir()
    with pytest.raises(DataError, match="holds no photos"):
        data.summarise(tmp_path)


def test_samples_are_of_all_breeds_and_the_same_for_a_seed(folder: Path) -> None:
    chosen = data.sample_photos(folder, 4, seed=3)
    assert chosen == data.sample_photos(folder, 4, seed=3)
    assert sorted(path.parent.name for path in chosen) == sorted(BREEDS * 2)
    assert {path.parts[-3] for path in chosen} == {"train"}
    assert len(set(chosen)) == 4
    assert {tuple(data.sample_photos(folder, 4, seed=seed)) for seed in range(9)} != {tuple(chosen)}


def test_samples_are_no_more_than_there_are(folder: Path) -> None:
    assert len(data.sample_photos(folder, 99)) == 6
    left_out = [path.relative_to(folder).as_posix() for path in folder.glob(f"test/{BREEDS[0]}/*")]
    assert len(data.sample_photos(folder, 99, split="test", exclude=left_out)) == 1
    assert data.sample_photos(folder, 0) == []


# -- stage


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="photos")
        yield client


def stored(s3: Any, prefix: str = "") -> dict[str, bytes]:
    items = s3.list_objects_v2(Bucket="photos", Prefix=prefix).get("Contents", [])
    return {item["Key"]: s3.get_object(Bucket="photos", Key=item["Key"])["Body"].read() for item in items}


def calls(s3: Any) -> list[str]:
    """The operations that the client carries out from now on."""
    made: list[str] = []
    s3.meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    return made


def test_staging(folder: Path, s3: Any) -> None:
    staged = data.stage(folder, "photos", "/dogs/photos/", s3)
    assert stored(s3) == {f"dogs/photos/{name}": (folder / name).read_bytes() for name in names_in(folder)}
    assert (staged.photos, staged.uploaded, staged.skipped, staged.removed) == (12, 12, 0, 0)
    assert staged.bytes == sum(path.stat().st_size for path in folder.rglob("*.jpg"))
    assert staged.uri == "s3://photos/dogs/photos"
    assert staged.channel("train") == "s3://photos/dogs/photos/train"
    assert str(staged).endswith("at s3://photos/dogs/photos: 12 uploaded, 0 there already, 0 stale removed, 0 left out")
    head = s3.head_object(Bucket="photos", Key=next(iter(stored(s3))))
    assert head["ContentType"] == "image/jpeg"


def test_staging_again_sends_nothing(folder: Path, s3: Any) -> None:
    data.stage(folder, "photos", "dogs", s3)
    made = calls(s3)
    staged = data.stage(folder, "photos", "dogs", s3)
    assert (staged.uploaded, staged.skipped) == (0, 12)
    assert set(made) == {"ListObjectsV2"}


def test_staging_sends_what_changed(folder: Path, s3: Any) -> None:
    data.stage(folder, "photos", "dogs", s3)
    first, second, *_ = sorted(folder.rglob("*.jpg"))
    first.write_bytes(jpeg(500))
    second.write_bytes(second.read_bytes()[:-1] + b"\x00")  # the same size
    staged = data.stage(folder, "photos", "dogs", s3)
    assert (staged.uploaded, staged.skipped) == (2, 10)
    assert stored(s3) == {f"dogs/{name}": (folder / name).read_bytes() for name in names_in(folder)}


def test_stale_objects_are_removed_and_others_left(folder: Path, s3: Any) -> None:
    for key in ("dogs/train/999.Wolf/old.jpg", "dogs/notes.txt", "dogs/training/x.jpg", "dogs2/train/x.jpg", "train/x"):
        s3.put_object(Bucket="photos", Key=key, Body=b"x")
    assert data.stage(folder, "photos", "dogs", s3).removed == 1
    kept = {key for key in stored(s3) if not key.startswith(("dogs/train/", "dogs/valid/", "dogs/test/"))}
    assert kept == {"dogs/notes.txt", "dogs/training/x.jpg", "dogs2/train/x.jpg", "train/x"}


def test_what_verify_found_is_left_out_and_said(folder: Path, s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data.stage(folder, "photos", "dogs", s3)
    bad = sorted(folder.rglob("*.jpg"))[0]
    bad.write_bytes(bad.read_bytes()[:150])
    name = bad.relative_to(folder).as_posix()
    staged = data.stage(folder, "photos", "dogs", s3, exclude=data.verify(folder).unreadable)
    assert staged.left_out == [name]
    assert (staged.photos, staged.uploaded, staged.skipped, staged.removed) == (11, 0, 11, 1)
    assert f"dogs/{name}" not in stored(s3)
    assert f"left out: 1\n  {name}: Truncated File Read\n" in capsys.readouterr().err
    assert data.stage(folder, "photos", "dogs", s3, exclude=[name]).left_out == [name]


def test_more_objects_than_a_page_or_a_batch_holds(tmp_path: Path, s3: Any) -> None:
    folder, photo = fill(tmp_path / "many"), jpeg(1, (8, 8))
    for i in range(1010):
        (folder / "train" / BREEDS[0] / f"{i:04d}.jpg").write_bytes(photo)
    assert data.stage(folder, "photos", "dogs", s3).uploaded == 1022
    for path in folder.glob(f"train/{BREEDS[0]}/0*.jpg"):
        path.unlink()
    for path in folder.glob(f"train/{BREEDS[0]}/1*.jpg"):
        path.unlink()
    staged = data.stage(folder, "photos", "dogs", s3)
    assert (staged.photos, staged.removed) == (12, 1010)


def test_under_a_kms_key_the_etag_tells_nothing(folder: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data.stage(folder, "photos", "dogs", s3)
    listed = data._listed

    def encrypted(*arguments: Any) -> dict[str, data._Stored]:
        return {key: data._Stored(it.size, '"no MD5"') for key, it in listed(*arguments).items()}

    monkeypatch.setattr(data, "_listed", encrypted)
    made = calls(s3)
    assert data.stage(folder, "photos", "dogs", s3).skipped == 12
    assert "PutObject" not in made


def test_a_photo_damaged_on_the_way_is_noticed(folder: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put = s3.put_object

    def damaging(**request: Any) -> Any:
        return put(**{**request, "Body": request["Body"][:-1] + b"?"})

    monkeypatch.setattr(s3, "put_object", damaging)
    # S3 itself refuses such a body (BadDigest); moto takes it, and the listing tells.
    with pytest.raises(DataError, match=r"BadDigest|12 objects are not in s3://photos as sent"):
        data.stage(folder, "photos", "dogs", s3)


def test_objects_that_vanish_or_change_are_noticed(folder: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = data._upload

    def uploading(*arguments: Any) -> Any:
        done = upload(*arguments)
        keys = sorted(stored(s3))
        s3.delete_object(Bucket="photos", Key=keys[0])
        s3.put_object(Bucket="photos", Key=keys[1], Body=b"another")
        return done

    monkeypatch.setattr(data, "_upload", uploading)
    with pytest.raises(DataError, match=r"2 objects are not in s3://photos as sent, as dogs/test/.*: stage again"):
        data.stage(folder, "photos", "dogs", s3)


def test_a_missing_bucket(folder: Path, s3: Any) -> None:
    with pytest.raises(DataError, match=r"NoSuchBucket.*Run the set-up notebook, which makes the bucket"):
        data.stage(folder, "nowhere", "dogs", s3)


def test_a_refusal_halfway_stops_and_a_second_call_goes_on(
    folder: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, count = s3.put_object, iter(range(100))

    def refusing(**request: Any) -> Any:
        if next(count) >= 5:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
        return put(**request)

    monkeypatch.setattr(s3, "put_object", refusing)
    with pytest.raises(DataError, match=r"AccessDenied.*These credentials need s3:ListBucket"):
        data.stage(folder, "photos", "dogs", s3)
    assert len(stored(s3)) == 5
    monkeypatch.setattr(s3, "put_object", put)
    assert data.stage(folder, "photos", "dogs", s3).uploaded == 7


def test_a_stale_object_that_cannot_be_removed(folder: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="photos", Key="dogs/train/old.jpg", Body=b"x")
    answer = {"Errors": [{"Key": "dogs/train/old.jpg", "Code": "AccessDenied", "Message": "Access Denied"}]}
    monkeypatch.setattr(s3, "delete_objects", lambda **_: answer)
    with pytest.raises(DataError, match=r"dogs/train/old.jpg is stale and cannot be removed: Access Denied"):
        data.stage(folder, "photos", "dogs", s3)


@pytest.mark.parametrize("prefix", ["", "/"])
def test_no_prefix_is_refused(folder: Path, s3: Any, prefix: str) -> None:
    with pytest.raises(ValueError, match="needs a prefix"):
        data.stage(folder, "photos", prefix, s3)


def test_nothing_to_stage(folder: Path, s3: Any) -> None:
    s3.put_object(Bucket="photos", Key="dogs/train/old.jpg", Body=b"x")
    with pytest.raises(DataError, match="holds no photos to stage"):
        data.stage(folder, "photos", "dogs", s3, exclude=names_in(folder))
    assert "dogs/train/old.jpg" in stored(s3), "an empty set must not empty the bucket"


# -- the real photos


@pytest.mark.real_data
def test_the_real_photos(tmp_path: Path) -> None:
    if not REAL_ZIP.is_file():
        pytest.skip(f"{REAL_ZIP} is not here")
    folder = data.fetch(REAL_ZIP, tmp_path)
    with zipfile.ZipFile(REAL_ZIP) as opened:
        assert len(names_in(folder)) == sum(not member.is_dir() for member in opened.infolist())
    truncated = sorted(folder.glob("train/*/*.jpg"))[7]
    truncated.write_bytes(truncated.read_bytes()[:150])
    report = data.verify(folder)
    assert list(report.unreadable) == [truncated.relative_to(folder).as_posix()]
    assert (len(report.readable), len(report.breeds)) == (4960, 30)
    assert report.missing == {}
    summary = data.summarise(folder, exclude=report.unreadable)
    assert summary.total == BreedCount("all", 3968, 496, 496)
    assert summary.width == (224, 224, 224)


# -- what a share of the work prints


def test_the_facts_are_json_lines(folder: Path) -> None:
    lines = [json.loads(line) for share in (0, 1) for line in photos.share_of(folder, share, 2)]
    assert sorted(line["name"] for line in lines) == names_in(folder)
    assert {(line["width"], line["height"], line["problem"]) for line in lines} == {(40, 30, "")}
