"""The README's promises: its example runs as it stands, its folders and commands exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_a_users_own_script_trains_as_the_readme_says(user, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    (tmp_path / "my_code").mkdir()
    (tmp_path / "my_code" / "train.py").write_text(
        "import os, pathlib\n"
        "print('training as', os.environ['TRAINING_JOB_NAME'])\n"
        "pathlib.Path(os.environ['SM_MODEL_DIR'], 'model.txt').write_text('learnt')\n"
    )
    user.role("trainer", "sagemaker.amazonaws.com")
    user.client("s3").create_bucket(Bucket="mine")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    objects = user.client("s3").list_objects_v2(Bucket="mine", Prefix="output/")["Contents"]
    assert [one["Key"].rpartition("/")[2] for one in objects] == ["model.tar.gz"]


def test_the_folders_and_commands_are_there():
    for folder in re.findall(r"^([a-z_/]+/) ", README, re.M):
        assert (ROOT / folder).is_dir(), folder
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text().replace("up down:", "up:\ndown:"), re.M)
    for command in re.findall(r"\bmake ([a-z]+)", README):
        assert command in {*targets, "run"} or command == "and", command


def test_its_pictures_are_there():
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / picture).is_file()
