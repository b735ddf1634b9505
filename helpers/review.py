"""Is a training report to be believed? Which photos it learnt from, chose by and was judged on, and for how long.

The training program reports a digest of the list of photos of each split. Here the same digest is made of what lies in
the bucket; a run that was given other photos shows, whatever its accuracy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .cloud import Cloud
from .photos import SPLITS


@dataclass(frozen=True)
class Finding:
    """One question to a report, what was found, and whether that is ``right``."""

    question: str
    found: str
    right: bool


def digest(names: Iterable[str]) -> str:
    """Of photos named ``class/file``, in any order: what the training program reports of a split.

    >>> digest(["b/1.jpg", "a/2.jpg"]) == digest(["a/2.jpg", "b/1.jpg"])
    True
    """
    ordered = sorted(names, key=lambda name: name.split("/"))
    return hashlib.sha256("\n".join(ordered).encode()).hexdigest()


def staged(cloud: Cloud, prefix: str = "data") -> dict[str, str]:
    """The digest of each split as it lies in the project's bucket."""
    pages = cloud.client("s3").get_paginator("list_objects_v2")
    return {
        split: digest(
            item["Key"].removeprefix(f"{prefix}/{split}/")
            for page in pages.paginate(Bucket=cloud.bucket, Prefix=f"{prefix}/{split}/")
            for item in page.get("Contents", ())
        )
        for split in SPLITS
    }


def check(report: Mapping[str, Any], known: Mapping[str, str], epochs: int) -> list[Finding]:
    """A report against the digests of the splits (see :func:`staged`) and the number of epochs that was asked for."""
    of_digest = {value: split for split, value in known.items()}
    uses = {"learnt from": "train", "best epoch chosen by": "valid", "judged on": "test"}
    findings = []
    for question, split in uses.items():
        found = of_digest.get(report["digests"][split], "other photos")
        findings.append(Finding(question, found, found == split))
    ran = len(report["history"])
    return [*findings, Finding("epochs", f"{ran} of {epochs}", ran == epochs)]
