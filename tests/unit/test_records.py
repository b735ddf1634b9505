"""What moto keeps, and how it lasts: locks, and what a server leaves that is killed while it writes."""

from __future__ import annotations

import threading

import pytest

from helpers.localaws.objects import Objects, S3Uri
from helpers.localaws.records import Records

ACCOUNT = "123456789012"


@pytest.fixture
def records(tmp_path):
    made = Records(tmp_path / "records", ACCOUNT)
    yield made
    for bucket in list(made.backend("s3", "aws").buckets):
        made.backend("s3", "aws").buckets.pop(bucket)  # moto keeps them for the whole process
    made.close()


def test_an_object_that_was_half_written_by_a_killed_server_is_not_there(records, tmp_path):
    records.backend("s3", "aws").create_bucket("kept", "us-east-1")
    records.keep("s3", "CreateBucket", "us-east-1", {})
    Objects(records).write(S3Uri("kept", "whole"), b"x")
    (whole,) = (tmp_path / "records" / "objects" / "kept").iterdir()
    half = whole.with_name("0123.4567.part")
    half.write_bytes(whole.read_bytes()[:-1])
    (tmp_path / "records" / "iam.aws.pickle.4567.part").write_bytes(b"")
    again = Records(tmp_path / "records", ACCOUNT)
    assert Objects(again).keys(S3Uri("kept", "")) == ["whole"]
    assert not list((tmp_path / "records").rglob("*.part"))
    again.close()


def test_sts_does_not_look_through_what_iam_changes_at_the_time(records):
    found = []
    with records.lock("iam"):
        other = threading.Thread(target=lambda: found.append(records.lock("sts").acquire(blocking=False)))
        other.start()
        other.join()
    assert found == [False]


def test_what_could_not_be_saved_is_saved_later(records, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(records, "_pickle", full)
        records.note_growth("logs", "us-east-1")
        with pytest.raises(OSError, match="No space"):
            records._save_dirty()
    records._save_dirty()
    assert (records.folder / "logs.us-east-1.pickle").exists()
