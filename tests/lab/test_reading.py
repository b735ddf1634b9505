"""The interactive way: a reader works through notebooks in JupyterLab, changes, interrupts and repeats cells."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from helpers.localaws.engines.processes import marked
from tests.conftest import LocalAws, start
from tests.lab.jupyter import Cell, Lab, NotebookPage

PROJECT = "lab-test"
BUCKET = f"{PROJECT}-123456789012-us-east-1"
PHOTOS = 12 * 50
TOO_LONG = 500  # epochs: nobody waits for them


def embedded_aws(lab: Lab) -> LocalAws:
    """The one that the notebooks have started."""
    return start(lab.state)


def only_sentence(cell: Cell) -> str:
    """What an interrupted cell says: one line, no traceback."""
    (message,) = cell.errors
    assert message.count("\n") == 0, message
    assert message.startswith("Interrupted. ")
    return message


def rises(percent: list[float]) -> bool:
    return len(percent) > 1 and percent == sorted(percent) and percent[0] < percent[-1]


def objects(aws: LocalAws) -> dict[str, object]:
    """When each photo in S3 was put there."""
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="data/")
    return {one["Key"]: one["LastModified"] for page in pages for one in page.get("Contents", [])}


@contextmanager
def held_back(aws: LocalAws) -> Iterator[None]:
    """Within the block, which begins with the first photo in S3, no more are taken: the embedded AWS stands still."""
    server, s3 = psutil.Process(json.loads(aws.cli("status").stdout)["pid"]), aws.client("s3")
    arrived = 0
    while not arrived:
        with suppress(s3.exceptions.NoSuchBucket):
            arrived = s3.list_objects_v2(Bucket=BUCKET, Prefix="data/", MaxKeys=1)["KeyCount"]
    server.suspend()
    try:
        yield
    finally:
        server.resume()


def kernel_children(lab: Lab) -> list[psutil.Process]:
    """What runs on behalf of a kernel; the embedded AWS, which it has started, is not one of them."""
    kernels = [one for one in psutil.Process().children(recursive=True) if "ipykernel_launcher" in command(one)]
    assert kernels
    return [child for kernel in kernels for child in kernel.children(recursive=True)]


def command(process: psutil.Process) -> str:
    """Its command line; nothing where it has ended meanwhile, as a browser's come and go."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def work_through_data(lab: Lab, notebook: NotebookPage) -> None:
    notebook.set_parameters(project=PROJECT, data="photos")
    stage = notebook.cell("photos.stage(")
    notebook.run_between(notebook.cells[0], stage)
    aws = embedded_aws(lab)
    stage.start()
    with held_back(aws):
        notebook.interrupt()
    stage.ended()
    assert only_sentence(stage).endswith("stays: stage again to send the rest.")
    assert 0 < len(objects(aws)) < PHOTOS
    assert kernel_children(lab) == []

    stage.watch_bar()
    assert stage.run().errors == []
    assert rises(stage.bar_seen()), stage.bar_seen()
    staged = objects(aws)
    assert len(staged) == PHOTOS
    assert stage.run().errors == []
    assert objects(aws) == staged, "a second run has sent photos once more"
    notebook.run_between(stage, None)


def work_through_training(lab: Lab, notebook: NotebookPage) -> None:
    notebook.set_parameters(project=PROJECT, epochs=2, tuning_trials=2)
    tune = notebook.cell("tuning.follow_tuning(")
    notebook.run_between(notebook.cells[0], tune)
    tune.watch_bar()
    assert tune.run().errors == []
    assert rises(tune.bar_seen()), tune.bar_seen()

    begin, follow = notebook.cell("training.start_training("), notebook.cell("training.follow(")
    notebook.run_between(tune, begin)
    interrupt_training(lab, notebook, begin, follow)
    begin.write(begin.source)
    assert begin.run().errors == []
    follow.watch_bar()
    assert follow.run().errors == []
    assert rises(follow.bar_seen()), follow.bar_seen()
    assert "2 of 2 epochs" in re.sub(r"\s", " ", follow.bar.inner_text())
    notebook.run_between(follow, None)


def interrupt_training(lab: Lab, notebook: NotebookPage, begin: Cell, follow: Cell) -> None:
    """Far too many epochs, started twice, watched for a while, and given up."""
    begin.write(begin.source.replace("=chosen", f'={{**chosen, "epochs": {TOO_LONG}}}'))
    assert begin.run().errors == []
    sagemaker = embedded_aws(lab).client("sagemaker")
    before = [job["TrainingJobName"] for job in jobs(sagemaker)]
    assert begin.run().errors == []
    assert [job["TrainingJobName"] for job in jobs(sagemaker)] == before, "a second job was started"
    assert f"{before[0]} is in progress already: no second job is started" in begin.output.inner_text()

    follow.watch_bar()
    follow.start()
    follow.bar_reached(100 / TOO_LONG)
    notebook.interrupt()
    follow.ended()
    assert f"Training job {before[0]} is being stopped" in only_sentence(follow)
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=before[0], WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    assert jobs(sagemaker, "InProgress") + jobs(sagemaker, "Stopping") == []
    running = [command(one) for one in marked((lab.state / "id").read_text())]
    assert not [line for line in running if "train.py" in line], running
    assert kernel_children(lab) == []


def jobs(sagemaker, status=None):
    given = {"StatusEquals": status} if status else {}
    listed = sagemaker.list_training_jobs(NameContains=f"{PROJECT}-single", SortBy="CreationTime", **given)
    return listed["TrainingJobSummaries"]


def test_a_reader_works_through_data_and_training_and_goes_on_in_a_new_kernel(lab, page):
    data = NotebookPage(page, lab, "02_data.ipynb")
    work_through_data(lab, data)
    assert all(width > 0 for width in data.pictures)
    assert len(data.pictures) >= 2

    single = NotebookPage(page, lab, "03_single_training.ipynb")
    work_through_training(lab, single)
    assert all(width > 0 for width in single.pictures)
    assert len(single.pictures) >= 3

    spot = NotebookPage(page, lab, "04_spot_training.ipynb")
    spot.set_parameters(project=PROJECT)
    found = spot.cell("training.latest_job(")
    spot.run_between(spot.cells[0], found)
    assert found.run().errors == []
    assert re.search(r"epochs\s+2\b", found.output.inner_text())
