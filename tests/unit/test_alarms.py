"""Alarms under a simulated clock: hours of data in milliseconds."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.engines.cloudwatch import Action, Alarms, Metrics, metric
from helpers.localaws.store import Store
from helpers.localaws.tags import Tags

REGION = "us-east-1"
NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)
POLICY = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1:resource/sagemaker/endpoint/dogs"
BARKS = metric(REGION, "Dogs", "Barks", {})


class Simulated(Clock):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(scale)
        self.moment = NOON

    def now(self) -> datetime:
        return self.moment


class World:
    """A metric and its alarms, and a clock that only the test moves."""

    def __init__(self, folder: Path, scale: float = 1.0) -> None:
        self.clock = Simulated(scale)
        self.metrics = Metrics(folder / "metrics.sqlite", now=self._now)
        self.store = Store(folder / "documents.sqlite")
        self.cloud = SimpleNamespace(
            account="123456789012",
            store=self.store,
            clock=self.clock,
            metrics=self.metrics,
            tags=Tags(self.store),
            records=None,
        )
        self.alarms = Alarms(self.cloud)  # type: ignore[arg-type]
        self.actions: list[Action] = []
        self.alarms.on_action(lambda action: self.actions.append(action) or True)

    def _now(self) -> float:
        return self.clock.moment.timestamp()

    def alarm(self, **more: Any) -> None:
        given = {
            "AlarmName": "loud",
            "Namespace": "Dogs",
            "MetricName": "Barks",
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 10.0,
            "ComparisonOperator": "GreaterThanThreshold",
        }
        self.alarms.put(REGION, {**given, **more})

    def pass_by(self, *values: float | None, seconds: float = 60) -> list[str]:
        """A value a period (at its middle), evaluating after each; the state after each."""
        states = []
        for value in values:
            self.clock.moment += timedelta(seconds=seconds / 2)
            if value is not None:
                self.metrics.put(BARKS, [value])
            self.clock.moment += timedelta(seconds=seconds / 2)
            self.alarms.evaluate_due()
            states.append(self.state)
        return states

    @property
    def state(self) -> str:
        found = self.alarms.find(REGION, "loud")
        assert found is not None
        return str(found["StateValue"])

    def close(self) -> None:
        self.metrics.close()
        self.store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_an_alarm_goes_on_after_its_periods_and_off_again(world):
    world.alarm()
    assert world.state == "INSUFFICIENT_DATA"
    assert world.pass_by(1, 2, 3) == ["OK"] * 3
    assert world.pass_by(20, 20, 20, 20) == ["OK", "OK", "ALARM", "ALARM"]
    assert world.pass_by(1) == ["OK"]


def test_hours_of_data_change_the_state_just_where_they_should(world):
    world.alarm(DatapointsToAlarm=2)
    values = [20.0 if minute % 60 in (10, 12, 40, 44) else 0.0 for minute in range(6 * 60)]
    states = world.pass_by(*values)
    alarmed = [minute for minute, state in enumerate(states) if state == "ALARM"]
    assert alarmed == [hour * 60 + 12 for hour in range(6)]


def test_the_reason_names_the_data(world):
    world.alarm(EvaluationPeriods=1)
    world.pass_by(20)
    found = world.alarms.find(REGION, "loud")
    assert found["StateReason"] == (
        "Threshold Crossed: 1 out of the last 1 datapoints [20.0 (15/01/27 12:00:00)] was greater than the threshold "
        "(10.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    data = json.loads(found["StateReasonData"])
    assert (data["statistic"], data["period"], data["recentDatapoints"], data["threshold"]) == (
        "Average",
        60,
        [20.0],
        10.0,
    )
    assert data["startDate"] == "2027-01-15T12:00:00.000+0000"


def test_a_policy_hears_of_every_period_and_a_topic_only_once(world):
    topic = "arn:aws:sns:us-east-1:123456789012:t"
    world.alarm(EvaluationPeriods=1, AlarmActions=[POLICY, topic], OKActions=[topic])
    world.pass_by(20, 20, 20)
    assert [(action.arn, action.before, action.state) for action in world.actions] == [
        (POLICY, "INSUFFICIENT_DATA", "ALARM"),
        (topic, "INSUFFICIENT_DATA", "ALARM"),
        (POLICY, "ALARM", "ALARM"),
        (POLICY, "ALARM", "ALARM"),
    ]
    world.actions.clear()
    world.pass_by(1, 1)
    assert [(action.arn, action.before, action.state) for action in world.actions] == [(topic, "ALARM", "OK")]
    told = [one["HistorySummary"] for one in world.alarms.history.items(REGION)]
    assert told == [
        'Alarm "loud" created',
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        f"Successfully executed action {POLICY}",
        f"Successfully executed action {topic}",
        "Alarm updated from ALARM to OK",
        f"Successfully executed action {topic}",
    ]


def test_actions_can_be_switched_off_and_may_fail(world):
    world.alarm(EvaluationPeriods=1, AlarmActions=[POLICY])
    world.alarms.enable(REGION, ["loud", "no such alarm"], False)
    world.pass_by(20)
    assert (world.state, world.actions) == ("ALARM", [])
    world.alarms.enable(REGION, ["loud"], True)

    def fail(_: Action) -> bool:
        raise RuntimeError("no capacity")

    world.alarms.on_action(fail)
    world.alarms._actions.callbacks.reverse()
    world.pass_by(1, 20)
    [failure] = [one for one in world.alarms.history.items(REGION) if one["HistorySummary"].startswith("Failed")]
    assert "no capacity" in failure["HistoryData"]


def test_sums_keep_their_meaning_when_periods_shrink(tmp_path):
    """600 a minute is 10 a second: an alarm at 500 sees it in a period of three seconds, and 8 a second not."""
    world = World(tmp_path, scale=20)
    world.alarm(EvaluationPeriods=2, Statistic="Sum", Threshold=500.0)
    assert world.pass_by(*[8 * 3.0] * 3, seconds=3)[-1] == "OK"
    assert world.pass_by(*[10 * 3.0] * 2, seconds=3) == ["OK", "ALARM"]
    world.close()


def test_no_period_is_shorter_than_a_second(tmp_path):
    world = World(tmp_path, scale=1000)
    world.alarm(EvaluationPeriods=1, Period=10)
    assert world.pass_by(20, 1, seconds=1) == ["ALARM", "OK"]
    world.close()


def test_percentiles_and_too_small_samples(world):
    world.alarm(EvaluationPeriods=1, Statistic=None, ExtendedStatistic="p90", EvaluateLowSampleCountPercentile="ignore")
    assert world.pass_by(20) == ["INSUFFICIENT_DATA"]
    world.metrics.put(BARKS, [20.0], counts=[1000.0])
    assert world.pass_by(20) == ["ALARM"]


def test_an_alarm_on_metric_math(world):
    stat = {"Metric": {"Namespace": "Dogs", "MetricName": "Barks"}, "Period": 60, "Stat": "Sum"}
    queries = [
        {"Id": "m1", "MetricStat": stat, "ReturnData": False},
        {"Id": "e1", "Expression": "m1 / PERIOD(m1)"},
    ]
    world.alarms.put(
        REGION,
        {
            "AlarmName": "loud",
            "Metrics": queries,
            "EvaluationPeriods": 1,
            "Threshold": 1.0,
            "ComparisonOperator": "GreaterThanThreshold",
        },
    )
    assert world.pass_by(59, 61) == ["OK", "ALARM"]


def test_history_stays_json_however_much_an_alarm_says(world):
    world.alarm(AlarmActions=[f"{POLICY}-{'x' * 1000}-{number}" for number in range(5)])
    [item] = world.alarms.history.items(REGION)
    assert json.loads(item["HistoryData"]) == {"version": "1.0", "type": "Create"}


def test_alarms_and_their_states_outlive_the_server(world):
    world.alarm(EvaluationPeriods=1)
    world.pass_by(20)
    again = Alarms(world.cloud)
    again.start()
    again.close()
    world.alarms = again
    assert world.state == "ALARM"
    assert world.pass_by(1) == ["OK"]


def test_an_alarm_that_is_changed_while_it_is_evaluated_is_not_judged_by_what_it_was(world, monkeypatch):
    world.alarm(EvaluationPeriods=1, AlarmActions=[POLICY])
    read = world.metrics.store.rows

    def read_while_it_is_changed(*arguments: Any) -> Any:
        monkeypatch.setattr(world.metrics.store, "rows", read)
        world.alarm(EvaluationPeriods=1, Threshold=100.0, AlarmActions=[POLICY])
        return read(*arguments)

    monkeypatch.setattr(world.metrics.store, "rows", read_while_it_is_changed)
    assert world.pass_by(20, 20) == ["INSUFFICIENT_DATA", "OK"]
    assert world.actions == []


def test_alarms_end_although_the_end_comes_just_before_they_look_for_what_has_changed(world):
    class Changed(threading.Event):
        def clear(self) -> None:
            world.alarms._closed.set()
            self.set()
            super().clear()

        def wait(self, timeout: float | None = None) -> bool:
            raise AssertionError(f"nobody will wake it for {timeout} s")

    world.alarms._changed = Changed()
    world.alarms._run()


def test_a_changed_alarm_keeps_its_state_and_a_deleted_one_its_history(world):
    world.alarm(EvaluationPeriods=1)
    world.pass_by(20)
    world.alarm(EvaluationPeriods=1, Threshold=100.0)
    assert world.state == "ALARM"
    assert world.pass_by(20) == ["OK"]
    world.alarms.delete(REGION, ["loud"])
    world.clock.moment += timedelta(minutes=5)
    world.alarms.evaluate_due()
    assert world.alarms.of(REGION) == []
    assert [one["HistorySummary"] for one in world.alarms.history.items(REGION)][-1] == 'Alarm "loud" deleted'
