"""The series with the credentials of its own least-privilege role: all that it makes, asks and deletes, and no more."""

from __future__ import annotations

import boto3
import pytest

from helpers import access, cloud, costs, functions, notebook_instance, notebook_role, quotas, teardown
from helpers.settings import Settings
from tests import everything
from tests.actors import ACCOUNT, role, session

PROJECT = "notebooked"


@pytest.fixture
def notebook(user, monkeypatch):
    """A connection with a session of a role that has exactly the notebooks' permissions."""
    settings = Settings.of(project=PROJECT)
    administrator = cloud.Cloud(settings, boto3.Session(region_name="us-east-1"), ACCOUNT, "administrator")
    arn = role(user)
    iam, name = user.client("iam"), arn.rpartition("/")[2]
    for number, policy in enumerate(notebook_role.documents(administrator)):
        made = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=policy)["Policy"]
        iam.attach_role_policy(RoleName=name, PolicyArn=made["Arn"])
    actor = session(user, arn)
    given = {"AWS_ACCESS_KEY_ID": actor.key, "AWS_SECRET_ACCESS_KEY": actor.secret, "AWS_SESSION_TOKEN": actor.token}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return cloud.Cloud(settings, boto3.Session(region_name="us-east-1"), ACCOUNT, arn)


def test_the_series_is_made_watched_and_deleted_with_no_more_than_its_permissions(notebook, tmp_path):
    try:
        assert "sagemaker:endpoint" in set(everything.make(notebook))
        (tmp_path / "app.py").write_text(everything.HANDLER)
        functions.deploy(
            notebook.client("lambda"),
            PROJECT,
            tmp_path,
            handler="app.lambda_handler",
            role=access.ensure_function_role(notebook),
            tags=notebook.settings.tags,
        )
        assert functions.invoke(notebook.client("lambda"), PROJECT, {}).payload == 1
        assert functions.publish(notebook.client("lambda"), PROJECT) == "1"
        assert quotas.check(notebook)
        assert costs.choices(notebook, "training", "ml.c5.2xlarge")
        assert costs.bill(notebook)
        assert access.check(notebook)
        assert access.audit(notebook)
        questions = access.temptations(notebook)
        assert access.would_allow(notebook, {"full": access.FULL_ACCESS}, questions)
    finally:
        left = teardown.delete(notebook, teardown.find(notebook), lambda _: None)
    assert left == []
    assert teardown.prove(notebook)


def test_what_it_must_not_is_denied(notebook, user):
    iam = user.client("iam")
    for action, resource in notebook_role.must_not(notebook):
        asked = {"ActionNames": [action], "ResourceArns": [resource]}
        (found,) = iam.simulate_principal_policy(PolicySourceArn=notebook.caller, **asked)["EvaluationResults"]
        assert found["EvalDecision"] == "implicitDeny", action
    for call in (
        lambda: notebook.client("iam").create_user(UserName="intruder"),
        lambda: notebook.client("s3").create_bucket(Bucket="somebody-elses"),
        lambda: notebook.client("sagemaker").delete_endpoint(EndpointName="somebody-elses"),
    ):
        with pytest.raises(notebook.client("iam").exceptions.ClientError) as refused:
            call()
        assert access.read_denial(str(refused.value))["who"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/")


def test_a_notebook_instance_runs_under_the_role_that_an_administrator_has_made_for_it(user, monkeypatch, capsys):
    monkeypatch.setenv("LOCALAWS_STATE", str(user.state))
    assert notebook_role.main(["--project", "hosted"]) == 0
    arn = capsys.readouterr().out.strip()
    assert arn == f"arn:aws:iam::{ACCOUNT}:role/hosted-notebook"
    there = cloud.Cloud(Settings.of(project="hosted"), boto3.Session(region_name="us-east-1"), ACCOUNT, "administrator")
    training = access.ensure_sagemaker_role(there)
    assert notebook_instance.ensure_notebook_instance(there, training)["RoleArn"] == arn
    asked = {"ActionNames": ["sagemaker:CreateTrainingJob", "sagemaker:StopNotebookInstance", "iam:CreateUser"]}
    here = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}"
    resources = [f"{here}:training-job/hosted-single-1", f"{here}:notebook-instance/hosted-notebook", "*"]
    decisions = [
        user.client("iam").simulate_principal_policy(PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource])
        for action, resource in zip(asked["ActionNames"], resources, strict=True)
    ]
    assert [one["EvaluationResults"][0]["EvalDecision"] for one in decisions] == ["allowed", "allowed", "implicitDeny"]

    assert teardown.delete(there, teardown.find(there), lambda _: None) == []
    assert notebook_role.main(["--project", "hosted", "--delete"]) == 0  # teardown has left it: it may run under it
    assert notebook_role.main(["--project", "hosted", "--delete"]) == 0
    assert capsys.readouterr().out.split("\n")[-3:] == ["deleted", "there was none", ""]
    assert notebook_role.main(["--project", "Not A Name"]) == 2


def test_a_policy_that_is_too_long_for_a_role_is_refused_as_on_aws(user):
    iam, name = user.client("iam"), role(user).rpartition("/")[2]
    long = access.document([access.Permission(("s3:GetObject",), ("arn:aws:s3:::" + "b" * 10_240,), "too long")])
    with pytest.raises(iam.exceptions.LimitExceededException, match="Maximum policy size of 10240 bytes exceeded"):
        iam.put_role_policy(RoleName=name, PolicyName="long", PolicyDocument=long)
    with pytest.raises(iam.exceptions.LimitExceededException, match="PolicySize: 6144"):
        iam.create_policy(PolicyName="long", PolicyDocument=long)
