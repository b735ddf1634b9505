"""What each user and role has last used: reports in AWS's form, and a role's last use."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from tests.actors import allow, refusal, role, session, user
from tests.training_jobs import Jobs

TRUST = {"Service": "sagemaker.amazonaws.com"}


def report(aws, arn, level="ACTION_LEVEL"):
    iam = aws.client("iam")
    job = iam.generate_service_last_accessed_details(Arn=arn, Granularity=level)["JobId"]
    return iam.get_service_last_accessed_details(JobId=job)


def actions(found):
    return {
        f"{one['ServiceNamespace']}:{action['ActionName']}": action.get("LastAccessedTime")
        for one in found["ServicesLastAccessed"]
        for action in one["TrackedActionsLastAccessed"]
    }


def test_a_report_says_what_was_allowed_when_and_where(aws):
    begun = datetime.now(UTC)
    arn = role(aws, allow("s3:ListAllMyBuckets", "s3:GetObject", "sqs:ListQueues"))
    assert aws.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]["RoleLastUsed"] == {}
    actor = session(aws, arn)
    actor.client("s3").list_buckets()
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        actor.client("ec2").describe_instances()
    found = report(aws, arn)
    assert (found["JobStatus"], found["JobType"], found["IsTruncated"]) == ("COMPLETED", "ACTION_LEVEL", False)
    assert found["JobCompletionDate"] >= found["JobCreationDate"] >= begun
    s3, sqs = found["ServicesLastAccessed"]
    assert (s3["ServiceName"], s3["LastAuthenticatedEntity"]) == ("Amazon Simple Storage Service", arn)
    assert (s3["LastAuthenticatedRegion"], s3["TotalAuthenticatedEntities"]) == ("us-east-1", 1)
    assert "LastAuthenticated" not in sqs
    times = actions(found)
    assert times.pop("s3:ListAllMyBuckets") == s3["LastAuthenticated"] >= begun
    assert times == {"s3:GetObject": None, "sqs:ListQueues": None}
    (s3, _) = report(aws, arn, "SERVICE_LEVEL")["ServicesLastAccessed"]
    assert "TrackedActionsLastAccessed" not in s3
    last = aws.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]["RoleLastUsed"]
    assert (last["LastUsedDate"], last["Region"]) == (s3["LastAuthenticated"], "us-east-1")


def test_a_users_report_comes_in_pages(aws):
    actor, iam = user(aws, allow("s3:ListAllMyBuckets", "sqs:*", "sns:*")), aws.client("iam")
    actor.client("sqs").list_queues()
    job = iam.generate_service_last_accessed_details(Arn=actor.arn)["JobId"]
    first = iam.get_service_last_accessed_details(JobId=job, MaxItems=2)
    assert first["IsTruncated"]
    rest = iam.get_service_last_accessed_details(JobId=job, Marker=first["Marker"])
    pages = [*first["ServicesLastAccessed"], *rest["ServicesLastAccessed"]]
    assert [(one["ServiceNamespace"], "LastAuthenticated" in one) for one in pages] == [
        ("s3", False),
        ("sns", False),
        ("sqs", True),
    ]


def test_what_a_service_does_for_a_role_is_the_roles_use(aws):
    jobs = Jobs(aws)
    trainer = role(aws, allow("s3:ListBucket", "s3:GetObject", "s3:PutObject", "logs:*"), trust=TRUST)
    assert jobs.run("pass", RoleArn=trainer)["TrainingJobStatus"] == "Completed"
    times = actions(report(aws, trainer))
    assert times["s3:ListBucket"]
    assert times["s3:GetObject"]
    assert aws.client("iam").get_role(RoleName=trainer.rpartition("/")[2])["Role"]["RoleLastUsed"]["LastUsedDate"]


def test_reports_of_nobody_and_of_what_is_not_kept_are_refused(aws):
    iam = aws.client("iam")
    generate = iam.generate_service_last_accessed_details
    assert refusal(generate, Arn="arn:aws:iam::123456789012:role/nobody")[:2] == ("NoSuchEntity", 404)
    assert refusal(generate, Arn="arn:aws:iam::aws:policy/AmazonS3FullAccess")[0] == "NotImplemented"
    unknown = "00000000-0000-0000-0000-000000000000"
    assert refusal(iam.get_service_last_accessed_details, JobId=unknown)[:2] == ("NoSuchEntity", 404)
    assert refusal(iam.get_role, RoleName="nobody")[:2] == ("NoSuchEntity", 404)


def test_a_role_is_described_with_all_that_was_given(aws):
    boundary = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    given = {"Path": "/team/", "MaxSessionDuration": 7200, "Description": "a 100% role"}
    arn = role(aws, PermissionsBoundary=boundary, Tags=[{"Key": "k", "Value": "v"}], **given)
    found = aws.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    assert {name: found[name] for name in given} == given
    assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    assert found["Tags"] == [{"Key": "k", "Value": "v"}]
    assert found["AssumeRolePolicyDocument"]["Statement"][0]["Action"] == "sts:AssumeRole"
