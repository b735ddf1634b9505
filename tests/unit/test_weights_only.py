"""Files of weights come from strangers: whatever is pickled into them is never run."""

import hashlib
import json
import os
import pickle
import re
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny_photos import TRAIN_SRC

sys.path.insert(0, str(TRAIN_SRC))
from checkpoints import NAMES, Checkpoints
from classifier import BadModel, Classifier, build_model, load_pretrained


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture(params=["zip", "legacy", "bare pickle"])
def evil(request, tmp_path):
    """A file that would run code, and what would show it."""
    path, mark = tmp_path / "evil.pth", tmp_path / "it-ran"
    if request.param == "bare pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    else:
        torch.save({"weights": Bomb(mark)}, path, _use_new_zipfile_serialization=request.param == "zip")
    yield path
    assert not mark.exists()


def test_the_attack_is_one(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "it-ran")))
    assert (tmp_path / "it-ran").exists()


def test_pretrained_weights(evil):
    with pytest.raises(BadModel, match="not a torchvision state_dict"):
        load_pretrained(build_model("small_cnn", 3, 32), evil)


def test_a_model_that_is_served(evil, tmp_path):
    view = {"resize": 32, "crop": 32, "mean": [0, 0, 0], "std": [1, 1, 1]}
    card = {"architecture": "small_cnn", "classes": [{"class": "a"}], "preprocessing": view}
    (tmp_path / "model.json").write_text(json.dumps(card))
    evil.rename(tmp_path / "model.pt")
    with pytest.raises(pickle.UnpicklingError):
        Classifier.load(tmp_path)


def test_a_checkpoint(evil, tmp_path):
    content = evil.read_bytes()
    head = json.dumps({"epoch": 1, "step": 0, "bytes": len(content)}).encode()
    digest = hashlib.sha256(head + content).hexdigest().encode()
    (tmp_path / NAMES[0]).write_bytes(head + b"\n" + digest + b"\n" + content)
    with pytest.raises(pickle.UnpicklingError):
        Checkpoints(tmp_path).load()


def test_nothing_loads_otherwise():
    """Every torch.load of the program says weights_only, and nothing unpickles by itself."""
    for path in TRAIN_SRC.glob("*.py"):
        text = path.read_text()
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\(.*", text)), path
        assert not re.search(r"^\s*(import|from) (pickle|marshal|shelve|dill|joblib)", text, re.MULTILINE), path
