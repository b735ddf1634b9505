"""CloudWatch's metrics, through boto3."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.actors import administrator, send
from tests.conftest import ROOT, start

MINUTE = timedelta(minutes=1)


@pytest.fixture
def cloudwatch(aws):
    return aws.client("cloudwatch")


@pytest.fixture
def namespace():
    return f"Dogs/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def noon():
    """A full hour of the past."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


def refused(call, **arguments) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def statistics(cloudwatch, namespace, noon, **more):
    asked = {
        "Namespace": namespace,
        "MetricName": "Barks",
        "StartTime": noon,
        "EndTime": noon + 10 * MINUTE,
        "Period": 60,
        **more,
    }
    return cloudwatch.get_metric_statistics(**asked)["Datapoints"]


def query(namespace, stat="Sum", period=60, **more):
    metric = {"Namespace": namespace, "MetricName": "Barks", "Dimensions": more.pop("dimensions", [])}
    return {"Id": "m1", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}


def data(cloudwatch, noon, *queries, minutes=10, **more):
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=queries, StartTime=noon, EndTime=noon + minutes * MINUTE, **more
    )
    return answer["MetricDataResults"]


def test_every_statistic_of_values_with_counts(cloudwatch, namespace, noon):
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": "Barks", "Timestamp": noon, "Values": [1.0, 2.0, 10.0], "Counts": [5.0, 4.0, 1.0]},
            {"MetricName": "Barks", "Timestamp": noon + 3 * MINUTE, "Value": 7.0},
        ],
    )
    names = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"]
    first, second = statistics(cloudwatch, namespace, noon, Statistics=names)
    assert {name: first[name] for name in names} == {
        "SampleCount": 10,
        "Average": 2.3,
        "Sum": 23,
        "Minimum": 1,
        "Maximum": 10,
    }
    assert (first["Timestamp"], second["Timestamp"]) == (noon, noon + 3 * MINUTE)
    assert (second["Sum"], second["Unit"]) == (7, "None")
    [extended, _] = statistics(cloudwatch, namespace, noon, ExtendedStatistics=["p50", "p90", "p99.5", "tm90"])
    assert extended["ExtendedStatistics"] == {"p50": 1, "p90": 2, "p99.5": 10, "tm90": pytest.approx(13 / 9)}


def test_a_statistic_set_has_no_percentiles_and_units_are_kept_apart(cloudwatch, namespace, noon):
    summary = {"SampleCount": 4.0, "Sum": 10.0, "Minimum": 1.0, "Maximum": 5.0}
    cloudwatch.put_metric_data(
        Namespace=namespace,
        MetricData=[
            {"MetricName": "Barks", "Timestamp": noon, "StatisticValues": summary, "Unit": "Seconds"},
            {"MetricName": "Barks", "Timestamp": noon, "Value": 3.0, "Unit": "Count"},
        ],
    )
    both = statistics(cloudwatch, namespace, noon, Statistics=["Average"])
    assert {point["Unit"]: point["Average"] for point in both} == {"Seconds": 2.5, "Count": 3.0}
    [seconds] = statistics(cloudwatch, namespace, noon, Statistics=["Maximum"], Unit="Seconds")
    assert seconds["Maximum"] == 5
    assert statistics(cloudwatch, namespace, noon, ExtendedStatistics=["p90"], Unit="Seconds") == []


def test_data_of_many_metrics_in_order_and_in_pages(cloudwatch, namespace, noon):
    for minute in range(10):
        point = {"MetricName": "Barks", "Timestamp": noon + minute * MINUTE, "Value": minute}
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[point])
    hidden = {**query(namespace, "Maximum"), "Id": "hidden", "ReturnData": False}
    other = {**query(namespace, "p50", period=300), "Id": "m2", "Label": "the middle"}
    first, second = data(cloudwatch, noon, query(namespace), hidden, other)
    assert first["Values"] == [float(value) for value in reversed(range(10))]
    assert first["Timestamps"][0] == noon + 9 * MINUTE
    assert (first["Label"], second["Label"], second["Values"]) == ("Barks", "the middle", [7.0, 2.0])
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[query(namespace), other],
        StartTime=noon,
        EndTime=noon + 10 * MINUTE,
        ScanBy="TimestampAscending",
        PaginationConfig={"PageSize": 4},
    )
    results = [result for page in pages for result in page["MetricDataResults"]]
    assert [value for one in results if one["Id"] == "m1" for value in one["Values"]] == list(range(10))
    assert [value for one in results if one["Id"] == "m2" for value in one["Values"]] == [2.0, 7.0]
    assert results[0]["StatusCode"] == "PartialData"


def test_only_high_resolution_metrics_have_more_than_a_point_a_minute(cloudwatch, namespace, noon):
    for resolution in (1, 60):
        points = [
            {
                "MetricName": "Barks",
                "Dimensions": [{"Name": "Resolution", "Value": str(resolution)}],
                "Timestamp": noon + timedelta(seconds=second),
                "Value": second,
                "StorageResolution": resolution,
            }
            for second in (0, 11, 59)
        ]
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=points)
    [fine] = data(cloudwatch, noon, query(namespace, period=10, dimensions=[{"Name": "Resolution", "Value": "1"}]))
    [coarse] = data(cloudwatch, noon, query(namespace, period=10, dimensions=[{"Name": "Resolution", "Value": "60"}]))
    assert (fine["Values"], coarse["Values"]) == ([59, 11, 0], [70])


def test_metrics_are_listed_by_what_they_are(cloudwatch, namespace):
    old = datetime.now(UTC) - timedelta(hours=5)
    for name, breed, at in (("Barks", "Beagle", None), ("Barks", "Boxer", old), ("Naps", "Boxer", None)):
        point = {"MetricName": name, "Dimensions": [{"Name": "Breed", "Value": breed}], "Value": 1}
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=[point | ({"Timestamp": at} if at else {})])

    def listed(**more) -> list[tuple[str, str]]:
        found = cloudwatch.list_metrics(Namespace=namespace, **more)["Metrics"]
        return [(one["MetricName"], one["Dimensions"][0]["Value"]) for one in found]

    assert listed() == [("Barks", "Beagle"), ("Barks", "Boxer"), ("Naps", "Boxer")]
    assert listed(MetricName="Naps") == [("Naps", "Boxer")]
    assert listed(Dimensions=[{"Name": "Breed", "Value": "Boxer"}]) == [("Barks", "Boxer"), ("Naps", "Boxer")]
    assert listed(Dimensions=[{"Name": "Host"}]) == []
    assert listed(RecentlyActive="PT3H") == [("Barks", "Beagle"), ("Naps", "Boxer")]


def test_more_than_500_metrics_come_in_pages(cloudwatch, namespace):
    points = [{"MetricName": f"Barks{number:03}", "Value": 1} for number in range(501)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=points)  # large enough for boto3 to compress
    pages = list(cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace))
    assert [len(page["Metrics"]) for page in pages] == [500, 1]


def test_the_query_protocol_and_the_cli_are_understood(aws, namespace, noon):
    body = (
        f"Action=PutMetricData&Version=2010-08-01&Namespace={namespace.replace('/', '%2F')}"
        "&MetricData.member.1.MetricName=Barks&MetricData.member.1.Value=5"
        f"&MetricData.member.1.Timestamp={noon:%Y-%m-%dT%H:%M:%SZ}"
    )
    form, me = "application/x-www-form-urlencoded", administrator(aws)
    assert b"PutMetricDataResponse" in send(me, "monitoring", body.encode(), Content_Type=form)
    send(me, "monitoring", gzip.compress(body.encode()), Content_Type=form, Content_Encoding="gzip")
    argv = [
        *(sys.executable, "-m", "awscli", "cloudwatch", "get-metric-statistics", "--namespace", namespace),
        *("--metric-name", "Barks", "--period", "60", "--statistics", "Sum"),
        *("--start-time", noon.isoformat(), "--end-time", (noon + MINUTE).isoformat()),
    ]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **aws.environment}, capture_output=True, check=True)
    assert json.loads(done.stdout)["Datapoints"][0]["Sum"] == 10


@pytest.mark.parametrize(
    ("datum", "code"),
    [
        ({}, "MissingParameter"),
        ({"Value": 1.0, "Values": [1.0]}, "InvalidParameterCombination"),
        ({"Value": 1e300}, "InvalidParameterValue"),
        ({"Values": [1.0, 2.0], "Counts": [1.0]}, "InvalidParameterValue"),
        ({"Values": [float(value) for value in range(151)]}, "InvalidParameterValue"),
        ({"Values": [1.0], "Counts": [0.0]}, "InvalidParameterValue"),
        ({"Value": 1.0, "StorageResolution": 30}, "InvalidParameterValue"),
        ({"Value": 1.0, "Unit": "Barks"}, "ValidationError"),
        ({"Value": 1.0, "Timestamp": datetime(2020, 1, 1, tzinfo=UTC)}, "InvalidParameterValue"),
        ({"Value": 1.0, "Timestamp": datetime(2100, 1, 1, tzinfo=UTC)}, "InvalidParameterValue"),
        (
            {"StatisticValues": {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 2.0, "Maximum": 1.0}},
            "InvalidParameterValue",
        ),
    ],
)
def test_a_wrong_point_is_refused_and_nothing_of_its_request_kept(cloudwatch, namespace, datum, code):
    right, wrong = {"MetricName": "Barks", "Value": 1.0}, {"MetricName": "Barks", **datum}
    assert refused(cloudwatch.put_metric_data, Namespace=namespace, MetricData=[right, wrong])[0] == code
    assert cloudwatch.list_metrics(Namespace=namespace)["Metrics"] == []


def test_awss_own_namespaces_are_not_to_be_written(cloudwatch):
    point = {"MetricName": "Invocations", "Value": 1.0}
    code, message = refused(cloudwatch.put_metric_data, Namespace="AWS/Lambda", MetricData=[point])
    assert (code, message) == ("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.")


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "MissingParameter"),
        ({"Statistics": ["Sum"], "ExtendedStatistics": ["p90"]}, "InvalidParameterCombination"),
        ({"Statistics": ["Median"]}, "ValidationError"),
        ({"ExtendedStatistics": ["p101"]}, "InvalidParameterValue"),
        ({"Statistics": ["Sum"], "Period": 45}, "InvalidParameterValue"),
        ({"Statistics": ["Sum"], "EndTime": datetime(2020, 1, 1, tzinfo=UTC)}, "InvalidParameterValue"),
        ({"Statistics": ["Sum"], "StartTime": datetime(2026, 1, 1, tzinfo=UTC)}, "InvalidParameterCombination"),
    ],
)
def test_a_wrong_question_for_statistics_is_refused(cloudwatch, namespace, noon, asked, code):
    with pytest.raises(ClientError) as caught:
        statistics(cloudwatch, namespace, noon, **asked)
    assert caught.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Id": "M1"}, "ValidationError"),
        ({"Expression": "m2 * 2"}, "ValidationError"),
        ({"stat": "Median"}, "ValidationError"),
        ({"period": 90}, "ValidationError"),
    ],
)
def test_a_wrong_query_is_refused(cloudwatch, namespace, noon, change, code):
    with pytest.raises(ClientError) as caught:
        data(cloudwatch, noon, {**query(namespace, **change)})
    assert caught.value.response["Error"]["Code"] == code


def test_a_wrong_range_a_wrong_token_and_one_id_twice_are_refused(cloudwatch, namespace, noon):
    with pytest.raises(ClientError, match="StartTime must be less than"):
        data(cloudwatch, noon, query(namespace), minutes=0)
    with pytest.raises(ClientError, match="not unique"):
        data(cloudwatch, noon, query(namespace), query(namespace))
    with pytest.raises(cloudwatch.exceptions.InvalidNextToken):
        data(cloudwatch, noon, query(namespace), NextToken="no such token")


def saved(state: Path, name: str) -> int:
    """How many chunks of a metric are on disk, where they come a moment after they were put."""
    with closing(sqlite3.connect(f"file:{state}/metrics.sqlite?mode=ro", uri=True)) as database:
        found = database.execute("SELECT count(*) FROM chunks JOIN metrics ON metric = id WHERE name = ?", (name,))
        [(count,)] = found
    return int(count)


def test_metrics_survive_kill_9(fresh_aws):
    aws = fresh_aws()
    cloudwatch = aws.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="Dogs", MetricData=[{"MetricName": "Barks", "Value": 3, "Unit": "Count"}])
    while not saved(aws.state, "Barks"):
        time.sleep(0.05)
    server = psutil.Process(json.loads(aws.cli("status").stdout)["pid"])
    server.kill()
    server.wait(60)
    cloudwatch = start(aws.state).client("cloudwatch")
    now = datetime.now(UTC)
    [point] = statistics(
        cloudwatch, "Dogs", now - 10 * MINUTE, EndTime=now + MINUTE, Period=900, Statistics=["SampleCount", "Sum"]
    )
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (3, 1, "Count")


def test_metric_math_over_other_queries(cloudwatch, namespace, noon):
    for minute, (barks, naps) in enumerate([(1, 10), (2, None), (4, 20)]):
        for name, value in (("Barks", barks), ("Naps", naps)):
            if value is not None:
                point = {"MetricName": name, "Timestamp": noon + minute * MINUTE, "Value": value}
                cloudwatch.put_metric_data(Namespace=namespace, MetricData=[point])
    barks, naps = query(namespace, ReturnData=False), {**query(namespace), "Id": "m2", "ReturnData": False}
    naps["MetricStat"]["Metric"]["MetricName"] = "Naps"

    def calculated(expression: str) -> list[list[float]]:
        asked = {"Id": "e1", "Expression": expression}
        found = data(cloudwatch, noon, barks, naps, asked, ScanBy="TimestampAscending", minutes=3)
        return [result["Values"] for result in found]

    assert calculated("100 * m1 / m2") == [[10.0, 20.0]]
    assert calculated("FILL(m2, 0) + m1") == [[11.0, 2.0, 24.0]]
    assert calculated("RATE(m1)") == [[1 / 60, 2 / 60]]
    assert calculated("[m1, m2]") == [[1.0, 2.0, 4.0], [10.0, 20.0]]
    assert calculated("IF(m1 > 1, m1)") == [[2.0, 4.0]]
    twice = {"Id": "e2", "Expression": "e1 * 2", "Label": "twice"}
    [first, second] = data(cloudwatch, noon, barks, {"Id": "e1", "Expression": "m1 + 1"}, twice, minutes=3)
    assert (first["Label"], second["Label"], second["Values"]) == ("e1", "twice", [10.0, 6.0, 4.0])


@pytest.mark.parametrize(
    ("expression", "code", "message"),
    [
        ("m1 +", "ValidationError", "Error in expression 'e1': Invalid syntax"),
        ("m1 + m9", "ValidationError", "'m9' is not the id"),
        ("e1 + 1", "ValidationError", "'e1' depends on itself"),
        ("AVG(m1)", "ValidationError", "not a time series"),
        ("m1.values", "ValidationError", "no part of metric math"),
        ("SEARCH('Barks', 'Sum')", "NotImplemented", "SEARCH in metric math"),
    ],
)
def test_a_wrong_expression_is_refused(cloudwatch, namespace, noon, expression, code, message):
    with pytest.raises(ClientError, match=message) as caught:
        data(cloudwatch, noon, query(namespace), {"Id": "e1", "Expression": expression})
    assert caught.value.response["Error"]["Code"] == code
