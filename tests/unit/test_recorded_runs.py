"""Each check of a whole recording finds what it is for, in a recording of a few lines."""

from datetime import UTC, datetime, timedelta

import pytest

from tests import recorded_runs

TAGS = [{"Key": "project", "Value": "p"}]
START = datetime(2026, 11, 1, tzinfo=UTC)


def entry(asked, seconds=0.0, status=200, features=(), caller="user/ann", **parameters):
    service, operation = asked.split(":")
    return {
        "time": (START + timedelta(seconds=seconds)).isoformat(),
        "service": service,
        "operation": operation,
        "caller": caller,
        "status": status,
        "error": None,
        "sdk": "Boto3/1.44",
        "features": list(features),
        "parameters": parameters,
    }


BUCKET = entry("s3:CreateBucket", Bucket="b")
BUDGET = entry("budgets:CreateBudget", Budget={"BudgetName": "b"})
MODEL = entry("sagemaker:CreateModel", ModelName="m", Tags=TAGS)
DELETED = entry("sagemaker:DeleteModel", ModelName="m")


def test_services_that_are_not_on_the_list():
    assert recorded_runs.other_services([MODEL, entry("braket:CreateJob")]) == {"braket"}


def test_what_nobody_has_said_how_to_end():
    assert recorded_runs.unknown_making([MODEL, entry("ec2:CreateVpc")]) == {"ec2:CreateVpc"}
    assert recorded_runs.unknown_making([entry("ec2:CreateVpc", status=403)]) == set()


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([MODEL], []),
        ([entry("sagemaker:CreateModel", ModelName="m")], ["sagemaker:CreateModel m"]),
        ([entry("sagemaker:CreateModel", ModelName="m", Tags=[{"Key": "project", "Value": "other"}])],
         ["sagemaker:CreateModel m"]),
        ([entry("sagemaker:CreateModel", status=400, ModelName="m")], []),
        ([entry("lambda:CreateFunction", FunctionName="f", Tags={"project": "p"})], []),
        ([BUCKET], ["s3:CreateBucket b"]),
        ([BUCKET, entry("s3:PutBucketTagging", Bucket="b", Tagging={"TagSet": TAGS})], []),
        ([entry("ec2:RunInstances", TagSpecifications=[{"Tags": TAGS}, {"Tags": []}])], ["ec2:RunInstances "]),
    ],
)  # fmt: skip
def test_what_is_not_tagged(entries, found):
    assert recorded_runs.untagged(entries, "p") == found


ROLE, GONE = entry("iam:CreateRole", RoleName="r"), entry("iam:DeleteRole", RoleName="r")
LIMITED = entry("lambda:PutFunctionConcurrency", FunctionName="f")


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([MODEL, DELETED], []),
        ([MODEL], ["sagemaker:CreateModel m"]),
        ([DELETED, MODEL], ["sagemaker:CreateModel m"]),
        ([MODEL, entry("sagemaker:DeleteModel", status=400, ModelName="m")], ["sagemaker:CreateModel m"]),
        ([ROLE, GONE, ROLE], ["iam:CreateRole r"]),
        ([LIMITED], ["lambda:PutFunctionConcurrency f"]),
        ([LIMITED, entry("lambda:DeleteFunction", FunctionName="f")], []),
        ([BUDGET, entry("budgets:DeleteBudget", BudgetName="b")], []),
        ([entry("ec2:RunInstances")], ["ec2:RunInstances without a shutdown that terminates"]),
        ([entry("ec2:RunInstances", InstanceInitiatedShutdownBehavior="terminate")], []),
    ],
)  # fmt: skip
def test_what_is_left_behind(entries, found):
    assert recorded_runs.left_behind(entries) == found


def test_inline_policies_are_added_up():
    def put(name, text):
        return entry("iam:PutRolePolicy", RoleName="r", PolicyName=name, PolicyDocument=text)

    entries = [put("a", "x" * 6000), put("b", "y y" * 2000), put("b", "z")]
    assert recorded_runs.inline_policies(entries) == {"r": 10_000}
    ended = entry("iam:DeleteRolePolicy", RoleName="r", PolicyName="a")
    assert recorded_runs.inline_policies([entries[0], ended, entries[1]]) == {"r": 6_000}


def test_lists_that_are_read_in_part():
    assert recorded_runs.read_in_part([entry("sagemaker:ListModels")]) == {"sagemaker:ListModels"}
    assert recorded_runs.read_in_part([entry("sagemaker:ListModels", features=["C"])]) == set()
    assert recorded_runs.read_in_part([entry("sagemaker:ListModels", NextToken="t")]) == set()
    assert recorded_runs.read_in_part([entry("s3:ListBuckets")]) == set()


def test_what_is_asked_too_fast():
    def asked(operation, times, apart):
        return [entry(operation, n * apart) for n in range(times)]

    assert recorded_runs.too_fast(asked("cloudwatch:DescribeAlarms", 80, 0.125)) == []
    (told,) = recorded_runs.too_fast(asked("cloudwatch:DescribeAlarms", 100, 0.1))
    assert told == "cloudwatch:DescribeAlarms: 10.0 a second, and AWS takes 9"
    assert recorded_runs.too_fast(asked("cloudwatch:DescribeAlarms", 100, 1.0)) == []
    assert recorded_runs.too_fast(asked("sagemaker:DescribeEndpoint", 100, 0.1))


def test_what_is_asked_again_and_again():
    same = [entry("sagemaker:DescribeEndpoint", n / 3, EndpointName="e") for n in range(30)]
    assert recorded_runs.polled(same) == ["sagemaker:DescribeEndpoint by user/ann: 3.0 a second"]
    assert (
        recorded_runs.polled([entry("sagemaker:DescribeEndpoint", n / 3, EndpointName=str(n)) for n in range(30)]) == []
    )
    assert recorded_runs.polled([entry("sagemaker:DescribeEndpoint", n, EndpointName="e") for n in range(30)]) == []


def test_every_rate_says_where_it_is_from():
    for name, rate in recorded_runs.rates().items():
        assert rate["per_second"] > 0, name
        assert rate["read"] in ("page", "unread", "none"), name
        assert rate["url"].startswith("https://"), name
