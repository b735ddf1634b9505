"""The training program as a whole: what it writes, that it is exact on several processes, how it fails and stops."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REAL_DATA
from tests.ranks import log_of, train_ranks
from tests.tiny_photos import CLASSES, TINY, TRAIN_SRC, command, run_training, write_photos

sys.path.insert(0, str(TRAIN_SRC))
import results
import torch
import train
import trainer
from classifier import Classifier, Preprocessing, build_model

METRICS = json.loads((TRAIN_SRC / "metric_definitions.json").read_text())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "shufflenet.pth"
    torch.save(build_model("shufflenet_v2_x0_5", 1000, 224).state_dict(), path)
    return path


@pytest.fixture
def run(photos, tmp_path, monkeypatch):
    """The program in this process: `run("name", "--epochs", 2)` trains into tmp_path/name."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SM_")]:
        monkeypatch.delenv(name)

    def call(name, *arguments):
        folders = ["--data", photos, "--model-dir", f"{name}/model", "--output-dir", f"{name}/output"]
        return train.main([*map(str, folders), *TINY, "--threads", "1", *map(str, arguments)])

    yield call
    signal.signal(signal.SIGTERM, handler)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model" / "model.pt", weights_only=True)


def report_of(folder: Path) -> dict:
    return json.loads((folder / "output" / "metrics.json").read_text())


def assert_same_weights(one: Path, other: Path, **tolerance: float) -> None:
    left, right = weights_of(one), weights_of(other)
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def values(log: str, name: str) -> list[float]:
    """What SageMaker would make of the log."""
    (regex,) = [entry["Regex"] for entry in METRICS if entry["Name"] == name]
    return [float(match[1]) for line in log.splitlines() if (match := re.search(regex, line))]


# -- a whole run


@pytest.fixture(scope="module")
def frozen(photos, weights, tmp_path_factory):
    """A frozen run with one process and the same with two, as a user would start these."""
    base = tmp_path_factory.mktemp("frozen")
    arguments = ["--data", photos, "--pretrained", weights, "--freeze", "true", "--epochs", 4, *TINY]
    arguments += ["--checkpoint-dir", "checkpoints"]
    for name in ("1", "2"):
        (base / name).mkdir()
    assert train_ranks(1, base / "1", arguments) == [0], log_of(base / "1")
    done = run_training(base / "2", *arguments, processes=2)
    assert done.returncode == 0, done.stderr
    logs = {1: log_of(base / "1"), 2: done.stdout}
    return base, logs


def test_the_log_says_what_runs_where_on_what(frozen):
    _, logs = frozen
    versions, where, *_ = logs[1].splitlines()
    assert re.fullmatch(r"python=\S+ torch=\S+ torchvision=\S+ pillow=\S+", versions)
    assert re.fullmatch(r"processes=1 device=.* threads=1 precision=fp32", where)
    assert "train: 21 photos of 3 classes; each process sees 21\n" in logs[1]
    assert re.search(r"train: 21 photos of 3 classes; each process sees (11 \+ 10|12 \+ 9)\n", logs[2])
    assert "valid: 9 photos of 3 classes; each process sees 5 + 4\n" in logs[2]


def test_the_metric_definitions_read_the_log(frozen):
    base, logs = frozen
    report = report_of(base / "1")
    for split in ("train", "valid"):
        for key in ("loss", "top1"):
            history = [entry[split][key] for entry in report["history"]]
            assert values(logs[1], f"{split}:{key}")[:4] == pytest.approx(history, abs=1e-4)
    assert values(logs[1], "train:step_loss") == []  # these epochs take no ten seconds
    assert len(values(logs[1], "epoch:seconds")) == len(values(logs[1], "epoch:photos_per_second")) == 4
    # The last value counts for SageMaker: it must be that of the model that was kept.
    assert values(logs[1], "valid:top1")[-1] == pytest.approx(report["valid"]["top1"], abs=1e-4)
    assert values(logs[1], "test:top1") == [pytest.approx(report["test"]["top1"], abs=1e-4)]
    assert len(METRICS) <= 40
    assert all(len(entry["Regex"]) <= 500 for entry in METRICS)


def test_the_artefact_is_self_sufficient(frozen):
    base, _ = frozen
    model = base / "1" / "model"
    found = sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file())
    code = ["code/classifier.py", "code/fetch.py", "code/requirements.txt", "code/serving.py"]
    assert found == [*code, "config.yaml", "model.json", "model.pt"]
    card = json.loads((model / "model.json").read_text())
    assert card["architecture"] == "shufflenet_v2_x0_5"
    assert card["classes"][0] == {"index": 0, "class": "001.Red_setter", "breed": "Red setter"}
    assert card["preprocessing"]["crop"] == 32
    assert card["versions"]["torch"] == torch.__version__
    assert card["hyperparameters"]["seed"] == 0
    assert card["metrics"]["test"]["top1"] >= 0


def test_an_artefact_that_is_cut_off_while_it_is_written_again_is_the_one_before(tmp_path, monkeypatch):
    def write(value: float) -> None:
        state, preprocessing = {"weight": torch.tensor([value])}, Preprocessing.for_size(32)
        results.write_artefact(tmp_path, state, ["001.A", "002.B"], preprocessing, {"metrics": value})

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    write(1.0)
    before = content()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write(2.0)
    assert content() == before
    monkeypatch.undo()
    write(2.0)
    assert content().keys() == before.keys()
    assert torch.load(tmp_path / "model.pt", weights_only=True)["weight"].item() == 2.0


def test_the_artefact_predicts_what_the_report_says(frozen, photos):
    base, _ = frozen
    for processes in ("1", "2"):
        classifier = Classifier.load(base / processes / "model")
        with (base / processes / "output" / "test_predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 9
        found = classifier.predict([classifier.preprocessing.read(photos / "test" / row["file"]) for row in rows])
        assert [classifier.classes[index] for index in found.argmax(1)] == [row["prediction"] for row in rows]
        assert found.amax(1).tolist() == pytest.approx([float(row["probability"]) for row in rows], abs=1e-5)


def test_the_report_adds_up(frozen):
    base, _ = frozen
    report = report_of(base / "1")
    confusion = torch.tensor(report["confusion_matrix"])
    assert confusion.sum(1).tolist() == [3, 3, 3]
    assert confusion.diag().sum().item() / 9 == pytest.approx(report["test"]["top1"])
    assert list(report["accuracy_by_class"]) == list(CLASSES)
    assert report["photos"] == {"train": 21, "valid": 9, "test": 9}
    assert (report["batch_size"], report["steps_per_epoch"]) == (8, 3)
    best = max(report["history"], key=trainer.merit)
    assert (report["best_epoch"], report["valid"]) == (best["epoch"], best["valid"])
    assert (base / "1" / "output" / "learning_curves.png").read_bytes()[:4] == b"\x89PNG"


def test_two_processes_train_the_same_head_as_one(frozen):
    base, _ = frozen
    assert_same_weights(base / "1", base / "2", rtol=1e-4, atol=1e-5)
    one, two = (report_of(base / each) for each in ("1", "2"))
    for left, right in zip(one["history"], two["history"], strict=True):
        assert left["train"] == pytest.approx(right["train"], abs=1e-4)
        assert left["valid"] == pytest.approx(right["valid"], abs=1e-4)
    assert one["test"] == pytest.approx(two["test"], abs=1e-4)


def test_a_frozen_trunk_is_not_touched(frozen, weights):
    base, _ = frozen
    given, trained = torch.load(weights, weights_only=True), weights_of(base / "1")
    assert all(torch.equal(trained[name], given[name]) for name in trained if not name.startswith("fc."))


# -- full training, in this process


def test_a_long_epoch_shows_its_progress(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(trainer, "PROGRESS_SECONDS", 0.0)
    assert run("x", "--epochs", 2) == 0
    log = capsys.readouterr().out
    lines = [line for line in log.splitlines() if "step_loss=" in line]
    assert len(lines) == 6
    assert re.fullmatch(r"epoch=2 step=1/3 global_step=4 step_loss=\d+\.\d{4} photos_per_second=\d+", lines[3])
    curve = report_of(tmp_path / "x")["step_loss"]
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
    assert values(log, "train:step_loss") == pytest.approx([loss for _, loss in curve], abs=1e-4)
    assert len(values(log, "epoch:photos_per_second")) == 2  # of whole epochs only


def test_instances_that_train_apart_are_warned_of(run, monkeypatch, capsys):
    monkeypatch.setenv("SM_HOSTS", '["algo-1", "algo-2"]')
    monkeypatch.setenv("SM_CURRENT_HOST", "algo-2")
    assert run("x", "--epochs", 1) == 0
    log = capsys.readouterr().out
    assert "WARNING: 2 instances, but algo-2 trains the whole model alone" in log
    monkeypatch.setenv("SM_HOSTS", '["algo-1"]')
    assert run("x", "--epochs", 1) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_the_same_seed_gives_the_same_model(run, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert run(name, "--epochs", 2, "--seed", seed) == 0
        history = report_of(tmp_path / name)["history"]
        assert history[1]["train"]["loss"] < history[0]["train"]["loss"]  # from scratch, it learns
    assert_same_weights(tmp_path / "a", tmp_path / "b", rtol=0, atol=0)
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "a", tmp_path / "c", rtol=0, atol=0)


def test_weights_are_fine_tuned_too(run, tmp_path, weights):
    assert run("tuned", "--epochs", 1, "--pretrained", weights.parent, "--precision", "bf16") == 0
    given, trained = torch.load(weights, weights_only=True), weights_of(tmp_path / "tuned")
    assert not torch.equal(given["conv1.0.weight"], trained["conv1.0.weight"])
    distance = (given["conv1.0.weight"] - trained["conv1.0.weight"]).abs().max()
    assert distance < 0.01


def test_a_training_job_tells_folders_by_its_environment(run, photos, tmp_path, monkeypatch, weights):
    for split in ("train", "valid", "test"):
        monkeypatch.setenv(f"SM_CHANNEL_{split.upper()}", str(photos / split))
    monkeypatch.setenv("SM_CHANNEL_PRETRAINED", str(weights.parent))
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "opt" / "model"))
    monkeypatch.setenv("SM_OUTPUT_DATA_DIR", str(tmp_path / "opt" / "output"))
    # as a job (and a tuning job) passes hyperparameters: text, in whichever spelling
    given = ["--freeze", "True", "--epochs", "1", "--learning_rate", "1e-2", "--_tuning_objective_metric", "x"]
    assert train.main([*TINY, *given]) == 0
    assert (tmp_path / "opt" / "model" / "model.pt").exists()
    assert (tmp_path / "opt" / "output" / "metrics.json").exists()


@pytest.mark.parametrize("arguments", ["--epochs 0", "--freeze maybe", "--epoch 3", "--precision fp8"])
def test_wrong_arguments_end_with_code_2(arguments):
    with pytest.raises(SystemExit) as ended:
        train.parse_arguments(arguments.split())
    assert ended.value.code == 2


# -- bad input


@pytest.fixture
def copy(photos, tmp_path):
    return shutil.copytree(photos, tmp_path / "photos")


def assert_fails(capsys, code, *words):
    error = capsys.readouterr().err
    assert code == 1
    last = error.strip().splitlines()[-1]
    assert last.startswith("train.py failed: ")
    assert all(word in last for word in words), last
    assert "Traceback" not in error  # what is the user's to mend is said without one


def test_photos_that_are_not_there(run, copy, capsys):
    assert_fails(capsys, train.main([]), "where are the train photos?")
    assert_fails(capsys, run("x", "--data", copy / "nowhere"), "nowhere", "does not exist")
    shutil.rmtree(copy / "valid" / "003.Greenland_dog")
    assert_fails(capsys, run("x", "--data", copy), "003.Greenland_dog", "not in valid")


def test_a_photo_that_cannot_be_read(run, copy, capsys, tmp_path):
    photo = copy / "test" / "001.Red_setter" / "001.jpg"
    photo.write_bytes(photo.read_bytes()[:150])
    assert_fails(capsys, run("kept", "--data", copy, "--epochs", 1), str(photo), "remove or replace")
    # The test photos come last: the model that was trained is not lost with them.
    assert json.loads((tmp_path / "kept" / "model" / "model.json").read_text())["metrics"]["test"] is None
    train_photo = copy / "train" / "002.Blue_heeler" / "003.jpg"
    train_photo.write_bytes(b"")
    assert_fails(capsys, run("x", "--data", copy, "--epochs", 1), str(train_photo))


def test_networks_and_weights_that_are_not_right(run, capsys, weights, tmp_path):
    assert_fails(capsys, run("x", "--architecture", "resnet19"), "resnet18")
    code = run("x", "--architecture", "squeezenet1_1", "--pretrained", weights)
    assert_fails(capsys, code, "does not fit SqueezeNet")
    (tmp_path / "none").mkdir()
    assert_fails(capsys, run("x", "--pretrained", tmp_path / "none"), "it holds 0")
    for name in ("a.pth", "b.pth"):
        shutil.copy(weights, tmp_path / "none" / name)
    assert_fails(capsys, run("x", "--pretrained", tmp_path / "none"), "it holds 2")


def test_a_loss_that_runs_away(run, capsys):
    assert_fails(capsys, run("x", "--epochs", 3, "--learning-rate", 1e30), "lower --learning-rate")


def test_an_error_of_our_own_keeps_its_traceback(run, capsys, monkeypatch):
    monkeypatch.setattr(train, "find_splits", lambda _: 1 / 0)
    assert run("x") == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.strip().splitlines()[-1] == "train.py failed: ZeroDivisionError: division by zero"


# -- stopping and resuming


def stop_after_steps(monkeypatch, steps):
    """As if SIGTERM came after so many steps."""
    original, done = trainer.Trainer._step, []

    def step(self, *arguments):
        done.append(1)
        if len(done) == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "_step", step)


def test_a_stop_keeps_the_best_model_and_the_test_photos_unseen(run, tmp_path, monkeypatch, capsys):
    stop_after_steps(monkeypatch, 5)  # an epoch has three
    assert run("stopped", "--epochs", 3, "--checkpoint-dir", "checkpoints") == 0
    log = capsys.readouterr().out
    report = report_of(tmp_path / "stopped")
    assert (report["best_epoch"], report["test"]) == (1, None)
    assert "told to stop (SIGTERM): epoch=2 step=2/3 global_step=5, saved as checkpoints/checkpoint-b.pt\n" in log
    assert "the test photos stay unseen" in log


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_stop_during_an_evaluation_is_heard(run, tmp_path, monkeypatch, capsys, split):
    arguments = ["--epochs", 2, "--freeze", "true", "--checkpoint-dir", "checkpoints"]
    original = train.Classifier.logits if split == "test" else trainer.Trainer._validate

    def stop(self, *given):
        if split == "test" or self.progress.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(*((train.Classifier, "logits") if split == "test" else (trainer.Trainer, "_validate")), stop)
        assert run("x", *arguments) == 0
    assert report_of(tmp_path / "x")["test"] is None
    assert len(report_of(tmp_path / "x")["history"]) == (2 if split == "test" else 1)
    capsys.readouterr()
    assert run("x", *arguments) == 0
    log, report = capsys.readouterr().out, report_of(tmp_path / "x")
    assert f"after {2 if split == 'test' else 1} epochs and {0 if split == 'test' else 3} steps" in log
    assert len(report["history"]) == 2
    assert report["test"]["top1"] >= 0


def test_a_stop_before_the_first_epoch_is_no_success(run, tmp_path, monkeypatch, capsys):
    stop_after_steps(monkeypatch, 1)
    assert run("x", "--epochs", 2) == 143
    assert not (tmp_path / "x").exists()
    assert "before there was a model" in capsys.readouterr().err


def test_another_runs_checkpoints_are_refused(run, capsys):
    assert run("a", "--epochs", 1, "--checkpoint-dir", "checkpoints") == 0
    capsys.readouterr()
    assert_fails(capsys, run("b", "--epochs", 1, "--seed", 9, "--checkpoint-dir", "checkpoints"), "different seed")
    assert run("c", "--epochs", 1, "--checkpoint-dir", "checkpoints") == 0  # done already: only judged again
    assert values(capsys.readouterr().out, "epoch:seconds") == []


# The program, which waits when it has told of its third epoch.
PATIENT = f"""
import sys, time
sys.path.insert(0, {str(TRAIN_SRC)!r})
import train, world
log = world.World.log
def patient_log(self, line):
    log(self, line)
    if line.startswith("epoch=3 "):
        time.sleep(600)
world.World.log = patient_log
sys.exit(train.main())
"""


def test_a_killed_run_goes_on_from_its_last_epoch(run, photos, tmp_path, capsys):
    """kill -9, as a spot instance vanishes: in the third epoch, which it has told of and not yet saved."""
    argv = command("--data", photos, *TINY, "--threads", 1, "--epochs", 400, "--checkpoint-dir", "checkpoints")
    patient = tmp_path / "patient.py"
    patient.write_text(PATIENT)
    argv[argv.index(str(TRAIN_SRC / "train.py"))] = str(patient)
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as job:
        for line in job.stdout:
            if line.startswith("epoch=3 "):
                job.kill()
    assert run("resumed", "--epochs", 6, "--checkpoint-dir", "checkpoints") == 0
    assert re.search(
        r"resumed from checkpoints/checkpoint-[ab]\.pt after 2 epochs and 0 steps", capsys.readouterr().out
    )


def test_one_process_goes_on_where_two_stopped(frozen, run, weights, capsys):
    base, _ = frozen
    arguments = ["--pretrained", weights, "--freeze", "true", "--epochs", 5]
    assert run("on", *arguments, "--checkpoint-dir", base / "2" / "checkpoints") == 0
    log = capsys.readouterr().out
    assert "after 4 epochs and 0 steps" in log
    assert len(values(log, "epoch:seconds")) == 1


# -- the real thing


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL_DATA / "dogImages.zip").exists(), reason=f"no real photos in {REAL_DATA}")
def test_real_photos_and_weights_reach_the_accuracy_promised(tmp_path):
    shutil.unpack_archive(REAL_DATA / "dogImages.zip", tmp_path)
    arguments = ["--data", "dogImages", "--pretrained", REAL_DATA / "mobilenet_v2.pth", "--freeze", "true"]
    done = subprocess.run(command(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    assert values(done.stdout, "test:top1")[0] >= 0.88
