"""Machine images: what AWS publishes today (Amazon Linux 2023, the Deep Learning AMIs), and their SSM parameters.

https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html
https://docs.aws.amazon.com/dlami/latest/devguide/find-dlami-id.html

AWS gives an image another id in every region and at every release; so does this, but the ids and release dates are its
own. Whatever the image, an instance runs this machine's system and this checkout's Python: an image decides the name
of the user, the paths (``/opt/pytorch/bin/python`` on a Deep Learning AMI) and what the metadata service answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

AMAZON, UBUNTU_USER, AMAZON_USER = "137112412989", "ubuntu", "ec2-user"
DEEP_LEARNING = "898082745236"
RELEASED = "2026-11-02"
LINUX = "/aws/service/ami-amazon-linux-latest"
DLAMI = "/aws/service/deeplearning/ami"
PYTORCH = "2.14"
GIB = {"linux": 8, "dlami": 45}


@dataclass(frozen=True)
class Image:
    """One published image; ``parameters`` are the names of the SSM parameters that hold its id."""

    name: str
    description: str
    owner: str
    architecture: str
    user: str
    root_device: str
    gib: int
    parameters: tuple[str, ...]

    @property
    def deep_learning(self) -> bool:
        """Whether PyTorch is in it."""
        return self.owner == DEEP_LEARNING

    def id(self, region: str) -> str:
        """The image's id in a region."""
        return "ami-0" + hashlib.sha256(f"{region} {self.name}".encode()).hexdigest()[:16]


def published() -> Iterator[Image]:
    """Every image of AWS that is known here."""
    for architecture in ("x86_64", "arm64"):
        yield _linux(architecture, "al2023-ami", "al2023-ami")
        yield _linux(architecture, "al2023-ami-minimal", "al2023-ami-minimal")
        yield _deep_learning(architecture, "amazon-linux-2023", "Amazon Linux 2023", AMAZON_USER, "/dev/xvda")
        yield _deep_learning(architecture, "ubuntu-24.04", "Ubuntu 24.04", UBUNTU_USER, "/dev/sda1")


def parameters(region: str) -> dict[str, str]:
    """Values of the public SSM parameters of a region, by name."""
    return {name: image.id(region) for image in published() for name in image.parameters}


def find(region: str, image_id: str) -> Image | None:
    """The published image of an id; None for an account's own image."""
    return next((image for image in published() if image.id(region) == image_id), None)


def register(backend: Any) -> None:
    """Put the published images among the records of a region, where they are not there yet."""
    from .image_record import PublishedImage  # moto's EC2 is imported when somebody asks for EC2

    for image in published():
        identifier = image.id(backend.region_name)
        if identifier not in backend.amis:
            backend.amis[identifier] = PublishedImage(backend, image)


def _linux(architecture: str, name: str, parameter: str) -> Image:
    kernels = ("kernel-default", "kernel-6.1")
    return Image(
        name=f"{name}-2023.{RELEASED.replace('-', '')}.0-kernel-6.1-{architecture}",
        description=f"Amazon Linux 2023 AMI 2023 {architecture} HVM kernel-6.1",
        owner=AMAZON,
        architecture=architecture,
        user=AMAZON_USER,
        root_device="/dev/xvda",
        gib=GIB["linux"],
        parameters=tuple(f"{LINUX}/{parameter}-{kernel}-{architecture}" for kernel in kernels),
    )


def _deep_learning(architecture: str, system: str, shown: str, user: str, device: str) -> Image:
    arm = "ARM64 " if architecture == "arm64" else ""
    return Image(
        name=f"Deep Learning {arm}AMI OSS Nvidia Driver GPU PyTorch {PYTORCH} ({shown}) {RELEASED.replace('-', '')}",
        description=f"Supported EC2 instances: G4dn, G5, G6, Gr6, G6e, P4, P4de, P5, P5e, P5en, P6. PyTorch-{PYTORCH}",
        owner=DEEP_LEARNING,
        architecture=architecture,
        user=user,
        root_device=device,
        gib=GIB["dlami"],
        parameters=(f"{DLAMI}/{architecture}/oss-nvidia-driver-gpu-pytorch-{PYTORCH}-{system}/latest/ami-id",),
    )
