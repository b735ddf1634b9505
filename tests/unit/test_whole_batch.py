"""Several processes train as one: the same gradients at every step, the same metrics, each photo once."""

import json
import sys

import pytest

from tests.ranks import in_ranks, log_of
from tests.tiny_photos import TRAIN_SRC, write_photos

sys.path.insert(0, str(TRAIN_SRC))
import torch
from torch import nn
from whole_batch import Rows, twin_for_training

EPOCHS, TRAIN, VALID = 3, 42, 15


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), train=TRAIN // 3, valid=VALID // 3)


@pytest.fixture(scope="module")
def recorded(photos, tmp_path_factory):
    """Each step's gradients, the photos read and the metrics of a run, by processes, batch size and further options."""
    found = {}

    def get(processes, batch_size, *options, network="double_network"):
        key = (processes, batch_size, *options)
        if key not in found:
            folder = tmp_path_factory.mktemp("recorded")
            told = ["--data", photos, "--image-size", 16, "--batch-size", batch_size, "--epochs", EPOCHS, *options]
            arguments = [*map(str, told), "--threads", "1", "--precision", "fp32"]
            codes = in_ranks(processes, folder, "record_steps", arguments=arguments, network=network)
            assert codes == [0] * processes, log_of(folder)
            ranks = [torch.load(folder / f"rank-{rank}.pt") for rank in range(processes)]
            found[key] = ranks, json.loads((folder / "output" / "metrics.json").read_text())
        return found[key]

    return get


# 42 photos: batches of 6 come out even; of 5 and 8 do not, and are of 5 and 4, of 7; 4 are least for two processes.
@pytest.mark.parametrize(("processes", "batch_size"), [(2, 6), (2, 5), (2, 8), (2, 4), (2, 41), (3, 7)])
def test_gradients_are_those_of_one_process_at_every_step(recorded, processes, batch_size):
    (one,), _ = recorded(1, batch_size)
    many, _ = recorded(processes, batch_size)
    assert len(one["gradients"]) == EPOCHS * -(-TRAIN // batch_size)
    for rank in many:
        assert rank["gradients"].shape == one["gradients"].shape
        error = (rank["gradients"] - one["gradients"]).norm(dim=1) / one["gradients"].norm(dim=1)
        # The weights and gradients are in double precision; the loss is not, and a third rounds it otherwise.
        assert error.max() < 1e-6
        assert error[0] < (1e-13 if processes == 2 else 1e-6)


@pytest.mark.parametrize("batch_size", [5, 8])
def test_metrics_are_those_of_one_process(recorded, batch_size):
    one, two = (recorded(processes, batch_size)[1] for processes in (1, 2))
    for left, right in zip(one["history"], two["history"], strict=True):
        for split in ("train", "valid"):
            assert left[split] == pytest.approx(right[split], rel=1e-6)
    assert one["test"] == pytest.approx(two["test"], rel=1e-6)
    steps = [[step for step, _ in each["step_loss"]] for each in (one, two)]
    assert steps[0] == steps[1] == list(range(1, EPOCHS * one["steps_per_epoch"] + 1))
    assert [loss for _, loss in one["step_loss"]] == pytest.approx([loss for _, loss in two["step_loss"]], rel=1e-6)


@pytest.mark.parametrize(("processes", "batch_size"), [(1, 5), (2, 5), (2, 8), (3, 7)])
def test_each_photo_is_seen_once_an_epoch(recorded, processes, batch_size):
    ranks, report = recorded(processes, batch_size)
    seen = sorted(place for rank in ranks for place in rank["seen"])
    assert seen == [(epoch, index) for epoch in range(EPOCHS) for index in range(TRAIN)]
    # and so the losses of the steps are the loss of the epoch
    sizes = [len(part) for part in torch.arange(TRAIN).tensor_split(report["steps_per_epoch"])] * EPOCHS
    losses = torch.tensor([loss for _, loss in report["step_loss"]], dtype=torch.float64)
    by_epoch = (losses * torch.tensor(sizes)).view(EPOCHS, -1).sum(1) / TRAIN
    assert by_epoch.tolist() == pytest.approx([entry["train"]["loss"] for entry in report["history"]])


def test_a_real_network(recorded):
    """mobilenet_v2 has 52 layers of batch-norm, and a dropout in its head."""
    options = ["--architecture", "mobilenet_v2", "--epochs", "1"]
    (one,), _ = recorded(1, 14, *options, network="double_architecture")
    two, _ = recorded(2, 14, *options, network="double_architecture")
    for rank in two:
        error = (rank["gradients"] - one["gradients"]).norm(dim=1) / one["gradients"].norm(dim=1)
        assert error.max() < 1e-6


def test_without_synchronised_batch_norm_gradients_differ(recorded):
    """What the tests above would find."""
    (one,), _ = recorded(1, 6)
    two, _ = recorded(2, 6, "--sync-batch-norm", "false")
    error = (two[0]["gradients"] - one["gradients"]).norm(dim=1) / one["gradients"].norm(dim=1)
    assert error.min() > 1e-3
    assert torch.equal(two[0]["gradients"], two[1]["gradients"])


@pytest.mark.parametrize("shares", [[4, 4], [5, 1], [3, 3, 2]])
def test_batch_norm_over_all_rows(tmp_path, shares):
    assert in_ranks(len(shares), tmp_path, "normalise_rows", shares=shares) == [0] * len(shares), log_of(tmp_path)


def test_dropout_takes_its_rows_of_a_common_draw(tmp_path):
    assert in_ranks(2, tmp_path, "drop_rows", shares=[5, 3]) == [0, 0], log_of(tmp_path) + log_of(tmp_path, 1)


def test_a_twin_shares_all_tensors_and_leaves_the_model_as_it_is():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    kinds = [type(layer) for layer in model]
    twin = twin_for_training(model, Rows(), sync_batch_norm=True)
    assert [type(layer) for layer in model] == kinds
    assert [type(layer).__name__ for layer in twin] == ["Conv2d", "WholeBatchNorm", "WholeBatchDropout"]
    ours, its = model.state_dict(keep_vars=True), twin.state_dict(keep_vars=True)
    assert all(ours[name] is its[name] for name in ours)
