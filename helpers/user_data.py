"""What an EC2 instance is told at its first boot, and the same by hand: shell text, made here and run there.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("user_data.sh")
LONGEST = 16_384  # bytes
# What train.py imports, where the image does not bring it: the series' own versions.
PACKAGES = ("torch>=2.14,<2.15", "torchvision>=0.29,<0.30", "numpy>=2", "pillow>=12")


def render(
    *,
    region: str,
    results: str,
    code: str,
    data: str,
    weights: str | None,
    hyperparameters: Mapping[str, Any],
    max_runtime: int,
) -> str:
    """The script of an instance that trains, saves and terminates itself.

    ``results``, ``code`` (a tar.gz), ``data`` and ``weights`` are S3 addresses; results go below
    ``results/<instance id>``. Training is told to stop after ``max_runtime`` seconds. Raises ``ValueError`` for more
    than EC2 takes.
    """
    values = {
        "AWS_DEFAULT_REGION": shlex.quote(region),
        "RESULTS": shlex.quote(results.rstrip("/")),
        "CODE": shlex.quote(code),
        "DATA": shlex.quote(data),
        "WEIGHTS": shlex.quote(weights or ""),
        "MAX_SECONDS": str(int(max_runtime)),
        "PACKAGES": f"({shlex.join(PACKAGES)})",
        "ARGUMENTS": f"({shlex.join(arguments(hyperparameters))})",
    }
    lines = ["#!/bin/bash", *(f"{name}={value}" for name, value in values.items()), SCRIPT.read_text()]
    script = "\n".join(lines)
    size = len(script.encode())
    if size > LONGEST:
        raise ValueError(f"the user data has {size} bytes, and EC2 takes {LONGEST}: shorten the hyperparameters")
    return script


def manual_commands(
    *, code: str, data: str, weights: str | None, hyperparameters: Mapping[str, Any], results: str
) -> list[str]:
    """The same by hand: what a person types on the instance, one command a line, up to the archive in S3.

    The last thing to type is ``sudo shutdown -h now``; it is not among them.
    """
    q = shlex.quote
    install = f"sudo dnf install -y python3.12 python3.12-pip && sudo python3.12 -m pip install {shlex.join(PACKAGES)}"
    pretrained = ["--pretrained", "weights"] if weights else []
    training = ["--data", "data", "--model-dir", "model", "--output-dir", "output", *pretrained]
    return [
        "mkdir -p ~/dogs/code && cd ~/dogs",
        "PYTHON=$(ls /opt/pytorch/bin/python 2>/dev/null || echo python3)",
        f"$PYTHON -m pip show -q torch torchvision || {{ {install}; PYTHON=python3.12; }}",
        f"aws s3 cp {q(code)} - | tar -xz -C code",
        f"aws s3 sync --only-show-errors {q(data)} data",
        *([f"aws s3 sync --only-show-errors {q(weights)} weights"] if weights else []),
        f"$PYTHON code/train.py {shlex.join([*training, *arguments(hyperparameters)])}",
        "tar -czf model.tar.gz -C model .",
        f"aws s3 cp --only-show-errors model.tar.gz {q(results.rstrip('/'))}/model.tar.gz",
    ]


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Hyperparameters as the training program takes them on its command line."""
    return [word for name, value in hyperparameters.items() for word in (f"--{name}", str(value))]
