"""Pretrained weights: from a file, or from torchvision's own address; staged to S3, since a job downloads nothing."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path
from typing import Any

from .progress import progress

BLOCK = 1 << 20


class WeightsError(RuntimeError):
    """The weights cannot be had; the message says why and what to do."""


def fetch(weights: str, architecture: str, into: Path) -> Path | None:
    """The state_dict file for ``architecture``: ``weights`` is a path, 'default' (torchvision's best) or 'none' (None).

    Raises :class:`WeightsError` for a missing file, an unknown architecture or a download that does not check out.
    """
    if weights == "none":
        return None
    if weights != "default":
        if not Path(weights).is_file():
            raise WeightsError(f"{weights} is not a file; give a torchvision state_dict, 'default' or 'none'")
        return Path(weights)
    return _download(_address(architecture), into)


def stage(path: Path, bucket: str, prefix: str, s3: Any) -> str:
    """Upload the file unless that very file is there; the S3 URI of its folder, as a training channel wants it."""
    key, digest = f"{prefix}/{path.name}", _sha256(path)
    try:
        there = s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("sha256") == digest
    except s3.exceptions.ClientError:
        there = False
    if not there:
        s3.upload_file(str(path), bucket, key, ExtraArgs={"Metadata": {"sha256": digest}})
    return f"s3://{bucket}/{prefix}"


def _address(architecture: str) -> str:
    from torchvision.models import get_model_weights

    try:
        return str(get_model_weights(architecture)["DEFAULT"].url)
    except (ValueError, KeyError) as error:
        raise WeightsError(f"torchvision has no weights for {architecture!r}: {error}") from error


def _download(url: str, into: Path) -> Path:
    """torchvision names its files ``<architecture>-<first 8 of the sha256>.pth``: the name says what must arrive."""
    target = into / url.rpartition("/")[2]
    if target.is_file():
        return target
    into.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, part.open("wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            with progress(target.name, size or None, "bytes") as advance:
                while block := response.read(BLOCK):
                    advance(file.write(block))
    except OSError as error:
        raise WeightsError(f"{url} could not be fetched ({error}); give a file with WEIGHTS=, or 'none'") from error
    expected, digest = target.stem.rpartition("-")[2], _sha256(part)
    if not digest.startswith(expected):
        part.unlink()
        raise WeightsError(f"{url} arrived damaged (sha256 {digest[:8]}, not {expected}); try again")
    return part.replace(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
