"""``cloud.alarms``: the alarms of the embedded AWS, evaluated in a thread as time passes.

Other engines make alarms in this process, and hear of what they do::

    cloud.alarms.on_action(policies.alarm_says)        # (action: Action) -> bool: whether the ARN was one's own
    cloud.alarms.put(region, {"AlarmName": "high", "Namespace": "AWS/SageMaker", "MetricName": …, "Period": 60,
                              "EvaluationPeriods": 3, "AlarmActions": [policy_arn], …})   # PutMetricAlarm's members
    cloud.alarms.find(region, "high")["StateValue"]
    cloud.alarms.delete(region, ["high"])

How periods shrink under a time scale is in :mod:`..clock`. Data points are those of full periods that ended where the
evaluation began, every minute (every ten seconds where the period is below a minute).
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import history, reasons
from .actions import Action, Actions
from .evaluation import INSUFFICIENT_DATA, STATES, Rule, evaluate
from .expressions import ExpressionError, Grid
from .points import COUNT
from .queries import Evaluation, metric_of, on_grid
from .statistics import Periods, parse

if TYPE_CHECKING:
    from datetime import datetime

    from ...store import Document, Store
    from ..clock import Clock
    from .metrics import Metrics

log = logging.getLogger(__name__)

TABLE = "alarm"
ACTIONS = {"OK": "OKActions", "ALARM": "AlarmActions", INSUFFICIENT_DATA: "InsufficientDataActions"}
LONGEST_WAIT_SECONDS = 60.0
Key = tuple[str, str]  # region, name


class Surroundings(Protocol):
    """What alarms need of the cloud."""

    account: str
    store: Store
    clock: Clock
    metrics: Metrics
    records: Any
    tags: Any


class Alarms:
    """All alarms of all regions."""

    def __init__(self, cloud: Surroundings) -> None:
        self._cloud, self._table = cloud, cloud.store.table(TABLE)
        self.history = history.History(cloud.store)
        self._actions = Actions(cloud)
        self._lock = threading.RLock()
        self._alarms: dict[Key, Document] = {}
        self._evaluated: dict[Key, int] = {}
        self._acted: dict[Key, float] = {}
        self._changed, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    # ---- for operations and other engines ----

    def on_action(self, callback: Callable[[Action], bool]) -> None:
        """Call ``callback`` with every action of an alarm; it answers whether the action's ARN was for it.

        Called in the alarms' thread (or SetAlarmState's), so it should not take long; what it raises fails the action.
        """
        self._actions.callbacks.append(callback)

    def put(self, region: str, given: dict[str, Any]) -> Document:
        """Make or change an alarm of these (PutMetricAlarm's) members; one that was there keeps its state."""
        now, name = self._cloud.clock.now(), given["AlarmName"]
        with self._lock:
            before = self.find(region, name)
            state = before or {"StateValue": INSUFFICIENT_DATA, "StateReason": reasons.INITIAL}
            kept = {key: state[key] for key in STATE_MEMBERS if key in state}
            times = {"StateUpdatedTimestamp": now, "StateTransitionedTimestamp": now} if before is None else {}
            arn = f"arn:aws:cloudwatch:{region}:{self._cloud.account}:alarm:{name}"
            alarm = {**DEFAULTS, **given, "AlarmArn": arn, "AlarmConfigurationUpdatedTimestamp": now, **kept, **times}
            # With its history as one step, as for all changes below: who sees the one sees the other.
            with self._cloud.store.locked():
                self._table.put(region, name, alarm)
                self.history.configured(region, alarm, before, now)
            self._follow(region, alarm)
        self._changed.set()
        return alarm

    def find(self, region: str, name: str) -> Document | None:
        """The description of an alarm, or None."""
        return self._table.find(region, name)

    def of(self, region: str) -> Sequence[Document]:
        """All alarms of a region, by name."""
        return self._table.list(region)

    def delete(self, region: str, names: Sequence[str]) -> None:
        """Delete alarms; those that are not there are no error here. Their history stays."""
        for name in names:
            with self._lock:
                before = self.find(region, name)
                if before is None:
                    continue
                with self._cloud.store.locked():
                    self._table.delete(region, name)
                    self._cloud.tags.forget(before["AlarmArn"])
                    self.history.configured(region, None, before, self._cloud.clock.now())
                for kept in (self._alarms, self._evaluated, self._acted):
                    kept.pop((region, name), None)

    def enable(self, region: str, names: Sequence[str], enabled: bool) -> None:
        """Switch the actions of alarms on or off; names that are no alarm's are ignored, as on AWS."""
        for name in names:
            with self._lock:
                before = self.find(region, name)
                if before is None or before["ActionsEnabled"] == enabled:
                    continue
                now = self._cloud.clock.now()
                alarm = {**before, "ActionsEnabled": enabled, "AlarmConfigurationUpdatedTimestamp": now}
                with self._cloud.store.locked():
                    self._table.put(region, name, alarm)
                    self.history.configured(region, alarm, before, now)
                self._alarms[region, name] = alarm

    def set_state(self, region: str, name: str, state: str, reason: str, data: str | None = None) -> None:
        """Put an alarm into a state, with all that follows; the next evaluation may change it again.

        Raises ``KeyError`` where there is no such alarm, and ``ValueError`` for what is no state.
        """
        if state not in STATES:
            raise ValueError(state)
        if self.find(region, name) is None:
            raise KeyError(name)
        self._enter(region, name, state, reason, data, self._cloud.clock.now())

    def start(self) -> None:
        """Take up all alarms that there are, and evaluate them from now on."""
        for region, _, alarm in self._table.everywhere():
            self._follow(region, alarm)
        self._thread.start()

    def close(self) -> None:
        """Evaluate no more."""
        self._closed.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()

    # ---- evaluation ----

    def _follow(self, region: str, alarm: Document) -> None:
        key = (region, alarm["AlarmName"])
        self._alarms[key] = alarm
        self._evaluated[key] = self._turn(alarm, self._cloud.clock.now().timestamp())

    def _step(self, alarm: Document) -> float:
        """The real seconds between two evaluations."""
        return self._cloud.clock.period(10 if period_of(alarm) < 60 else 60)

    def _turn(self, alarm: Document, now: float) -> int:
        return math.floor(now / self._step(alarm))

    def _run(self) -> None:
        while True:
            self._changed.clear()
            # Only now: the end of a server that is told between a look at this and the line above would be forgotten.
            if self._closed.is_set():
                return
            try:
                self.evaluate_due()
            except Exception:
                log.exception("the alarms could not be evaluated")
            self._changed.wait(self._until_next())

    def _until_next(self) -> float:
        now = self._cloud.clock.now().timestamp()
        with self._lock:
            waits = [(self._evaluated[key] + 1) * self._step(alarm) - now for key, alarm in self._alarms.items()]
        return max(0.001, min([LONGEST_WAIT_SECONDS, *waits]))

    def evaluate_due(self) -> None:
        """Evaluate the alarms whose time it is."""
        now = self._cloud.clock.now()
        with self._lock:
            due = []
            for (region, name), alarm in self._alarms.items():
                turn = self._turn(alarm, now.timestamp())
                if turn > self._evaluated[region, name]:
                    self._evaluated[region, name] = turn
                    due.append((region, alarm, turn * self._step(alarm)))
        for region, alarm, end in due:
            self._evaluate(region, alarm, end, now)

    def _evaluate(self, region: str, alarm: Document, end: float, now: datetime) -> None:
        rule, nominal = rule_of(alarm), period_of(alarm)
        step = self._cloud.clock.period(nominal)
        grid = Grid(end - rule.range * step, step, rule.range, nominal, end)
        try:
            values, trusted = self._measure(region, alarm, grid)
        except ExpressionError:
            log.exception("alarm %s could not be evaluated", alarm["AlarmName"])
            return
        if not trusted:
            return
        state = alarm["StateValue"]
        verdict = evaluate(rule, values, state)
        if verdict.state == state:
            self._act_again(region, alarm, step, now)
            return
        times = grid.times().tolist()
        measured = {key: alarm[name] for key, name in MEASURED.items() if name in alarm} | {"period": nominal}
        why = reasons.reason(rule, verdict, values, times)
        data = reasons.reason_data(rule, verdict, values, times, measured, now)
        self._enter(region, alarm["AlarmName"], verdict.state, why, data, now, alarm)

    def _measure(self, region: str, alarm: Document, grid: Grid) -> tuple[list[float | None], bool]:
        """The data points of an alarm's periods, and whether they are enough of a sample for its percentile."""
        trusted = True
        if "Metrics" in alarm:
            queries = alarm["Metrics"]
            evaluation = Evaluation(self._cloud.metrics, region, queries, lambda _: grid, literal=False)
            [wanted] = [query["Id"] for query in queries if query.get("ReturnData", True)]
            values = evaluation.series(wanted)[0].values
        else:
            of, statistic = metric_of(region, alarm), alarm.get("Statistic") or alarm["ExtendedStatistic"]
            rows = self._cloud.metrics.store.rows(of, grid.origin, grid.end, alarm.get("Unit"))
            values = on_grid(Periods(rows, grid.origin, grid.step), statistic, grid).values
            if alarm.get("EvaluateLowSampleCountPercentile") == "ignore" and len(rows):
                trusted = float(rows[:, COUNT].sum()) >= samples_needed(statistic)
        return [None if np.isnan(value) else value for value in values.tolist()], trusted

    # ---- states and actions ----

    def _enter(
        self,
        region: str,
        name: str,
        state: str,
        why: str,
        data: str | None,
        now: datetime,
        evaluated: Document | None = None,
    ) -> None:
        """Into a state; ``evaluated`` is the alarm that was found to be in it, None where it is set by hand."""
        with self._lock:
            before = self.find(region, name)
            if before is None:  # deleted meanwhile
                return
            if evaluated is not None and any(before.get(key) != evaluated.get(key) for key in EVALUATED):
                return  # changed meanwhile, or put into a state by hand: the next evaluation is of what it is now
            alarm = {**before, "StateValue": state, "StateReason": why, "StateUpdatedTimestamp": now}
            alarm.pop("StateReasonData", None)
            if data is not None:
                alarm["StateReasonData"] = data
            if state != before["StateValue"]:
                alarm["StateTransitionedTimestamp"] = now
            with self._cloud.store.locked():
                self._table.put(region, name, alarm)
                if state != before["StateValue"]:
                    self.history.entered(region, alarm, before, now)
            self._alarms[region, name] = alarm
        if state != before["StateValue"]:
            self._act(region, alarm, before["StateValue"], alarm.get(ACTIONS[state]) or [], now)

    def _act_again(self, region: str, alarm: Document, step: float, now: datetime) -> None:
        """Scaling policies hear once a period that the state goes on; a topic is told once."""
        again = [arn for arn in alarm.get(ACTIONS[alarm["StateValue"]]) or [] if arn.startswith("arn:aws:autoscaling:")]
        last = self._acted.get((region, alarm["AlarmName"]), 0.0)
        if again and now.timestamp() - last >= step * 0.99:
            self._act(region, alarm, alarm["StateValue"], again, now)

    def _act(self, region: str, alarm: Document, before: str, arns: Sequence[str], now: datetime) -> None:
        if not alarm["ActionsEnabled"]:
            return
        self._acted[region, alarm["AlarmName"]] = now.timestamp()
        for arn in arns:
            failure = self._actions.execute(Action(arn, region, alarm, before))
            if before != alarm["StateValue"] or failure:
                self.history.acted(region, alarm, arn, failure, now)


# What an evaluation rests on: the alarm's configuration, and the state that it was in.
EVALUATED = ("AlarmConfigurationUpdatedTimestamp", "StateUpdatedTimestamp")
STATE_MEMBERS = ("StateValue", "StateReason", "StateReasonData", "StateUpdatedTimestamp", "StateTransitionedTimestamp")
DEFAULTS: dict[str, Any] = {
    "ActionsEnabled": True,
    "OKActions": [],
    "AlarmActions": [],
    "InsufficientDataActions": [],
    "Dimensions": [],
}
MEASURED = {"statistic": "Statistic", "extendedStatistic": "ExtendedStatistic", "unit": "Unit"}


def rule_of(alarm: Document) -> Rule:
    """When an alarm is one."""
    periods: int = alarm["EvaluationPeriods"]
    treatment = alarm.get("TreatMissingData", "missing")
    needed: int = alarm.get("DatapointsToAlarm", periods)
    return Rule(float(alarm["Threshold"]), alarm["ComparisonOperator"], periods, needed, treatment)


def period_of(alarm: Document) -> float:
    """The length of an alarm's period in seconds, as it was given."""
    if "Metrics" not in alarm:
        return float(alarm["Period"])
    periods = [query["MetricStat"]["Period"] for query in alarm["Metrics"] if "MetricStat" in query]
    periods += [query["Period"] for query in alarm["Metrics"] if "Period" in query]
    return float(max(periods, default=60))


def samples_needed(statistic: str) -> float:
    """How many samples a percentile needs to be trusted (``EvaluateLowSampleCountPercentile``)."""
    percentile = parse(statistic)
    share = percentile.high / 100 if percentile is not None and percentile.kind == "p" else 1.0
    tail = 1 - share if share >= 0.5 else share
    return 10 / tail if tail > 0 else 0.0
