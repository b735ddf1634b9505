"""A run that is killed again and again ends with the weights, bit for bit, of one that is left alone."""

import json
import random
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REAL_DATA
from tests.ranks import Death, log_of, train_ranks
from tests.tiny_photos import ROOT, TRAIN_SRC, command, write_photos

sys.path.insert(0, str(TRAIN_SRC))
import torch
from checkpoints import read

STEPS = 7  # of an epoch: 42 photos in batches of 6
EPOCHS = 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), train=14, valid=12)


class Job:
    """A job that is started again until it is done, as SageMaker does with spot instances."""

    def __init__(self, folder: Path, photos: Path, processes: int = 1, *options: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.processes, self.logs = folder, processes, []
        self.arguments = ["--data", photos, "--image-size", 32, "--batch-size", 6, "--epochs", EPOCHS, *options]

    def run(self, death: Death | None = None, processes: int = 0, network: str = "small_network") -> list[int]:
        codes = train_ranks(processes or self.processes, self.folder, self.arguments, death, network)
        self.logs.append(log_of(self.folder))
        return codes

    def result(self) -> tuple[dict[str, torch.Tensor], list]:
        weights = torch.load(self.folder / "model" / "model.pt", weights_only=True)
        report = self.report()
        found = [{key: entry[key] for key in ("epoch", "train", "valid")} for entry in report["history"]]
        return weights, [found, report["step_loss"], report["best_epoch"], report["test"]]

    def report(self) -> dict:
        return json.loads((self.folder / "output" / "metrics.json").read_text())


def assert_equal(job: Job, unbroken: Job) -> None:
    (weights, found), (expected_weights, expected) = job.result(), unbroken.result()
    assert found == expected
    assert weights.keys() == expected_weights.keys()
    assert [name for name in weights if not torch.equal(weights[name], expected_weights[name])] == []


@pytest.fixture(scope="module")
def unbroken(photos, tmp_path_factory):
    """By number of processes and freezing: a run that nothing happens to, and that saves nothing either."""
    found: dict[tuple, Job] = {}

    def get(processes: int, freeze: str = "false") -> Job:
        if (processes, freeze) not in found:
            job = Job(tmp_path_factory.mktemp("unbroken"), photos, processes, "--freeze", freeze)
            assert job.run() == [0] * processes
            found[processes, freeze] = job
        return found[processes, freeze]

    return get


def accidents(seed: int, processes: int) -> list[Death]:
    """One of each kind, at random steps of random ranks, in random order."""
    chance = random.Random(seed)
    steps = [("KILL", "step"), ("KILL", "stepped"), ("TERM", "step")]
    deaths = [Death(sort, chance.randint(1, STEPS + 2), place, chance.randrange(processes)) for sort, place in steps]
    deaths += [Death("KILL", chance.randint(1, 3), place) for place in ("writing", "saved")]  # only rank 0 writes
    return chance.sample(deaths, len(deaths))


CASES = [(1, "false", 1), (1, "true", 2), (2, "false", 3), (2, "true", 4), (3, "false", 5)]


@pytest.mark.parametrize(("processes", "freeze", "seed"), CASES)
def test_whatever_happens_the_weights_are_those_of_an_unbroken_run(photos, tmp_path, unbroken, processes, freeze, seed):
    options = ["--freeze", freeze, "--checkpoint-dir", "checkpoints", "--checkpoint-every", 3]
    job = Job(tmp_path, photos, processes, *options)
    for death in accidents(seed, processes):
        codes = job.run(death)
        struck = codes[death.rank]
        assert struck == -signal.SIGKILL if death.signal == "KILL" else struck in (0, 143), (death, job.logs[-1])
    assert job.run() == [0] * processes
    assert len(job.report()["resumed"]) >= 3
    assert_equal(job, unbroken(processes, freeze))


def resumed(log: str) -> tuple[int, ...]:
    """(global_step, lost_steps, lost_photos) as the log tells."""
    found = re.search(r"global_step=(\d+) lost_steps=(\d+) lost_photos=(\d+)", log)
    assert found, log
    return tuple(map(int, found.groups()))


@pytest.mark.parametrize(("place", "after", "position", "lost"), [("step", 6, 3, 2), ("stepped", 9, 7, 1)])
def test_a_kill_loses_less_than_an_interval_and_the_log_says_how_much(photos, tmp_path, place, after, position, lost):
    """Checkpoints are after steps 3, 6 and 7 (which ends the epoch); the step in which the kill comes is not done."""
    job = Job(tmp_path, photos, 1, "--checkpoint-dir", "checkpoints", "--checkpoint-every", 3)
    assert job.run(Death("KILL", after, place)) == [-signal.SIGKILL]
    assert job.run(Death("KILL", 1)) == [-signal.SIGKILL]
    assert job.run() == [0]
    assert resumed(job.logs[1]) == (position, lost, 6 * lost)
    assert resumed(job.logs[2]) == resumed(job.logs[1])  # the second came no farther
    assert [tuple(one.values()) for one in job.report()["resumed"]] == [(position, lost, 6 * lost)]


def test_a_sigterm_saves_at_once_and_loses_nothing(photos, tmp_path, unbroken):
    job = Job(tmp_path, photos, 2, "--checkpoint-dir", "checkpoints")
    for after in (3, 6, 7):
        assert job.run(Death("TERM", after)) in ([143, 143], [0, 0])
        assert "told to stop (SIGTERM): epoch=" in job.logs[-1]
    assert job.run() == [0, 0]
    assert [resumed(log) for log in job.logs[1:]] == [(3, 0, 0), (9, 0, 0), (16, 0, 0)]
    assert_equal(job, unbroken(2))


def test_saving_at_every_step_changes_nothing(photos, tmp_path, unbroken):
    job = Job(tmp_path, photos, 2, "--checkpoint-dir", "checkpoints", "--checkpoint-every", 1)
    assert job.run() == [0, 0]
    assert job.report()["checkpoints"]["written"] == (STEPS + 1) * EPOCHS
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        *("checkpoint-a.pt", "checkpoint-b.pt"),
        "steps-done.txt",
    ]
    assert_equal(job, unbroken(2))


@pytest.mark.parametrize("damage", ["cut short", "not there"])
def test_a_pair_of_which_one_is_older_or_damaged(photos, tmp_path, unbroken, damage):
    """S3 is a moment behind, and what a copy was cut off in is passed over."""
    job = Job(tmp_path, photos, 1, "--checkpoint-dir", "checkpoints", "--checkpoint-every", 2)
    job.run(Death("KILL", 12))
    pair = [tmp_path / "checkpoints" / f"checkpoint-{letter}.pt" for letter in "ab"]
    old, new = sorted(pair, key=lambda path: read(path)[0])
    if damage == "cut short":
        new.write_bytes(new.read_bytes()[:-1])
    else:
        new.unlink()
    assert job.run() == [0]
    assert f"resumed from checkpoints/{old.name}" in job.logs[-1]
    assert resumed(job.logs[-1])[1] in (2, 3, 4)
    assert ("passing over checkpoint" in job.logs[-1]) == (damage == "cut short")
    assert_equal(job, unbroken(1))


def test_another_number_of_processes_is_told_and_close(photos, tmp_path, unbroken):
    job = Job(tmp_path, photos, 2, "--checkpoint-dir", "checkpoints")
    assert job.run(Death("TERM", 10)) == [0, 0]
    assert job.run(processes=1) == [0]
    assert re.search("WARNING: processes 2 -> 1: .* not be bit for bit", job.logs[-1])
    (weights, _), (expected, _) = job.result(), unbroken(1).result()
    for name in weights:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-3, atol=1e-4, msg=name)


def test_the_first_thing_in_the_folder_is_a_checkpoint(photos, tmp_path):
    """A spot market that waits for a checkpoint takes the first file for one."""
    job = Job(tmp_path, photos, 1, "--checkpoint-dir", "checkpoints")
    job.run(Death("KILL", 7))
    assert not (tmp_path / "checkpoints").exists()
    job.run(Death("KILL", 9))
    kept = (tmp_path / "checkpoints" / "steps-done.txt").read_bytes()
    assert kept.endswith(b" 8\n")
    job.run(Death("KILL", 1))
    assert (tmp_path / "checkpoints" / "steps-done.txt").read_bytes() == kept


def test_torchrun_passes_a_stop_on(photos, tmp_path, unbroken):
    """The one with the real launcher, and a signal that comes whenever it comes."""
    job = Job(tmp_path, photos, 2, "--checkpoint-dir", "checkpoints")
    script = tmp_path / "small.py"
    script.write_text(
        f"import sys\nsys.path[:0] = [{str(TRAIN_SRC)!r}, {str(ROOT / 'tests')!r}]\nimport train\n"
        "from rank import small_network\ntrain.build_model = small_network\nsys.exit(train.main())\n"
    )
    argv = command(*job.arguments, "--threads", 1, processes=2)
    argv[argv.index(str(TRAIN_SRC / "train.py"))] = str(script)
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as launcher:
        lines = []
        for line in launcher.stdout:
            lines.append(line)
            if line.startswith("epoch=2 "):
                launcher.send_signal(signal.SIGTERM)
    assert any(line.startswith("told to stop") for line in lines) or launcher.returncode == 0
    assert job.run() == [0, 0]
    assert resumed(job.logs[-1])[1:] == (0, 0)
    assert_equal(job, unbroken(2))


# -- the real thing


@pytest.fixture
def real_photos(tmp_path):
    """Of the real photos, a few of three breeds."""
    with zipfile.ZipFile(REAL_DATA / "dogImages.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        breeds = sorted({Path(name).parent.name for name in names})[:3]
        for split, count in (("train", 10), ("valid", 4), ("test", 4)):
            for breed in breeds:
                of_breed = [name for name in names if f"/{split}/{breed}/" in f"/{name}"][:count]
                archive.extractall(tmp_path, of_breed)
    return next(tmp_path.glob("**/train")).parent


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL_DATA / "dogImages.zip").exists(), reason=f"no real photos in {REAL_DATA}")
def test_real_photos_and_weights_interrupted_twice(real_photos, tmp_path):
    options = ["--image-size", 224, "--pretrained", REAL_DATA / "mobilenet_v2.pth", "--freeze", "true"]
    unbroken = Job(tmp_path / "unbroken", real_photos, 1, *options)
    job = Job(tmp_path / "job", real_photos, 1, *options, "--checkpoint-dir", "checkpoints", "--checkpoint-every", 2)
    assert unbroken.run(network="") == [0]
    assert job.run(Death("KILL", 8), network="") == [-signal.SIGKILL]
    assert job.run(Death("TERM", 5), network="") == [0]
    assert job.run(network="") == [0]
    assert len(job.report()["resumed"]) == 2
    assert_equal(job, unbroken)
