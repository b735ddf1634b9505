"""How much of its instances a training job used, as a notebook asks for it."""

import time
from types import SimpleNamespace
from typing import Any

from helpers import metrics
from tests.training_jobs import Jobs

# One host computes, the other sleeps; both until they are told that they have been looked at often enough.
SCRIPT = """
import json, os, time
host = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
ballast = b"x" * (400 << 20) if host == "algo-1" else b""
open(os.path.join(FOLDER, host), "w").close()
while not os.path.exists(os.path.join(FOLDER, "enough")):
    if host == "algo-2":
        time.sleep(0.2)
"""


def looked_at(cloud: Any, job: str) -> list[int]:
    """How often each host has been."""
    rows = metrics.utilisation(cloud, job)
    return [sum(row.host == host for row in rows) for host in ("algo-1", "algo-2")]


def test_a_jobs_use_is_told_by_host_and_time(aws, tmp_path):
    jobs, cloud = Jobs(aws), SimpleNamespace(client=aws.client)
    name = jobs.start(SCRIPT.replace("FOLDER", repr(str(tmp_path))), instances=2)
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.1)
    before = looked_at(cloud, name)
    # The first look from now on still finds something of their start.
    while not all(now >= then + 2 for now, then in zip(looked_at(cloud, name), before, strict=True)):
        time.sleep(0.2)
    (tmp_path / "enough").touch()
    job = jobs.end(name)
    assert job["TrainingJobStatus"] == "Completed"
    rows = metrics.utilisation(cloud, job["TrainingJobName"])
    assert {row.host for row in rows} == {"algo-1", "algo-2"}
    busy, idle = ([row for row in rows if row.host == host] for host in ("algo-1", "algo-2"))
    assert len(busy) >= 2
    assert max(row.cpu for row in busy) > max(5, 2 * idle[-1].cpu)  # it shares the machine with other tests
    assert idle[-1].cpu < 10
    assert 100 * 0.4 / 16 < max(row.memory for row in busy) < 10  # of the 16 GiB of an ml.c5.2xlarge
    assert 0 < busy[0].disk < 5
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    host = [{"Name": "Host", "Value": f"{job['TrainingJobName']}/algo-1"}]
    wanted = {"Namespace": metrics.TRAINING, "MetricName": "CPUUtilization", "Dimensions": host}
    [listed] = jobs.cloudwatch.list_metrics(**wanted)["Metrics"]
    assert listed["Dimensions"] == [{"Name": "Host", "Value": f"{job['TrainingJobName']}/algo-1"}]
