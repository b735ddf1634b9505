"""What runs has its own role's permissions and nobody else's: jobs, endpoints, functions."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import psutil
import pytest

from tests.actors import NUMBERS, allow, deny, policy, role
from tests.endpoints import Hosting
from tests.training_jobs import BUCKET, Gate, Jobs

TRUST = {"Service": "sagemaker.amazonaws.com"}
ALL = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]


@pytest.fixture(scope="module")
def jobs(aws):
    return Jobs(aws)


def test_a_job_reads_and_writes_with_its_roles_permissions(aws, jobs):
    reader = role(aws, allow("s3:ListBucket", "s3:GetObject", on=ALL), trust=TRUST)
    write = "import pathlib; pathlib.Path('/opt/ml/model/m').write_text('x')"
    ended = jobs.run(write, RoleArn=reader)
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"].startswith("ClientError: Artifact upload failed:")
    assert "s3:PutObject" in ended["FailureReason"]


def test_a_job_is_not_made_for_a_role_that_may_not_look(aws, jobs):
    blind = role(aws, allow("s3:GetObject", "s3:PutObject", on=ALL), trust=TRUST)
    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match='has "s3:ListBucket" permissions'):
        jobs.start("pass", RoleArn=blind)


def test_a_denied_object_fails_the_download(aws, jobs):
    uri = jobs.put("secret/a.jpg", "x")
    limited = role(aws, allow("s3:*", on=ALL), deny("s3:GetObject", on=f"arn:aws:s3:::{BUCKET}/secret/*"), trust=TRUST)
    ended = jobs.end(jobs.start("pass", channels={"photos": uri.rpartition("/")[0]}, RoleArn=limited))
    assert ended["FailureReason"].startswith("ClientError: Data download failed:")
    assert "with an explicit deny in an identity-based policy" in ended["FailureReason"]


def test_what_a_script_calls_is_its_roles_to_call(aws, jobs):
    trainer = role(aws, allow("s3:*", on=ALL), trust=TRUST)
    script = """
import boto3, botocore
print("I am", boto3.client("sts", region_name="us-east-1").get_caller_identity()["Arn"])
try:
    boto3.client("iam", region_name="us-east-1").list_users()
except botocore.exceptions.ClientError as error:
    print(error.response["Error"]["Code"], error)
"""
    name = jobs.start(script, RoleArn=trainer)
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"
    log = "\n".join(jobs.lines(name))
    assert f"I am arn:aws:sts::123456789012:assumed-role/{trainer.rpartition('/')[2]}/SageMaker" in log
    assert "AccessDenied" in log
    assert "because no identity-based policy allows the iam:ListUsers action" in log


def test_an_endpoint_loads_its_model_with_its_roles_permissions(aws, jobs):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz"):
        pass
    uri, name = jobs.put("model/model.tar.gz", content.getvalue()), f"denied-{next(NUMBERS)}"
    lister = role(aws, allow("s3:ListBucket", on=ALL), trust=TRUST)
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
    jobs.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=lister, PrimaryContainer={"Image": image, "ModelDataUrl": uri}
    )
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.c5.large", "InitialInstanceCount": 1}
    jobs.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    jobs.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    waiter = jobs.sagemaker.get_waiter("endpoint_in_service")
    with pytest.raises(Exception, match="Failed"):
        waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})
    reason = jobs.sagemaker.describe_endpoint(EndpointName=name)["FailureReason"]
    assert "the role passed to CreateModel has permissions to download the object" in reason
    jobs.sagemaker.delete_endpoint(EndpointName=name)


def test_a_trust_policy_says_for_whom(aws, jobs):
    def trusting(account: str) -> str:
        condition = {
            "StringEquals": {"aws:SourceAccount": account},
            "ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:*:{account}:training-job/*"},
        }
        statement = {"Effect": "Allow", "Principal": TRUST, "Action": "sts:AssumeRole", "Condition": condition}
        return role(aws, allow("s3:*", on=ALL), document=policy(statement))

    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="Could not assume role"):
        jobs.start("pass", RoleArn=trusting("444455556666"))
    assert jobs.run("pass", RoleArn=trusting("123456789012"))["TrainingJobStatus"] == "Completed"


def environments(secret: str) -> list[psutil.Process]:
    """The processes of this machine, below a server, that have a text in their environment."""
    return [process for process in psutil.process_iter() if secret in _environment(process)]


def _environment(process: psutil.Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_nothing_that_runs_has_the_administrators_key(aws, jobs, tmp_path):
    gate = Gate(tmp_path / "gate")
    name = jobs.start(gate.script)
    gate.wait()
    function = f"environment-{next(NUMBERS)}"
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", "import os\ndef handler(event, context):\n    return dict(os.environ)\n")
    client = aws.client("lambda")
    client.create_function(
        FunctionName=function,
        Runtime="python3.12",
        Handler="app.handler",
        Role=aws.role("functions-environment", "lambda.amazonaws.com"),
        Code={"ZipFile": package.getvalue()},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig={"Delay": 0.1})
    seen = json.load(client.invoke(FunctionName=function)["Payload"])
    assert seen["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    state = (aws.state / "id").read_text()
    children = environments(state)
    assert len(children) >= 3  # the server, the job, the function
    for process in children:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            assert aws.environment[variable] not in _environment(process), process.cmdline()
    gate.open()
    jobs.end(name)
    client.delete_function(FunctionName=function)


def test_no_process_of_an_endpoint_has_the_administrators_key(aws):
    hosting = Hosting(aws)
    name = hosting.in_service(hosting.deploy())
    pid = int(hosting.ask(name, "pid"))
    serving = psutil.Process(pid)
    server = int(json.loads(aws.cli("status").stdout)["pid"])
    # The model's process, its children, and whatever stands between it and the server.
    between = [one for one in serving.parents() if any(parent.pid == server for parent in one.parents())]
    for process in [serving, *serving.children(recursive=True), *between]:
        assert _environment(process), process
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            assert aws.environment[variable] not in _environment(process), process.cmdline()
    seen = json.loads(hosting.ask(name, "environment"))
    assert seen["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert b":assumed-role/hosting-tests/" in hosting.ask(name, "who")
    hosting.delete(name)
