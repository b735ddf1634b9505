"""The spot market's plan for a job, what it bills, and the limits of a job's time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.spot import LONGEST_WAIT, SHORTEST_WAIT, SpotMarket, SpotPlan, billable
from helpers.localaws.engines.time_limits import TimeLimits
from helpers.localaws.engines.training_cluster import Ending
from helpers.localaws.engines.transitions import advance, finish

START = datetime(2026, 11, 1, tzinfo=UTC)
NAMES = st.text("abc-123", min_size=1, max_size=10)


# ---- the market ----


@given(st.integers(0, 4), st.lists(st.integers(0, 4), max_size=12), NAMES)
def test_each_attempt_with_a_checkpoint_is_interrupted_once_until_there_were_enough(wanted, attempts, name):
    """``attempts`` are how many checkpoints each attempt saves."""
    plan = SpotPlan(SpotMarket(wanted), name)
    for checkpoints in attempts:
        before = plan.interruptions
        taken = [plan.checkpoint_saved() for _ in range(checkpoints)]
        assert taken == [before < wanted, *([False] * (checkpoints - 1))][:checkpoints]
        if any(taken):
            assert SHORTEST_WAIT <= plan.interrupted() <= LONGEST_WAIT
        assert plan.seconds() is None
    assert plan.interruptions == min(wanted, sum(1 for checkpoints in attempts if checkpoints))


@given(NAMES, st.integers(1, 6))
def test_a_random_market_is_the_same_for_the_same_name(name, interruptions):
    plans = [SpotPlan(SpotMarket.parse("random"), name) for _ in range(2)]
    drawn = [[(plan.seconds(), plan.interrupted()) for _ in range(interruptions)] for plan in plans]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == interruptions
    assert all(seconds > 0 for seconds, _ in drawn[0])
    assert not plans[0].checkpoint_saved()


def test_random_markets_differ_between_jobs():
    assert len({SpotPlan(SpotMarket.parse("random"), f"job-{number}").seconds() for number in range(20)}) == 20


@pytest.mark.parametrize(
    ("text", "market"), [("0", SpotMarket(0)), ("none", SpotMarket(0)), ("3", SpotMarket(3)), ("1", SpotMarket())]
)
def test_settings(text, market, tmp_path):
    assert SpotMarket.parse(text) == market
    (tmp_path / "spot-interruptions").write_text(text)
    assert SpotMarket.of(tmp_path) == market


@pytest.mark.parametrize("text", ["", "-1", "1.5", "always", "²"])
def test_what_is_no_setting(text):
    with pytest.raises(ValueError, match="neither a number"):
        SpotMarket.parse(text)


def test_a_folder_without_a_setting_interrupts_once(tmp_path):
    assert SpotMarket.of(tmp_path) == SpotMarket(1)


# ---- what it bills ----


@given(st.lists(st.tuples(*[st.integers(1, 1000)] * 4), min_size=1, max_size=5), st.booleans())
def test_only_the_time_with_instances_counts_and_spot_pays_a_part_of_it(attempts, spot):
    """Each attempt: seconds of Starting, Downloading, Training, and waiting for the next."""
    job = {"TrainingJobStatus": "InProgress", "EnableManagedSpotTraining": spot, "TrainingStartTime": START}
    now, held = START, 0
    for number, (starting, downloading, training, waiting) in enumerate(attempts):
        if number:
            advance(job, "Interrupted", now)
            now += timedelta(seconds=waiting)
        for status, seconds in (("Starting", starting), ("Downloading", downloading), ("Training", training)):
            advance(job, status, now)
            now += timedelta(seconds=seconds)
        held += downloading + training
    finish(job, "Completed", now)
    assert job["TrainingTimeInSeconds"] == held
    assert job["BillableTimeInSeconds"] == (billable(held) if spot else held)


@given(st.integers(0, 10**6))
def test_spot_bills_the_share_that_the_projects_instances_cost(seconds):
    assert 0 <= billable(seconds) - seconds * 0.174 / 0.408 < 1


def test_a_job_whose_server_was_killed_while_it_waited_pays_nothing_for_that():
    job = {"TrainingJobStatus": "InProgress", "EnableManagedSpotTraining": True, "TrainingStartTime": START}
    for second, status in ((0, "Downloading"), (1, "Training"), (100, "Interrupted")):
        advance(job, status, START + timedelta(seconds=second))
    finish(job, "Failed", START + timedelta(days=1))
    assert (job["TrainingTimeInSeconds"], job["BillableTimeInSeconds"]) == (100, 43)


# ---- limits ----


class ByHand:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=8), st.integers(1, 60), st.integers(0, 60))
def test_running_counts_for_both_limits_and_waiting_for_one(attempts, runtime, more):
    clock, ran = ByHand(), 0
    limits = TimeLimits({"MaxRuntimeInSeconds": runtime, "MaxWaitTimeInSeconds": runtime + more}, clock)
    for running, waiting in attempts:
        with limits.running():
            clock.at += running
        clock.at += waiting
        ran += running
        left = limits.left()
        assert left[Ending.MAX_RUNTIME] == max(0, runtime - ran)
        assert left[Ending.MAX_WAIT] == max(0, runtime + more - (clock.at - 1000))
        assert (limits.up is not None) == (0 in left.values())


def test_a_job_on_demand_has_one_limit():
    limits = TimeLimits({"MaxRuntimeInSeconds": 5}, ByHand())
    assert limits.left() == {Ending.MAX_RUNTIME: 5}
    assert limits.up is None
