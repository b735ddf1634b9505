"""The pure parts of training jobs: statuses, channels' paths, metrics, merging."""

import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import training
from helpers.localaws.engines import artifacts, channels, training_host
from helpers.localaws.engines.metrics import Metrics, compiled
from helpers.localaws.engines.transitions import advance, finish
from helpers.localaws.errors import AwsError
from helpers.localaws.objects import S3Uri
from helpers.localaws.paging import page

START = datetime(2026, 11, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


# ---- statuses ----


def test_transitions_close_one_another():
    job = {"TrainingJobStatus": "InProgress", "TrainingStartTime": at(1)}
    for second, status in enumerate(("Starting", "Downloading", "Training")):
        advance(job, status, at(second))
    finish(job, "Completed", at(10.2), Extra=1)
    assert [one["Status"] for one in job["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Completed",
    ]
    assert [one["EndTime"] for one in job["SecondaryStatusTransitions"]] == [at(1), at(2), at(10.2), at(10.2)]
    assert (job["TrainingJobStatus"], job["Extra"]) == ("Completed", 1)
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] == 10


def test_a_job_that_never_got_instances_bills_nothing():
    job = {"TrainingJobStatus": "InProgress"}
    finish(job, "Failed", at(5))
    assert "BillableTimeInSeconds" not in job


def test_who_asked_for_a_stop_gets_one():
    job = {"TrainingJobStatus": "Stopping"}
    finish(job, "Completed", at(5))
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")


# ---- channels ----


@pytest.mark.parametrize(
    ("key", "prefix", "path"),
    [
        ("data/train/a.jpg", "data/train/", "a.jpg"),
        ("data/train/a.jpg", "data/train", "a.jpg"),
        ("data/train/a/b.jpg", "data/train", "a/b.jpg"),
        ("data/training/a.jpg", "data/train", "training/a.jpg"),
        ("data/a.csv", "data/a.csv", "a.csv"),
        ("a.csv", "", "a.csv"),
        ("a.csv", "a", "a.csv"),
        ("data//x", "data/", "/x"),
    ],
)
def test_where_an_object_lies_in_its_channel(key, prefix, path):
    assert channels.relative(key, prefix) == path


@given(st.integers(0, 50), st.integers(1, 20))
def test_shards_cover_everything_once_and_evenly(count, hosts):
    items = [channels.Item(S3Uri("b", str(number)), str(number)) for number in range(count)]
    shards = [channels.share(items, "ShardedByS3Key", index, hosts) for index in range(hosts)]
    assert sorted(item.path for shard in shards for item in shard) == sorted(item.path for item in items)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert all(channels.share(items, "FullyReplicated", index, hosts) == items for index in range(hosts))


# ---- metrics ----


def test_metrics_keep_the_last_finite_value():
    metrics = Metrics([{"Name": "loss", "Regex": r"loss=(\S+)"}, {"Name": "top1", "Regex": "top1=([0-9.]+)?;"}])
    lines = ["loss=0.5 top1=0.1;", "loss=nan", "loss=inf", "loss=abc top1=;", "nothing", "loss=2.5e-1"]
    found = [[(point.name, point.value) for point in metrics.read(line, START)] for line in lines]
    assert found == [[("loss", 0.5), ("top1", 0.1)], [], [], [], [], [("loss", 0.25)]]
    assert metrics.final() == [
        {"MetricName": "loss", "Value": 0.25, "Timestamp": START},
        {"MetricName": "top1", "Value": 0.1, "Timestamp": START},
    ]


@pytest.mark.parametrize("regex", ["([", "no group", "(?:none)"])
def test_expressions_that_give_no_metric(regex):
    with pytest.raises(ValueError, match=r"^it "):
        compiled({"Name": "m", "Regex": regex})


# ---- artefacts ----


def test_the_first_hosts_file_is_kept_and_the_other_told_of(tmp_path: Path):
    for host in ("algo-1", "algo-2"):
        (tmp_path / host / "model" / "sub").mkdir(parents=True)
        (tmp_path / host / "model" / "both").write_text(host)
        (tmp_path / host / "model" / "sub" / host).write_text("own")
    (tmp_path / "algo-1" / "model" / "latest").symlink_to("both")
    told: list[str] = []
    files = artifacts.merge({host: tmp_path / host / "model" for host in ("algo-1", "algo-2")}, told.append)
    assert told == ["model/both was written by algo-1 and by algo-2; algo-1's is kept"]
    artifacts.archive(files, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert set(tar.getnames()) == {"both", "latest", "sub", "sub/algo-1", "sub/algo-2"}
        assert {(member.uid, member.uname) for member in tar} == {(0, "")}
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert (tmp_path / "unpacked" / "latest").read_text() == "algo-1"


# ---- hosts ----


def test_deep_folders_get_a_short_temporary_one_which_goes_with_them(tmp_path: Path):
    deep = tmp_path / ("d" * 60) / "job"
    (deep / "algo-1" / "tmp").mkdir(parents=True)
    short = training_host.temporary_folder(deep / "algo-1")
    assert short == training_host.temporary_folder(deep / "algo-1")
    assert len(str(short)) <= training_host.LONGEST_TEMPORARY
    (short / "file").touch()
    mine = tmp_path / "localaws-mine"
    mine.mkdir()
    (deep / "algo-2").mkdir()
    (deep / "algo-2" / "tmp").symlink_to(mine)
    training_host.remove(deep)
    assert not short.exists()
    assert not deep.exists()
    assert mine.exists(), "a job's own link was followed"


# ---- the follower ----


@pytest.mark.parametrize("watched", [True, False])
def test_a_job_is_told_of_in_a_bar_or_in_lines(monkeypatch, capsys, watched):
    monkeypatch.setattr(training, "watched", lambda: watched)
    teller = training._Teller("dogs-1")
    teller.status(START, "Training", "in progress")
    teller.line(training.LogLine(START, "algo-1", "epoch=1"))
    teller.close()
    told = capsys.readouterr().err
    assert all(text in told for text in ("dogs-1", "00:00:00 Training: in progress", "algo-1 | epoch=1"))
    assert ("\r" in told) == watched


def test_a_status_is_told_before_what_was_logged_after_it(monkeypatch, capsys):
    """However long it takes from asking for a job's course until its log is read."""
    now = datetime.now(UTC)
    course = [(now - timedelta(hours=3), "Training"), (now + timedelta(hours=1), "Interrupted")]
    transitions = [{"Status": status, "StartTime": start} for start, status in course]
    job = {"AlgorithmSpecification": {}}
    looks = [
        {**job, "TrainingJobStatus": "InProgress"},  # for its hyperparameters
        {**job, "TrainingJobStatus": "InProgress", "SecondaryStatusTransitions": transitions[:1]},
        {**job, "TrainingJobStatus": "Stopped", "SecondaryStatusTransitions": transitions},
    ]
    logged = [[(-2, "before"), (2, "after")], []]
    monkeypatch.setattr(training, "describe", lambda *_: looks.pop(0))
    monkeypatch.setattr(
        training._LogReader,
        "new",
        lambda _: [training.LogLine(now + timedelta(hours=hours), "algo-1", text) for hours, text in logged.pop(0)],
    )
    monkeypatch.setattr(training, "watched", lambda: False)
    training.follow(None, "dogs-1", every=0.0, show=".")  # type: ignore[arg-type]
    told = capsys.readouterr().err
    words = ["Training: ", "| before", "Interrupted: ", "| after"]
    assert sorted(words, key=told.index) == words


# ---- pages ----


@given(st.sets(st.text(min_size=1, max_size=5), max_size=20), st.integers(1, 7))
def test_pages_are_the_list(names, size):
    documents = [{"Name": name} for name in sorted(names)]
    seen, token = [], None
    while True:
        shown, token = page(documents, "Name", token, size)
        assert len(shown) <= size
        seen += shown
        if token is None:
            break
    assert seen == documents


def test_a_token_of_another_list_is_refused():
    _, token = page([{"Name": "a"}, {"Name": "b"}], "Name", None, 1)
    with pytest.raises(AwsError, match="NextToken"):
        page([{"Name": "c"}], "Name", token, 1)
