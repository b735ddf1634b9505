"""Lambda's concurrency, without a server: what is refused, what is provisioned, and how fast a function scales."""

import contextlib
from collections import Counter
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.functions.concurrency import Concurrency
from helpers.localaws.engines.functions.faults import Throttled
from helpers.localaws.engines.functions.provisioned import INIT_FAILED, Provisioned
from helpers.localaws.engines.functions.routing import choose, route_of, shares
from helpers.localaws.engines.functions.scaling_rate import MOST, ScalingRate
from helpers.localaws.errors import AwsError

# ---- what runs, and what may ----


def test_a_reservation_is_a_limit_and_a_guarantee():
    limits, mine, other = Concurrency(lambda _: 105), ("r", "mine"), ("r", "other")
    limits.reserve(mine, 2)
    assert limits.unreserved("r") == 103
    with pytest.raises(AwsError, match="below its minimum value of"):
        limits.reserve(other, 4)
    with limits.admitted(mine), limits.admitted(mine) as running:
        assert running.function == 2
        with pytest.raises(Throttled) as refused, limits.admitted(mine):
            pass
        assert refused.value.members["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        with limits.admitted(other):
            pass
    limits.reserve(mine, None)
    assert limits.unreserved("r") == 105


def test_more_than_the_machine_serves_is_refused_and_says_so():
    limits = Concurrency(lambda _: 1000)
    with contextlib.ExitStack() as running:
        for number in range(60):
            running.enter_context(limits.admitted(("r", f"function-{number % 7}")))
        with pytest.raises(Throttled, match="at most 60 invocations at once"):
            running.enter_context(limits.admitted(("r", "one more")))


def test_what_is_reserved_is_taken_from_the_others():
    limits = Concurrency(lambda _: 3)
    limits.restore(("r", "mine"), 2)
    with limits.admitted(("r", "other")):
        with pytest.raises(Throttled) as refused, limits.admitted(("r", "third")):
            pass
        assert refused.value.members["Reason"] == "ConcurrentInvocationLimitExceeded"
        with limits.admitted(("elsewhere", "other")), limits.admitted(("r", "mine")):
            pass


def test_what_is_provisioned_is_claimed_from_the_account_or_from_the_reservation():
    limits, mine, other = Concurrency(lambda _: 110), ("r", "mine"), ("r", "other")
    limits.provision(mine, "live", 4)
    assert limits.unreserved("r") == 106
    with pytest.raises(AwsError, match=r"UnreservedConcurrentExecution below its minimum value of \[100\]"):
        limits.provision(other, "live", 7)
    with pytest.raises(AwsError, match=r"greater than account's unreserved concurrency \[106\]"):
        limits.provision(other, "live", 107)
    limits.reserve(mine, 5)
    assert limits.unreserved("r") == 105
    with pytest.raises(AwsError, match="should not be greater than the reservedConcurrentExecution"):
        limits.provision(mine, "2", 2)
    with pytest.raises(AwsError, match=r"total provisioned concurrency \[4\]"):
        limits.reserve(mine, 3)
    with limits.admitted(mine):
        with pytest.raises(Throttled) as refused, limits.admitted(mine):
            pass
        assert refused.value.members["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        with limits.admitted(mine, "live", provisioned=True) as running:
            assert (running.function, running.resource, running.unreserved) == (2, 1, None)


def test_an_account_of_ten_allows_no_reservation_at_all():
    limits = Concurrency(lambda _: 10)
    for ask in (lambda: limits.reserve(("r", "f"), 1), lambda: limits.provision(("r", "f"), "live", 1)):
        with pytest.raises(AwsError, match="below its minimum value of"):
            ask()
    limits.reserve(("r", "f"), 0)


FUNCTIONS = st.sampled_from("abc")  # a has a reservation of 3 with 2 provisioned in it, b has 1 provisioned
STEPS = st.lists(st.tuples(FUNCTIONS, st.booleans(), st.booleans()), max_size=80)


@given(STEPS)
def test_the_counts_are_never_above_the_limits_and_come_back_to_nothing(steps):
    limits, reserved, provisioned = Concurrency(lambda _: 8), {"a": 3}, {"a": 2, "b": 1}
    limits.restore(("r", "a"), 3)
    for name, count in provisioned.items():
        limits.restore_provisioned(("r", name), {"live": count})
    running: list[tuple[str, bool, contextlib.AbstractContextManager]] = []
    for name, begins, wants_provisioned in steps:
        if begins:
            # As the engine does: only what has taken one of the environments is admitted as provisioned.
            taken = sum(one[:2] == (name, True) for one in running)
            kind = wants_provisioned and taken < provisioned.get(name, 0)
            admission = limits.admitted(("r", name), provisioned=kind)
            try:
                admission.__enter__()
            except Throttled:
                assert not kind, "what is provisioned is never refused"
                continue
            running.append((name, kind, admission))
        elif running:
            running.pop(0)[2].__exit__(None, None, None)
        of = Counter(one[0] for one in running)
        assert of["a"] <= reserved["a"]
        assert sum(of.values()) <= 8
        on_demand = Counter(one[0] for one in running if not one[1])
        assert on_demand["b"] + on_demand["c"] <= 8 - 3 - 1
    for *_, admission in running:
        admission.__exit__(None, None, None)
    with limits.admitted(("r", "c")) as last:
        assert (last.region, last.function, last.unreserved) == (1, 1, 1)


# ---- what is provisioned ----


@dataclass(eq=False)
class Environment:
    """Stands in for an environment: fails to initialise where its spec says so."""

    spec: str
    fresh: bool = True
    ageing: bool = False
    idle_since: float = 0.0
    ended: bool = False

    def initialise(self) -> bool:
        return not self.spec.startswith("bad")

    def end(self) -> None:
        assert not self.ended, "ended twice"
        self.ended = True

    def kill(self) -> None:
        pass


class Later(Executor):
    """Does what it is given when it is told to."""

    def __init__(self) -> None:
        self.tasks: list = []

    def submit(self, task, /, *arguments, **_):
        self.tasks.append((task, arguments))
        return Future()

    def run(self, count: int = 1000) -> None:
        while self.tasks and count:
            task, arguments = self.tasks.pop(0)
            task(*arguments)
            count -= 1


@dataclass
class Fleet:
    """A :class:`Provisioned` of stand-ins."""

    workers: Later = field(default_factory=Later)
    made: list[Environment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.provisioned = Provisioned(self.make, self.workers)  # type: ignore[arg-type]

    def make(self, spec: str) -> Environment:
        self.made.append(Environment(spec))
        return self.made[-1]

    def alive(self) -> Counter:
        return Counter(one.spec for one in self.made if not one.ended)


def test_it_is_in_progress_until_all_are_ready():
    fleet = Fleet()
    fleet.provisioned.want({"v1": 3})
    assert fleet.provisioned.standing().status == "IN_PROGRESS"
    fleet.workers.run(2)
    standing = fleet.provisioned.standing()
    assert (standing.status, standing.requested, standing.available) == ("IN_PROGRESS", 3, 2)
    fleet.workers.run()
    assert fleet.provisioned.standing().status == "READY"


def test_a_failing_initialisation_ends_the_attempt_until_it_is_asked_for_again():
    fleet = Fleet()
    fleet.provisioned.want({"bad": 3})
    fleet.workers.run()
    standing = fleet.provisioned.standing()
    assert (standing.status, standing.reason, standing.available) == ("FAILED", INIT_FAILED, 0)
    assert (len(fleet.made), fleet.alive()) == (1, Counter())
    fleet.provisioned.want({"good": 1})
    fleet.workers.run()
    assert fleet.provisioned.standing().status == "READY"


def test_what_ages_is_renewed_and_what_is_stale_is_not_given():
    fleet = Fleet()
    fleet.provisioned.want({"v1": 2})
    fleet.workers.run()
    old = fleet.made[0]
    old.fresh, old.ageing = False, True
    assert fleet.provisioned.take("v1") is fleet.made[1]
    assert fleet.provisioned.take("v1") is None
    fleet.provisioned.renew()
    assert not old.ended, "it goes when another has taken its place"
    fleet.workers.run()
    assert old.ended
    assert fleet.provisioned.take("v1") is fleet.made[2]


ACTS = st.one_of(
    st.tuples(st.just("want"), st.dictionaries(st.sampled_from(["v1", "v2"]), st.integers(0, 4))),
    st.tuples(st.sampled_from(["take", "back", "discard", "run", "renew"]), st.sampled_from(["v1", "v2"])),
)


@given(st.lists(ACTS, max_size=40))
def test_in_the_end_there_are_as_many_as_were_wanted_last(acts):
    fleet, busy, wanted = Fleet(), [], {}
    for act, of in acts:
        if act == "want":
            wanted = of
            fleet.provisioned.want(wanted)
        elif act == "take":
            taken = fleet.provisioned.take(of)
            if taken is not None:
                assert taken.spec == of
                assert taken not in busy
                assert not taken.ended
                busy.append(taken)
        elif act in ("back", "discard") and busy:
            (fleet.provisioned.give_back if act == "back" else fleet.provisioned.discard)(busy.pop(0))
        elif act == "renew":
            for one in fleet.made:
                one.ageing |= one.spec == of
            there = fleet.provisioned.standing().available
            fleet.provisioned.renew()
            assert fleet.provisioned.standing().available == there
        else:
            fleet.workers.run(1)
        assert fleet.provisioned.at_work()[0] == len(busy)
    for one in busy:
        fleet.provisioned.give_back(one)
    fleet.workers.run()
    assert fleet.alive() == Counter(wanted)
    standing = fleet.provisioned.standing()
    assert (standing.status, standing.available) == ("READY", sum(wanted.values()))
    fleet.provisioned.close()
    fleet.workers.run()
    assert fleet.alive() == Counter()


# ---- aliases with weights ----


def test_a_draw_chooses_a_version_and_shares_add_up():
    route = route_of({"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}})
    assert [choose(route, draw) for draw in (0.0, 0.74, 0.75, 0.999)] == ["1", "1", "2", "2"]
    assert shares(route, 10) == {"1": 8, "2": 2}
    assert choose({"1": 0.0, "2": 1.0}, 0.0) == "2"
    assert choose(route_of({"FunctionVersion": "7"}), 0.999999) == "7"


@given(st.floats(0, 1), st.integers(1, 60))
def test_every_environment_goes_somewhere(weight, count):
    divided = shares({"1": 1 - weight, "2": weight}, count)
    assert sum(divided.values()) == count
    assert min(divided.values()) >= 0


# ---- scaling ----


def test_a_thousand_environments_in_ten_seconds_and_no_more():
    clock = Clock()
    rate = ScalingRate(clock)  # type: ignore[arg-type]
    for _ in range(MOST):
        rate.start(("r", "f"))
    with pytest.raises(Throttled):
        rate.start(("r", "f"))
    rate.start(("r", "other"))
    clock.seconds += 4.9
    with pytest.raises(Throttled):
        rate.start(("r", "f"))
    clock.seconds += 0.2
    rate.start(("r", "f"))


class Clock:
    """Twice as fast as AWS's."""

    scale, seconds = 2.0, 100.0

    def monotonic(self) -> float:
        return self.seconds
