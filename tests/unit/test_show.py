"""What notebooks show: small pictures that say what is on them."""

from __future__ import annotations

import base64
import io
from typing import Any

import IPython.display
import numpy as np
import pytest
from PIL import Image

from helpers import charts, show


def test_a_figure_is_small_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[dict[str, str], dict[str, Any]]] = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **more: shown.append((data, more["metadata"])))
    figure, axes = charts.new_figure(4)
    noise = np.random.default_rng(0).normal(size=(40, 70, 3)).cumsum(0)
    axes[0, 0].imshow((noise - noise.min()) / np.ptp(noise))
    full = io.BytesIO()
    figure.savefig(full)
    show.figure(figure, "colours")
    ((data, metadata),) = shown
    picture = base64.b64decode(data["image/png"])
    assert len(picture) < len(full.getvalue())
    drawn, kept = (np.asarray(Image.open(source).convert("RGB"), float) for source in (full, io.BytesIO(picture)))
    assert np.abs(drawn - kept).mean() < 6, "it looks the same"
    assert data["text/plain"] == metadata["image/png"]["alt"] == "colours"
