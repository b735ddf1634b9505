"""How much of its instances a training job used, as a notebook asks for it."""

from types import SimpleNamespace

from helpers import metrics
from tests.training_jobs import Jobs

# One host computes, the other sleeps; both until they have been looked at a few times.
SCRIPT = """
import json, time
host = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
ballast = b"x" * (400 << 20) if host == "algo-1" else b""
until = time.monotonic() + 9
while time.monotonic() < until:
    if host == "algo-2":
        time.sleep(0.2)
"""


def test_a_jobs_use_is_told_by_host_and_time(aws):
    jobs, cloud = Jobs(aws), SimpleNamespace(client=aws.client)
    job = jobs.run(SCRIPT, instances=2)
    assert job["TrainingJobStatus"] == "Completed"
    rows = metrics.utilisation(cloud, job["TrainingJobName"])
    assert {row.host for row in rows} == {"algo-1", "algo-2"}
    busy, idle = ([row for row in rows if row.host == host] for host in ("algo-1", "algo-2"))
    assert len(busy) >= 2
    assert max(row.cpu for row in busy) > 20
    assert idle[-1].cpu < 10
    assert 100 * 0.4 / 16 < max(row.memory for row in busy) < 10  # of the 16 GiB of an ml.c5.2xlarge
    assert 0 < busy[0].disk < 5
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    host = [{"Name": "Host", "Value": f"{job['TrainingJobName']}/algo-1"}]
    wanted = {"Namespace": metrics.TRAINING, "MetricName": "CPUUtilization", "Dimensions": host}
    [listed] = jobs.cloudwatch.list_metrics(**wanted)["Metrics"]
    assert listed["Dimensions"] == [{"Name": "Host", "Value": f"{job['TrainingJobName']}/algo-1"}]
