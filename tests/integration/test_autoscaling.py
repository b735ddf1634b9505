"""Application Auto Scaling, through boto3: an endpoint that follows its load, and everything that is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.endpoints import Hosting, refused, until, variant

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
CONCURRENCY = {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}


class Scaling:
    """A client of Application Auto Scaling, for one variant."""

    def __init__(self, hosting: Hosting, endpoint: str) -> None:
        self.client = hosting.aws.client("application-autoscaling")
        self.target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
            "ScalableDimension": DIMENSION,
        }
        self.of = {name: self.target[name] for name in ("ServiceNamespace", "ResourceId")}

    def register(self, lowest: int = 1, highest: int = 3, **more: Any) -> str:
        answer = self.client.register_scalable_target(
            **{**self.target, "MinCapacity": lowest, "MaxCapacity": highest, **more}
        )
        return str(answer["ScalableTargetARN"])

    def track(self, name: str = "policy", **configuration: Any) -> dict[str, Any]:
        given = {"TargetValue": 2.0, "PredefinedMetricSpecification": CONCURRENCY, **configuration}
        answer: dict[str, Any] = self.client.put_scaling_policy(
            **self.target,
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={key: value for key, value in given.items() if value is not None},
        )
        return answer

    def activities(self, **more: Any) -> list[dict[str, Any]]:
        answer: dict[str, Any] = self.client.describe_scaling_activities(**self.of, **more)
        return list(answer["ScalingActivities"])


@pytest.fixture(scope="module")
def hosting(aws: Any) -> Hosting:
    return Hosting(aws)


@pytest.fixture(scope="module")
def served(hosting: Hosting) -> Iterator[str]:
    name = hosting.in_service(hosting.deploy())
    yield name
    hosting.settle(name)
    hosting.delete(name)


@pytest.fixture
def scaling(hosting: Hosting, served: str) -> Iterator[Scaling]:
    """A registered target, forgotten afterwards."""
    made = Scaling(hosting, served)
    made.register(Tags={"project": "tests"})
    yield made
    until(lambda: hosting.describe(served)["EndpointStatus"], lambda status: status == "InService")
    made.client.deregister_scalable_target(**made.target)


# ---- it scales ----


def test_bounds_are_enforced(hosting: Hosting, served: str, scaling: Scaling) -> None:
    scaling.register(lowest=2)
    until(lambda: hosting.describe(served)["ProductionVariants"][0]["CurrentInstanceCount"], lambda count: count == 2)
    until(lambda: scaling.activities()[0]["StatusCode"], lambda status: status == "Successful")
    assert scaling.activities()[0]["Cause"] == "minimum capacity was set to 2"
    scaling.register(lowest=1, highest=1)
    until(lambda: hosting.describe(served)["ProductionVariants"][0]["CurrentInstanceCount"], lambda count: count == 1)
    until(lambda: scaling.activities()[0]["StatusCode"], lambda status: status == "Successful")
    assert scaling.activities()[0]["Cause"] == "maximum capacity was set to 1"


def test_steps_follow_an_alarm_of_ones_own(hosting: Hosting, served: str, scaling: Scaling) -> None:
    arn = scaling.client.put_scaling_policy(
        **scaling.target,
        PolicyName="steps",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )["PolicyARN"]
    metric = {"Namespace": "Mine", "MetricName": f"queue-{served}"}
    hosting.cloudwatch.put_metric_alarm(
        AlarmName=f"long-queue-{served}",
        **metric,
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[arn],
    )
    (seen,) = scaling.client.describe_scaling_policies(**scaling.target, PolicyNames=["steps"])["ScalingPolicies"]
    assert [one["AlarmName"] for one in seen["Alarms"]] == [f"long-queue-{served}"]

    def busy() -> list[dict[str, Any]]:
        data = {"MetricName": metric["MetricName"], "Value": 9.0}
        hosting.cloudwatch.put_metric_data(Namespace="Mine", MetricData=[data])
        return scaling.activities()

    until(busy, lambda activities: activities and "long-queue" in activities[0]["Cause"])
    hosting.cloudwatch.delete_alarms(AlarmNames=[f"long-queue-{served}"])
    newest = scaling.activities()[0]
    assert newest["Cause"] == f"monitor alarm long-queue-{served} in state ALARM triggered policy steps"


# ---- records ----


def test_targets_are_registered_changed_and_described(scaling: Scaling, served: str) -> None:
    answer = scaling.client.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[scaling.target["ResourceId"]], ScalableDimension=DIMENSION
    )
    (seen,) = answer["ScalableTargets"]
    assert (seen["MinCapacity"], seen["MaxCapacity"]) == (1, 3)
    assert seen["RoleARN"].endswith("/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
    assert seen["SuspendedState"] == {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": False,
    }
    arn = seen["ScalableTargetARN"]
    changed = scaling.client.register_scalable_target(
        **scaling.target, MaxCapacity=2, SuspendedState={"DynamicScalingInSuspended": True}
    )
    assert changed["ScalableTargetARN"] == arn
    (seen,) = scaling.client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (seen["MinCapacity"], seen["MaxCapacity"]) == (1, 2)
    assert seen["SuspendedState"]["DynamicScalingInSuspended"] is True
    assert scaling.client.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"project": "tests"}
    scaling.client.tag_resource(ResourceARN=arn, Tags={"a": "b"})
    scaling.client.untag_resource(ResourceARN=arn, TagKeys=["project"])
    assert scaling.client.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"a": "b"}
    with refused("ResourceNotFoundException", "doesn't exist"):
        scaling.client.list_tags_for_resource(ResourceARN=arn[:-1] + "x")
    with refused("ValidationException", "already exists", "TagResource"):
        scaling.register(Tags={"c": "d"})


def test_policies_are_put_described_and_deleted(hosting: Hosting, scaling: Scaling) -> None:
    answer = scaling.track(ScaleInCooldown=60)
    resource = scaling.target["ResourceId"]
    high, low = [one["AlarmName"] for one in answer["Alarms"]]
    assert high.startswith(f"TargetTracking-{resource}-AlarmHigh-")
    assert low.startswith(f"TargetTracking-{resource}-AlarmLow-")
    assert answer["PolicyARN"].endswith(f":resource/sagemaker/{resource}:policyName/policy")
    cloudwatch = hosting.cloudwatch
    alarms = {one["AlarmName"]: one for one in cloudwatch.describe_alarms(AlarmNames=[high, low])["MetricAlarms"]}
    members = ("MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold", "ComparisonOperator")
    assert [alarms[high][member] for member in members] == [
        *("ConcurrentRequestsPerModel", "Average", 10, 3, 2.0, "GreaterThanThreshold")
    ]
    assert [alarms[low][member] for member in members] == [
        *("ConcurrentRequestsPerModel", "Average", 60, 15, 1.8, "LessThanThreshold")
    ]
    assert alarms[high]["AlarmActions"] == [answer["PolicyARN"]]
    again = scaling.track(TargetValue=5.0)
    assert cloudwatch.describe_alarms(AlarmNames=[high])["MetricAlarms"][0]["Threshold"] == 5.0
    assert (again["PolicyARN"], again["Alarms"]) == (answer["PolicyARN"], answer["Alarms"])
    scaling.track("second")
    seen = scaling.client.describe_scaling_policies(**scaling.target)["ScalingPolicies"]
    assert [one["PolicyName"] for one in seen] == ["policy", "second"]
    assert seen[0]["TargetTrackingScalingPolicyConfiguration"] == {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": CONCURRENCY,
    }
    pages = scaling.client.get_paginator("describe_scaling_policies").paginate(
        ServiceNamespace="sagemaker", PaginationConfig={"PageSize": 1}
    )
    assert [len(page["ScalingPolicies"]) for page in pages] == [1, 1]
    with refused("InvalidNextTokenException", "NextToken"):
        scaling.client.describe_scaling_policies(ServiceNamespace="sagemaker", NextToken="bm90aGluZw==")
    scaling.client.delete_scaling_policy(**scaling.target, PolicyName="second")
    scaling.client.delete_scaling_policy(**scaling.target, PolicyName="policy")
    assert cloudwatch.describe_alarms(AlarmNamePrefix=f"TargetTracking-{resource}")["MetricAlarms"] == []
    with refused("ObjectNotFoundException", "No scaling policy found", "policy name: second"):
        scaling.client.delete_scaling_policy(**scaling.target, PolicyName="second")


def test_scheduled_actions_are_put_described_and_deleted(scaling: Scaling) -> None:
    client, name = scaling.client, {**scaling.target, "ScheduledActionName": "night"}
    client.put_scheduled_action(
        **name, Schedule="cron(0 20 ? * * *)", Timezone="Europe/Berlin", ScalableTargetAction={"MaxCapacity": 2}
    )
    client.put_scheduled_action(**name, ScalableTargetAction={"MinCapacity": 1, "MaxCapacity": 1})
    (seen,) = client.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
    assert (seen["Schedule"], seen["Timezone"]) == ("cron(0 20 ? * * *)", "Europe/Berlin")
    assert seen["ScalableTargetAction"] == {"MinCapacity": 1, "MaxCapacity": 1}
    assert seen["ScheduledActionARN"].endswith("/night")
    for schedule, part in (
        ("cron(0 20 * * * *)", "one of day of month and day of week must be ?"),
        ("rate(1 minutes)", "give a positive number"),
        ("at(2020-01-01T00:00:00)", "no time that is still to come"),
        ("tomorrow", "neither at("),
    ):
        with refused("ValidationException", part):
            client.put_scheduled_action(**name, Schedule=schedule)
    client.delete_scheduled_action(**name)
    with refused("ObjectNotFoundException", "No scheduled action found"):
        client.delete_scheduled_action(**name)


# ---- refusals ----


@pytest.mark.parametrize(
    ("changed", "code", "part"),
    [
        ({"ResourceId": "endpoint/nobody/variant/AllTraffic"}, "ValidationException", "Could not find endpoint"),
        ({"variant": "nobody"}, "ValidationException", "Could not find variant"),
        ({"ResourceId": "endpoint/nobody"}, "ValidationException", "Unsupported service namespace"),
        ({"ServiceNamespace": "ecs"}, "ValidationException", "Unsupported service namespace"),
        ({"MinCapacity": 4}, "ValidationException", "Maximum capacity cannot be less than minimum capacity."),
        ({"MinCapacity": -1}, "ValidationException", "cannot be less than 0"),
        ({"MinCapacity": 0}, "NotImplemented", "MinCapacity of 0"),
        ({"MinCapacity": None}, "ValidationException", "MinCapacity and MaxCapacity are required"),
        (
            {
                "ServiceNamespace": "dynamodb",
                "ResourceId": "table/dogs",
                "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
            },
            "NotImplemented",
            "dynamodb:table:ReadCapacityUnits",
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused(
    hosting: Hosting, served: str, changed: dict[str, Any], code: str, part: str
) -> None:
    unknown = Scaling(hosting, served)
    resource = {"ResourceId": f"endpoint/{served}/variant/{changed.pop('variant')}"} if "variant" in changed else {}
    members = {**unknown.target, "MinCapacity": 1, "MaxCapacity": 3, **resource, **changed}
    with refused(code, part):
        unknown.client.register_scalable_target(**{key: value for key, value in members.items() if value is not None})


@pytest.mark.parametrize(
    ("changed", "code", "part"),
    [
        ({"PredefinedMetricSpecification": None}, "ValidationException", "Exactly one of"),
        ({"TargetValue": 0.0}, "ValidationException", "greater than 0"),
        ({"ScaleInCooldown": -1}, "ValidationException", "must not be negative"),
        (
            {"PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}},
            "ValidationException",
            "not supported",
        ),
        (
            {"PredefinedMetricSpecification": None, "CustomizedMetricSpecification": {"MetricName": "m"}},
            "ValidationException",
            "Namespace and Statistic",
        ),
    ],
)
def test_a_policy_that_cannot_be_is_refused(scaling: Scaling, changed: dict[str, Any], code: str, part: str) -> None:
    with refused(code, part):
        scaling.track("bad", **changed)


@pytest.mark.parametrize(
    ("spans", "part"),
    [
        ([(0, 10)], "without an upper bound"),
        ([(None, None)], "must have an upper or a lower bound"),
        ([(0, 10), (20, None)], "neither overlap nor have a gap"),
        ([(0, None), (10, None)], "At most one"),
        ([(-10, 0), (0, None)], "without a lower bound"),
    ],
)
def test_steps_that_leave_gaps_are_refused(scaling: Scaling, spans: list[Any], part: str) -> None:
    steps = [
        {
            **({} if lower is None else {"MetricIntervalLowerBound": lower}),
            **({} if upper is None else {"MetricIntervalUpperBound": upper}),
            "ScalingAdjustment": 1,
        }
        for lower, upper in spans
    ]
    with refused("ValidationException", part):
        scaling.client.put_scaling_policy(
            **scaling.target,
            PolicyName="steps",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps},
        )


def test_what_is_not_registered_has_no_policies(hosting: Hosting, served: str) -> None:
    with refused("ObjectNotFoundException", "No scalable target registered for service namespace: sagemaker"):
        Scaling(hosting, served).track()
    with refused("ObjectNotFoundException", "No scalable target registered"):
        Scaling(hosting, served).client.deregister_scalable_target(**Scaling(hosting, served).target)


def test_an_update_may_not_take_a_scaled_variant_away(hosting: Hosting, served: str, scaling: Scaling) -> None:
    hosting.model("other-type")
    for name, changed in (("other-type", {"InstanceType": "ml.c5.xlarge"}), ("other-name", {"name": "other"})):
        production = variant("other-type", **changed)
        hosting.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[production])
        with refused("ValidationException", "AllTraffic are registered as scalable targets"):
            hosting.sagemaker.update_endpoint(EndpointName=served, EndpointConfigName=name)
