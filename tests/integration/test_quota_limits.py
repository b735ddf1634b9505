"""Quotas bite where instances start: training jobs, endpoints and EC2 instances, on demand and on spot."""

import json

import pytest
from botocore.exceptions import ClientError

from tests.conftest import start
from tests.instances import Instances
from tests.training_jobs import Jobs

QUOTAS = {
    "L-49679826": 1,  # ml.c5.2xlarge for training job usage
    "L-4581C083": 0,  # ml.c5.2xlarge for spot training job usage
    "L-1216C47A": 4,  # vCPUs on demand
    "L-34B43A08": 1,  # vCPUs on spot
}


@pytest.fixture(scope="module")
def poor(tmp_path_factory):
    """A new account, which may have little."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LOCALAWS_QUOTAS", json.dumps(QUOTAS))
    running = start(tmp_path_factory.mktemp("poor") / "state", "--time-scale", "20")
    patch.undo()
    yield running
    running.cli("down")


def refusal(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_training_jobs(poor):
    jobs = Jobs(poor)
    create = jobs.sagemaker.create_training_job
    code, message = refusal(create, **jobs.request("pass", instances=2))
    assert code == "ResourceLimitExceeded"
    assert "'ml.c5.2xlarge for training job usage' is 1 Instances, with current utilization of 0 Instances" in message
    spot = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    }
    assert "'ml.c5.2xlarge for spot training job usage' is 0" in refusal(create, **jobs.request("pass", **spot))[1]
    waits = jobs.start("import time; time.sleep(300)")
    assert "current utilization of 1 Instances and a request delta of 1" in refusal(create, **jobs.request("pass"))[1]
    jobs.sagemaker.stop_training_job(TrainingJobName=waits)
    jobs.end(waits)
    assert jobs.run("pass")["TrainingJobStatus"] == "Completed", "what has ended does not count"


def test_ec2_instances(poor):
    instances = Instances(poor)
    launch = instances.ec2.run_instances
    code, message = refusal(launch, **instances.request(MinCount=3, MaxCount=3))
    assert (code, "your current vCPU limit of 4 allows" in message) == ("VcpuLimitExceeded", True)
    spot = {"InstanceMarketOptions": {"MarketType": "spot"}}
    assert refusal(launch, **instances.request(**spot))[0] == "MaxSpotInstanceCountExceeded"
    two = [instances.running(), instances.running()]
    assert refusal(launch, **instances.request())[0] == "VcpuLimitExceeded"
    assert refusal(launch, **instances.request(InstanceType="g4dn.xlarge"))[0] == "VcpuLimitExceeded"
    instances.ec2.terminate_instances(InstanceIds=two[:1])
    instances.wait(two[0], "terminated")
    instances.ec2.terminate_instances(InstanceIds=[instances.launch(), two[1]])
