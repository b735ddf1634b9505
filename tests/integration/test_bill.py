"""The bill of what a project has used: found by tag, priced, and adding up."""

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest

from helpers import cloud, compute, costs, functions, usage
from helpers.settings import Settings
from tests.instances import Instances
from tests.training_jobs import Jobs

TAGS = [{"Key": "project", "Value": "billed"}]


@pytest.fixture(scope="module")
def job(aws):
    """A finished job of two instances, with the project's tag."""
    return Jobs(aws).run("print('done')", instances=2, Tags=TAGS)


@pytest.fixture
def there(user):
    session = boto3.Session(region_name="us-east-1")
    return cloud.Cloud(Settings.of(project="billed"), session, "123456789012", "tester")


def deploy(aws, folder: Path):
    (folder / "app.py").write_text("def handler(event, context):\n    return 1\n")
    client, role = aws.client("lambda"), aws.role("deployed", "lambda.amazonaws.com")
    functions.deploy(
        client, "billed", folder, handler="app.handler", role=role, memory=256, tags={"project": "billed"},
        runtime="python3.11",
    )  # fmt: skip
    return [functions.invoke(client, "billed", {}).report for _ in range(3)]


def test_every_resource_of_the_project_is_on_the_bill(aws, there, job, tmp_path):
    reports = deploy(aws, tmp_path)
    cloud.ensure_bucket(there)
    there.client("s3").put_object(Bucket=there.bucket, Key="photo", Body=b"x" * 1_000_000)
    used = {one.what: one for one in usage.find(there)}
    name = job["TrainingJobName"]
    assert used[f"training {name}"].quantity == pytest.approx(2 * job["BillableTimeInSeconds"] / 3600)
    assert used["function billed, requests"].quantity == 3
    billed = sum(report.billed_ms for report in reports) / 1000 * 256 / 1024
    assert used["function billed, time"].quantity == pytest.approx(billed)
    assert 0 < used[f"bucket {there.bucket}"].quantity < 1e-6

    lines = costs.bill(there)
    by_name = {line.what: line for line in lines}
    assert by_name[f"training {name}"].usd == pytest.approx(0.408 * 2 * job["BillableTimeInSeconds"] / 3600)
    assert by_name["function billed, time"].usd == pytest.approx(billed * 0.0000166667)
    assert costs.total(lines) == pytest.approx(sum(line.usd for line in lines))
    assert all(line.usd > 0 and line.source for line in lines)
    assert {line.what for line in lines} == set(used)
    assert [line.what for line in costs.bill(there, "bucket")] == [f"bucket {there.bucket}"]
    chosen = costs.bill(there, "function", f"training {name}")
    assert {line.what.split(",")[0] for line in chosen} == {"function billed", f"training {name}"}


def test_older_versions_of_an_object_are_stored_too(there):
    cloud.ensure_bucket(there)
    s3, key = there.client("s3"), {"Bucket": there.bucket, "Key": "versioned"}
    s3.put_bucket_versioning(Bucket=there.bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(**key, Body=b"x" * 1_000_000)
    (before,) = usage.find(there, "bucket")
    s3.put_object(**key, Body=b"")
    (after,) = usage.find(there, "bucket")
    assert after.quantity >= before.quantity


def test_an_ec2_instance_bills_from_its_launch_to_its_end(aws, there):
    cloud.ensure_bucket(there)
    instances = Instances(aws)
    tags = [{"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume")]
    name = instances.running(TagSpecifications=tags)
    running = costs.bill(there, "EC2")
    assert [line.what.rpartition(" ")[0] for line in running] == ["EC2 instance", "EC2 volume"]
    assert running[0].usd >= 0.085 / 60 * 0.999, "a minute at least"
    instances.ec2.terminate_instances(InstanceIds=[name])
    instances.wait(name, "terminated")
    (ended,) = costs.bill(there, "EC2")
    billed = compute.summary(there, name)["billable_seconds"]
    assert (ended.what, ended.unit) == (f"EC2 instance {name}", "h c5.large")
    assert (ended.quantity, ended.usd) == (pytest.approx(billed / 3600), pytest.approx(0.085 * billed / 3600))


def test_a_project_that_used_nothing_has_no_bill(user):
    session = boto3.Session(region_name="us-east-1")
    assert costs.bill(cloud.Cloud(Settings.of(project="unused"), session, "123456789012", "tester")) == []


def test_the_estimate_counts_what_was_spent(there, job):
    spent, wanted = costs.estimate(there, costs.instance("training", "ml.c5.2xlarge", 1, 60, prices=there.prices))
    assert spent.usd >= 0.408 * 2 * job["BillableTimeInSeconds"] / 3600
    assert wanted.usd == pytest.approx(0.0068)
    poor = cloud.Cloud(Settings.of(project="billed", budget_usd=spent.usd + 0.001), there.session, there.account, "x")
    with pytest.raises(costs.OverBudget, match="spent already"):
        costs.estimate(poor, wanted)


def test_environments_that_wait_are_on_the_bill_while_they_do(user, tmp_path):
    session = boto3.Session(region_name="us-east-1")
    waiting = cloud.Cloud(Settings.of(project="waiting"), session, "123456789012", "tester")
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1\n")
    client, role = user.client("lambda"), user.role("deployed", "lambda.amazonaws.com")
    described = {"handler": "app.handler", "role": role, "memory": 512, "tags": {"project": "waiting"}}
    functions.deploy(client, "waiting", tmp_path, runtime="python3.11", **described)
    functions.ensure_provisioned(client, "waiting", functions.publish(client, "waiting"), 2)
    before = datetime.now(UTC)
    functions.invoke(client, "waiting", {}, qualifier="1")
    [used] = usage.find(waiting, "function waiting, provisioned")
    since = client.get_provisioned_concurrency_config(FunctionName="waiting", Qualifier="1")["LastModified"]
    seconds = used.quantity / (2 * 0.5)
    assert (before - datetime.fromisoformat(since)).total_seconds() <= seconds
    assert seconds <= (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    [line] = costs.bill(waiting, "function waiting, provisioned")
    assert line.usd == pytest.approx(line.quantity * 0.0000041667)
    functions.delete(client, "waiting")
