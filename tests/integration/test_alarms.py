"""CloudWatch's alarms, through boto3. How they are evaluated is in the unit tests."""

import json
import time
import uuid
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from tests.conftest import TIME_SCALE


@pytest.fixture
def cloudwatch(aws):
    return aws.client("cloudwatch")


@pytest.fixture
def name():
    return f"alarm-{uuid.uuid4().hex[:8]}"


def given(name: str, **more) -> dict:
    wanted = {
        "AlarmName": name,
        "Namespace": "Kennel",
        "MetricName": name,
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 10.0,
        "ComparisonOperator": "GreaterThanThreshold",
        **more,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def described(cloudwatch, name: str) -> dict:
    [alarm] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return alarm


def code_of(call, **arguments) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def until(cloudwatch, name: str, state: str, value: float) -> dict:
    """Publish ``value`` until the alarm is in ``state``."""
    deadline = time.monotonic() + 60
    while (alarm := described(cloudwatch, name))["StateValue"] != state:
        assert time.monotonic() < deadline, f"still {alarm['StateValue']}: {alarm['StateReason']}"
        cloudwatch.put_metric_data(Namespace="Kennel", MetricData=[{"MetricName": name, "Value": value}])
        time.sleep(60 / TIME_SCALE / 10)
    return alarm


def test_an_alarm_goes_on_and_off_and_tells_a_topic(aws, cloudwatch, name):
    sns, sqs = aws.client("sns"), aws.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    [arn] = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"].values()
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    cloudwatch.put_metric_alarm(
        **given(name, AlarmActions=[topic], OKActions=["arn:aws:lambda:us-east-1:1:function:f"])
    )
    assert described(cloudwatch, name)["StateReason"] == "Unchecked: Initial alarm creation"
    until(cloudwatch, name, "OK", 1.0)
    alarm = until(cloudwatch, name, "ALARM", 20.0)
    assert alarm["StateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [20.0 (")
    assert json.loads(alarm["StateReasonData"])["threshold"] == 10.0
    assert alarm["StateTransitionedTimestamp"] > alarm["AlarmConfigurationUpdatedTimestamp"]
    until(cloudwatch, name, "OK", 1.0)
    message = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"][0]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"], told["OldStateValue"]) == (name, "ALARM", "OK")
    history = cloudwatch.describe_alarm_history(AlarmName=name, ScanBy="TimestampAscending")["AlarmHistoryItems"]
    summaries = [item["HistorySummary"] for item in history]
    assert summaries[0] == f'Alarm "{name}" created'
    assert "Alarm updated from INSUFFICIENT_DATA to OK" in summaries
    assert f"Successfully executed action {topic}" in summaries
    assert "Failed to execute action arn:aws:lambda:us-east-1:1:function:f" in summaries
    changes = cloudwatch.describe_alarm_history(AlarmName=name, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in changes][:2] == [
        "Alarm updated from ALARM to OK",
        "Alarm updated from OK to ALARM",
    ]
    cloudwatch.delete_alarms(AlarmNames=[name])


def test_an_alarm_is_described_as_it_was_given(cloudwatch, name):
    wanted = given(
        name,
        AlarmDescription="too loud",
        Statistic=None,
        ExtendedStatistic="p99.9",
        EvaluateLowSampleCountPercentile="ignore",
        Dimensions=[{"Name": "Breed", "Value": "Beagle"}],
        Unit="Count",
        EvaluationPeriods=5,
        DatapointsToAlarm=3,
        TreatMissingData="notBreaching",
        ActionsEnabled=False,
    )
    cloudwatch.put_metric_alarm(**wanted, Tags=[{"Key": "project", "Value": "dogs"}])
    found = described(cloudwatch, name)
    assert {key: found[key] for key in wanted} == wanted
    assert found["AlarmArn"] == f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"
    cloudwatch.put_metric_alarm(**given(name))
    assert "AlarmDescription" not in described(cloudwatch, name)
    arn = found["AlarmArn"]
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "team", "Value": "vets"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["team", "none"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "project", "Value": "dogs"}]
    cloudwatch.delete_alarms(AlarmNames=[name])
    assert code_of(cloudwatch.list_tags_for_resource, ResourceARN=arn) == "ResourceNotFoundException"


def test_alarms_are_found_by_prefix_state_action_and_metric(cloudwatch, name):
    arn = f"arn:aws:sns:us-east-1:123456789012:{name}"
    # Without data an evaluation would take a state that was set by hand away again.
    kept = {"ActionsEnabled": False, "TreatMissingData": "ignore"}
    for number in range(3):
        cloudwatch.put_metric_alarm(**given(f"{name}-{number}", MetricName=name, **kept))
    cloudwatch.put_metric_alarm(**given(f"{name}-3", AlarmActions=[arn], ActionsEnabled=False))
    cloudwatch.set_alarm_state(AlarmName=f"{name}-1", StateValue="ALARM", StateReason="a test")

    def names(**asked) -> list[str]:
        pages = cloudwatch.get_paginator("describe_alarms").paginate(**asked)
        return [alarm["AlarmName"].removeprefix(name) for page in pages for alarm in page["MetricAlarms"]]

    assert names(AlarmNamePrefix=name, MaxRecords=2) == ["-0", "-1", "-2", "-3"]
    assert names(AlarmNamePrefix=name, StateValue="ALARM") == ["-1"]
    assert names(ActionPrefix=arn) == ["-3"]
    assert names(AlarmNames=[f"{name}-2", "none"]) == ["-2"]
    assert names(AlarmNamePrefix=name, AlarmTypes=["CompositeAlarm"]) == []
    found = cloudwatch.describe_alarms_for_metric(Namespace="Kennel", MetricName=name)["MetricAlarms"]
    assert [alarm["AlarmName"] for alarm in found] == [f"{name}-0", f"{name}-1", f"{name}-2"]
    none = cloudwatch.describe_alarms_for_metric(Namespace="Kennel", MetricName=name, Statistic="Sum")
    assert none["MetricAlarms"] == []
    assert code_of(cloudwatch.describe_alarms, NextToken="no such token") == "InvalidNextToken"
    cloudwatch.delete_alarms(AlarmNames=[f"{name}-{number}" for number in range(4)])
    assert names(AlarmNamePrefix=name) == []


def test_a_state_can_be_set_and_actions_switched(cloudwatch, name):
    # An evaluation without data leaves it in the state that was set by hand.
    topic = "arn:aws:sns:us-east-1:123456789012:none"
    cloudwatch.put_metric_alarm(**given(name, AlarmActions=[topic], Period=86400, TreatMissingData="ignore"))
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    set_state = {"AlarmName": name, "StateReason": "a test", "StateReasonData": '{"by": "hand"}'}
    cloudwatch.set_alarm_state(**set_state, StateValue="ALARM")
    alarm = described(cloudwatch, name)
    assert (alarm["StateValue"], alarm["StateReason"], alarm["ActionsEnabled"]) == ("ALARM", "a test", False)
    acted = {"AlarmName": name, "HistoryItemType": "Action"}
    assert cloudwatch.describe_alarm_history(**acted)["AlarmHistoryItems"] == []
    cloudwatch.enable_alarm_actions(AlarmNames=[name])
    cloudwatch.set_alarm_state(**set_state, StateValue="OK")
    cloudwatch.set_alarm_state(**set_state, StateValue="ALARM")
    [item] = cloudwatch.describe_alarm_history(**acted, EndDate=datetime(2100, 1, 1, tzinfo=UTC))["AlarmHistoryItems"]
    assert "Topic does not exist" in item["HistoryData"]
    assert code_of(cloudwatch.set_alarm_state, **{**set_state, "StateReasonData": "{", "StateValue": "OK"}) == (
        "InvalidFormat"
    )
    cloudwatch.delete_alarms(AlarmNames=[name])


STAT = {"Metric": {"Namespace": "Kennel", "MetricName": "Barks"}, "Period": 60, "Stat": "Sum"}
OTHER = {**STAT, "Period": 300}
NO_METRIC = {"Namespace": None, "MetricName": None, "Statistic": None, "Period": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Period": 45}, "Period must be 10, 20, 30 or a multiple of 60"),
        ({"Period": 3600, "EvaluationPeriods": 200}, "across more than a week"),
        ({"Period": 1800, "EvaluationPeriods": 49}, "across more than a day"),
        ({"Threshold": None}, "Threshold is required"),
        ({"Statistic": None}, "Exactly one of the parameters Statistic"),
        ({"ExtendedStatistic": "p90"}, "Exactly one of the parameters Statistic"),
        ({"Statistic": None, "ExtendedStatistic": "median"}, "is not supported"),
        ({"Statistic": "Median"}, "enum value set"),
        ({"MetricName": None}, "MetricName is required"),
        ({"DatapointsToAlarm": 2}, "DatapointsToAlarm must be less"),
        ({"TreatMissingData": "forget"}, "TreatMissingData"),
        ({"AlarmActions": ["not an arn"]}, "Invalid arn syntax: not an arn"),
        ({"Metrics": [{"Id": "m1", "MetricStat": STAT}]}, "mutually exclusive"),
        ({**NO_METRIC, "Metrics": [{"Id": "m1", "MetricStat": STAT, "ReturnData": False}]}, "Exactly one element"),
        ({**NO_METRIC, "Metrics": [{"Id": "e1", "Expression": "m1 * 2"}]}, "'m1' is not the id"),
        (
            {
                **NO_METRIC,
                "Metrics": [
                    {"Id": "m1", "MetricStat": STAT, "ReturnData": False},
                    {"Id": "m2", "MetricStat": OTHER, "ReturnData": False},
                    {"Id": "e1", "Expression": "m1 + m2"},
                ],
            },
            "Period must be the same",
        ),
    ],
)
def test_a_wrong_alarm_is_refused(cloudwatch, name, change, words):
    with pytest.raises(ClientError, match=words) as caught:
        cloudwatch.put_metric_alarm(**given(name, **change))
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


def test_what_is_not_there_or_not_imitated_is_refused(cloudwatch, name):
    cloudwatch.put_metric_alarm(**given(name))
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.delete_alarms(AlarmNames=[name, "none"])
    assert described(cloudwatch, name)["AlarmName"] == name
    cloudwatch.delete_alarms(AlarmNames=[name])
    state = {"AlarmName": name, "StateValue": "OK", "StateReason": "r"}
    assert code_of(cloudwatch.set_alarm_state, **state) == "ResourceNotFound"
    rule = f"ALARM({name})"
    assert code_of(cloudwatch.put_composite_alarm, AlarmName=name, AlarmRule=rule) == "NotImplemented"
    anomaly = given(name, ComparisonOperator="GreaterThanUpperThreshold")
    assert code_of(cloudwatch.put_metric_alarm, **anomaly) == "NotImplemented"
