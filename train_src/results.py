"""What a training run leaves behind: the artefact that is deployed, and the report that is read.

The artefact is self-sufficient. Packed as it is into model.tar.gz, it is what AWS's Ray Serve image expects
(https://aws.github.io/deep-learning-containers/ray/), and what `classifier.Classifier.load` reads on any machine:

    model.pt      the weights, a plain state_dict
    model.json    architecture, classes, preprocessing, metrics, versions, hyperparameters
    config.yaml   the application for Ray Serve to start
    code/         the serving app and its requirements.txt
"""

import csv
import io
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import PIL
import torch
import torchvision
from checkpoints import write_whole
from classifier import Preprocessing, describe
from torch import Tensor

SERVING_CODE = ("serving.py", "classifier.py", "fetch.py")


def versions() -> dict[str, str]:
    """Of all that could make a difference to a result."""
    libraries = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}
    return {"python": platform.python_version(), **libraries}


def write_artefact(
    folder: Path, state: dict[str, Tensor], classes: Sequence[str], preprocessing: Preprocessing, facts: dict[str, Any]
) -> None:
    """The deployable folder. `facts` go into model.json as they are: architecture, metrics, hyperparameters, ...

    It is written twice, before and after the test: a kill while it is written again leaves each file whole.
    """
    here, code, weights = Path(__file__).resolve().parent, folder / "code", io.BytesIO()
    code.mkdir(parents=True, exist_ok=True)
    sources = {here / name: code / name for name in SERVING_CODE}
    sources |= {
        here / "requirements-serving.txt": code / "requirements.txt",
        here / "config.yaml": folder / "config.yaml",
    }
    for source, copy in sources.items():
        write_whole(copy, source.read_bytes())
    torch.save(state, weights)
    write_whole(folder / "model.pt", weights.getbuffer())
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(
        folder / "model.json", facts | describe(classes, preprocessing) | {"versions": versions(), "created": created}
    )


def write_json(path: Path, content: Any) -> None:
    """For people to read as well as programs; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


def by_class(classes: Sequence[str], labels: Tensor, logits: Tensor) -> dict[str, Any]:
    """Accuracy of each class, and the confusion matrix: rows are true classes, columns predicted ones."""
    size = len(classes)
    confusion = torch.bincount(labels * size + logits.argmax(1), minlength=size * size).view(size, size)
    accuracy = (confusion.diag() / confusion.sum(1)).tolist()
    return {"accuracy_by_class": dict(zip(classes, accuracy, strict=True)), "confusion_matrix": confusion.tolist()}


def write_predictions(path: Path, files: Sequence[str], classes: Sequence[str], labels: Tensor, logits: Tensor) -> None:
    """One line per photo: file, true class, likeliest class, its probability."""
    values, indices = logits.softmax(1).max(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "prediction", "probability"])
        for name, label, index, value in zip(files, labels.tolist(), indices.tolist(), values.tolist(), strict=True):
            writer.writerow([name, classes[label], classes[index], f"{value:.6f}"])


def draw_learning_curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Loss and accuracy by epoch. Left out where matplotlib is not installed: metrics.json has the numbers."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("loss", "top1"), strict=True):
        for name in ("train", "valid"):
            axes.plot([entry["epoch"] for entry in history], [entry[name][key] for entry in history], "o-", label=name)
        axes.set(xlabel="epoch", ylabel=key)
        axes.legend()
    figure.savefig(path, dpi=120)
