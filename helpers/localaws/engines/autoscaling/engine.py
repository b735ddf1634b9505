"""The engine of Application Auto Scaling: every ten seconds of AWS's time it looks at every scalable target.

What it knows is in the store, so the next server goes on where this one stopped: targets (with their cooldown and the
activity in progress), policies, scheduled actions and activities, in the tables named below.
"""

from __future__ import annotations

import logging
import math
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ...errors import AwsError
from . import schedule
from .activities import Activities, cause_of_alarm, cause_of_bound
from .law import AT_MAXIMUM, AT_MINIMUM, Bounds, Cooldown, Decision, decide
from .measures import Meter
from .policies import Policies, alarm_name
from .resources import scalable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...cloud import Cloud
    from ...store import Document, Store
    from ..clock import Clock
    from ..cloudwatch.actions import Action
    from .resources import Resource, Standing

log = logging.getLogger(__name__)

TARGETS, POLICIES, ACTIONS, ACTIVITIES = "scalable-target", "scaling-policy", "scheduled-action", "scaling-activity"
TICK_SECONDS = 10.0
# After a capacity could not be set, an alarm that still asks for it is heard again so much later.
RETRY_SECONDS = 60.0
KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")


def key_of(members: Mapping[str, Any]) -> str:
    """The name of a target in its table, from anything that has the three members which identify it."""
    return "|".join(members[member] for member in KEY)


class AutoScaling:
    """All scalable targets of the account."""

    def __init__(self, store: Store, clock: Clock, policies: Policies, resources: Mapping[str, Resource]) -> None:
        self.resources, self.activities = resources, Activities(store.table(ACTIVITIES))
        self._clock, self._policies = clock, policies
        self._targets, self._table_of_policies = store.table(TARGETS), store.table(POLICIES)
        self._actions = store.table(ACTIONS)
        # One thing at a time: a tick, or a call of the API that changes what it reads.
        self.lock = threading.RLock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="application autoscaling", daemon=True)

    @classmethod
    def of(cls, cloud: Cloud) -> AutoScaling:
        """The engine of a cloud."""
        policies = Policies(Meter(cloud.metrics, cloud.clock), cloud.alarms)
        engine = cls(cloud.store, cloud.clock, policies, scalable(cloud))
        cloud.alarms.on_action(engine.takes)
        return engine

    def start(self) -> None:
        """Begin to scale."""
        self._thread.start()

    def close(self) -> None:
        """Stop scaling; what was begun is followed up by the next server."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def takes(self, action: Action) -> bool:
        """Whether an alarm's action is a policy of ours; what follows from it is seen at the next look."""
        return any(one["PolicyARN"] == action.arn for one in self._table_of_policies.list(action.region))

    def tick(self) -> None:
        """Look at every target once, and do what is to be done."""
        for region, name, _ in list(self._targets.everywhere()):
            with self.lock:
                target = self._targets.find(region, name)
                if target is not None:
                    self._look_at(region, name, target)

    def forget(self, region: str, name: str) -> None:
        """Remove a target with its policies and scheduled actions."""
        with self.lock:
            target = self._targets.find(region, name) or {}
            if "Activity" in target:
                activity, now = target["Activity"], self._clock.now()
                failure = "The scalable target was deregistered."
                what = self._what(target)
                self.activities.end(region, activity["Name"], now, what, activity["Capacity"], failure)
            self._targets.delete(region, name)
            for table, member in ((self._table_of_policies, "PolicyName"), (self._actions, "ScheduledActionName")):
                for one in table.list(region):
                    if key_of(one) == name:
                        if member == "PolicyName":
                            self._policies.drop_alarms(region, one)
                        table.delete(region, f"{name}|{one[member]}")

    # ---- one target ----

    def _run(self) -> None:
        while not self._stop.wait(self._clock.period(TICK_SECONDS)):
            try:
                self.tick()
            except Exception:
                log.exception("a look at the scalable targets failed")

    def _look_at(self, region: str, name: str, target: Document) -> None:
        resource = self.resources[target["ScalableDimension"]]
        standing = resource.standing(region, target["ResourceId"])
        if standing is None:  # it is going away, or is not there yet
            return
        if "Activity" in target and not self._follow_up(region, name, target, standing):
            return
        self._run_scheduled_actions(region, name, target)
        if self._seconds() < target.get("RetryAfter", -math.inf):
            return
        if not self._keep_within_bounds(region, name, target, standing):
            self._obey_policies(region, name, target, standing)

    def _follow_up(self, region: str, name: str, target: Document, standing: Standing) -> bool:
        """Whether the activity in progress has ended; if so, it is recorded how."""
        activity = target["Activity"]
        if standing.busy:
            return False
        failure = "" if standing.capacity == activity["Capacity"] else standing.failure or "The capacity was changed."
        self.activities.end(
            region, activity["Name"], self._clock.now(), self._what(target), activity["Capacity"], failure
        )
        del target["Activity"]
        if failure:
            target["RetryAfter"] = self._seconds() + RETRY_SECONDS
        elif activity["Cooldown"] is not None:
            cooldown = _cooldown_of(target)
            after = cooldown.after(self._seconds(), activity["Before"], activity["Capacity"], activity["Cooldown"])
            target["Cooldown"] = vars(after)
        self._targets.put(region, name, target)
        return True

    def _keep_within_bounds(self, region: str, name: str, target: Document, standing: Standing) -> bool:
        bounds = _bounds_of(target)
        wanted = bounds.clamp(standing.capacity)
        if wanted == standing.capacity:
            return False
        if not standing.busy:
            cause = cause_of_bound("minimum" if wanted > standing.capacity else "maximum", wanted)
            self._set(region, name, target, standing.capacity, wanted, cause, None)
        return True

    def _obey_policies(self, region: str, name: str, target: Document, standing: Standing) -> None:
        policies = [one for one in self._table_of_policies.list(region) if key_of(one) == name]
        now, cooldown = self._seconds(), _cooldown_of(target)
        dimensions = self.resources[target["ScalableDimension"]].dimensions(target["ResourceId"])
        base = cooldown.base_at(now, standing.capacity)
        opinions = self._policies.opinions(region, policies, dimensions, standing.capacity, base)
        suspended = target.get("SuspendedState", {})
        decision = decide(
            now,
            standing.capacity,
            _bounds_of(target),
            opinions,
            cooldown,
            suspended.get("DynamicScalingOutSuspended", False),
            suspended.get("DynamicScalingInSuspended", False),
        )
        cause = self._cause(policies, decision)
        self._note_not_scaled(region, name, target, standing, decision, cause)
        if decision.capacity is not None and decision.opinion is not None:
            opinion = decision.opinion
            seconds = opinion.out_cooldown if decision.capacity > standing.capacity else opinion.in_cooldown
            self._set(region, name, target, standing.capacity, decision.capacity, cause, seconds)

    def _set(
        self, region: str, name: str, target: Document, before: int, capacity: int, cause: str, cooldown: float | None
    ) -> None:
        """Begin to set a capacity, and remember what is to follow; a failure waits for a while."""
        now, what = self._clock.now(), self._what(target)
        activity = self.activities.begin(region, target, now, what, capacity, cause)
        # Remembered first: whatever ends the server from here on, the next one follows the activity up.
        target["Activity"] = {"Name": activity, "Before": before, "Capacity": capacity, "Cooldown": cooldown}
        self._targets.put(region, name, target)
        try:
            self.resources[target["ScalableDimension"]].set(region, target["ResourceId"], capacity)
        except AwsError as error:
            self.activities.end(region, activity, self._clock.now(), what, capacity, error.message)
            del target["Activity"]
            target["RetryAfter"] = self._seconds() + RETRY_SECONDS
            self._targets.put(region, name, target)

    def _note_not_scaled(
        self, region: str, name: str, target: Document, standing: Standing, decision: Decision, cause: str
    ) -> None:
        """Record it once, and not again with every look as long as nothing changes."""
        noted = [cause, decision.reason] if decision.reason else None
        if noted == target.get("NotScaled"):
            return
        target["NotScaled"] = noted
        self._targets.put(region, name, target)
        if decision.reason:
            reason: dict[str, Any] = {"Code": decision.reason, "CurrentCapacity": standing.capacity}
            if decision.reason == AT_MAXIMUM:
                reason["MaxCapacity"] = target["MaxCapacity"]
            if decision.reason == AT_MINIMUM:
                reason["MinCapacity"] = target["MinCapacity"]
            self.activities.not_scaled(region, target, self._clock.now(), cause, [reason])

    # ---- scheduled actions ----

    def _run_scheduled_actions(self, region: str, name: str, target: Document) -> None:
        for action in self._actions.list(region):
            if key_of(action) != name or self._clock.now() < action["Due"]:
                continue
            suspended = target.get("SuspendedState", {}).get("ScheduledScalingSuspended", False)
            if not suspended:
                target.update(action.get("ScalableTargetAction", {}))
                self._targets.put(region, name, target)
            action["Due"] = next_due(action, self._clock)
            row = f"{name}|{action['ScheduledActionName']}"
            if action["Due"] is None:
                self._actions.delete(region, row)
            else:
                self._actions.put(region, row, action)

    # ---- words and numbers ----

    def _cause(self, policies: list[Document], decision: Decision) -> str:
        opinion = decision.opinion
        if opinion is None:
            return ""
        policy = next(one for one in policies if one["PolicyName"] == opinion.policy)
        return cause_of_alarm(alarm_name(policy, opinion.alarm), opinion.policy)

    def _what(self, target: Document) -> str:
        return self.resources[target["ScalableDimension"]].capacity_name

    def _seconds(self) -> float:
        """The present moment in the law's seconds, which are AWS's."""
        return self._clock.now().timestamp() * self._clock.scale


def next_due(action: Document, clock: Clock) -> datetime | None:
    """When a scheduled action is due next, or None when it is not any more. Raises :class:`schedule.BadSchedule`.

    ``at`` and ``cron`` name true times; what lies between two times of a ``rate`` is waiting, which the clock scales.
    """
    plan = schedule.parse(action["Schedule"], ZoneInfo(action.get("Timezone", "UTC")))
    if isinstance(plan, schedule.Rate):
        plan = schedule.Rate(plan.seconds / clock.scale)
    start: datetime = action.get("StartTime") or action["CreationTime"]
    due = plan.next(max(clock.now(), start), start)
    end = action.get("EndTime")
    return None if due is None or (end is not None and due > end) else due


def _bounds_of(target: Document) -> Bounds:
    return Bounds(target["MinCapacity"], target["MaxCapacity"])


def _cooldown_of(target: Document) -> Cooldown:
    return Cooldown(**target["Cooldown"]) if "Cooldown" in target else Cooldown()


__all__ = ["ACTIONS", "POLICIES", "TARGETS", "AutoScaling", "key_of", "next_due"]
