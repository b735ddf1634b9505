"""Alternative texts for the figures: the metadata of the notebooks' outputs has them, and MyST-NB leaves them out."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def described(notebook: Path) -> dict[str, str]:
    """The alternative texts of a notebook's figures, by the SHA-256 of their bytes: so MyST-NB names its files."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = {}
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if picture := output.get("data", {}).get("image/png"):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            found[hashlib.sha256(b64decode("".join(picture))).hexdigest()] = alt
    return found


def add_alternatives(app: Sphinx, doctree: nodes.document) -> None:
    """Give each figure of a notebook its alternative text."""
    path = app.env.doc2path(app.env.docname)
    if Path(path).suffix != ".ipynb":
        return
    alternatives = described(Path(path))
    for image in doctree.findall(nodes.image):
        if alt := alternatives.get(Path(image["uri"]).stem):
            image["alt"] = alt


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what runs after each page is read."""
    app.connect("doctree-read", add_alternatives)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
