"""A trained model in this process, by the code its artefact carries: what the endpoint's answers are held against."""

from __future__ import annotations

import base64
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BATCH = 32


def predict(model: Path, photos: Sequence[Path], top_k: int = 1) -> list[list[dict[str, Any]]]:
    """The ``top_k`` likeliest breeds of each photo, as the endpoint words them; ``model`` is the unpacked artefact.

    Raises ``FileNotFoundError`` where the folder is no artefact, and what the artefact's own code raises.
    """
    classifier = _classifier(model / "code" / "classifier.py").Classifier.load(model)
    answers = []
    for start in range(0, len(photos), BATCH):
        pixels = [classifier.preprocessing.read(photo) for photo in photos[start : start + BATCH]]
        answers += [classifier.answers(one, top_k=top_k) for one in classifier.predict(pixels)]
    return answers


def as_base64(photo: Path) -> str:
    """A photo as JSON carries it."""
    return base64.b64encode(photo.read_bytes()).decode()


def _classifier(source: Path) -> Any:
    """The artefact's own module: this checkout's may be newer than the model."""
    spec = importlib.util.spec_from_file_location("artefact_classifier", source)
    if spec is None or spec.loader is None or not source.is_file():
        raise FileNotFoundError(f"{source} is not there: is this an unpacked model.tar.gz of the series?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
