"""The script of a training instance: what is put in front of it, and that bash reads it."""

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.compute import newest_pytorch
from helpers.user_data import LONGEST, arguments, manual_commands, render

PLACES = {"code": "s3://b/ec2/code/x.tar.gz", "data": "s3://b/data", "weights": None}


def rendered(**changes: object) -> str:
    values = {"region": "us-east-1", "results": "s3://b/ec2", "hyperparameters": {"epochs": 2}, "max_runtime": 600}
    return render(**{**PLACES, **values, **changes})  # type: ignore[arg-type]


def test_it_is_a_bash_script_that_bash_can_read_and_ec2_takes() -> None:
    script = rendered(weights="s3://b/weights")
    assert script.startswith("#!/bin/bash\n")
    assert len(script.encode()) <= LONGEST
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_it_ends_with_a_shutdown_whatever_happens() -> None:
    script = rendered()
    assert script.index("shutdown -h") < script.index("aws "), "the system's own timer is set before anything can hang"
    assert "trap finish EXIT" in script


def test_too_long_a_script_is_refused() -> None:
    with pytest.raises(ValueError, match="EC2 takes 16384"):
        rendered(hyperparameters={"architecture": "x" * LONGEST})


@settings(max_examples=15, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z-]{1,10}", fullmatch=True),
        st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=20),
        max_size=4,
    )
)
def test_values_arrive_as_they_are(hyperparameters: dict[str, str]) -> None:
    script = rendered(hyperparameters=hyperparameters)
    head = script[: script.index("\n# Trains on")]
    shown = subprocess.run(
        ["bash", "-s"], input=head + '\nprintf "%s\\0" "${ARGUMENTS[@]}"\n', capture_output=True, text=True, check=True
    ).stdout
    words = arguments(hyperparameters)
    assert shown.split("\0")[:-1] == (words or [""])


@pytest.mark.parametrize("place", ["code", "data", "weights", "results", "region"])
@pytest.mark.parametrize(
    "hostile", ["x'; touch ran; '", "$(touch ran)", "`touch ran`", "x\ntouch ran", '"; touch ran #']
)
def test_no_address_is_run(tmp_path: Path, place: str, hostile: str) -> None:
    script = rendered(**{place: hostile})
    head = script[: script.index("\n# Trains on")]
    variable = {"region": "AWS_DEFAULT_REGION"}.get(place, place.upper())
    shown = subprocess.run(
        ["bash", "-s"],
        input=f'{head}\nprintf %s "${variable}"',
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    ).stdout
    assert shown == hostile
    by_hand = manual_commands(**{**PLACES, "hyperparameters": {"epochs": hostile}, "results": hostile, "data": hostile})  # type: ignore[arg-type]
    for command in by_hand[3:5] + by_hand[-3:]:
        stubbed = f"aws() {{ cat /dev/null; }}; tar() {{ :; }}; PYTHON=true; {command}"
        subprocess.run(["bash", "-c", stubbed], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


def test_the_same_by_hand_trains_with_the_same_arguments() -> None:
    commands = manual_commands(
        **{**PLACES, "weights": "s3://b/weights"}, hyperparameters={"epochs": 2}, results="s3://b/r"
    )  # type: ignore[arg-type]
    (training,) = [one for one in commands if "train.py" in one]
    assert shlex.split(training)[1:] == (
        "code/train.py --data data --model-dir model --output-dir output --pretrained weights --epochs 2".split()
    )
    for command in commands:
        subprocess.run(["bash", "-n"], input=command, text=True, check=True)


def test_the_newest_pytorch_is_newest_by_number() -> None:
    name = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-{}-ubuntu-24.04/latest/ami-id"
    assert newest_pytorch([name.format("2.9"), name.format("2.14"), name.format("2.4")]) == name.format("2.14")
    assert newest_pytorch(["/aws/service/deeplearning/ami/x86_64/base/latest/ami-id"]) is None
