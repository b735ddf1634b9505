"""The search strategies: what they suggest lies in the ranges, in AWS's form, and the same seed suggests the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.localaws.engines.search import Choices, Numbers, Range, Resource, Values, combinations, make_search

NAMES = st.lists(st.text("abcdef-_", min_size=1, max_size=6), min_size=1, max_size=3, unique=True)


@st.composite
def numbers(draw: st.DrawFn, name: str) -> Numbers:
    """Any valid range of numbers."""
    scaling = draw(st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]))
    if scaling == "ReverseLogarithmic":
        low, high = sorted(draw(st.tuples(*2 * [st.floats(0, 0.999)])))
        return Numbers(name, low, high, False, scaling)
    if draw(st.booleans()):
        least = 1 if scaling == "Logarithmic" else -1000
        low, high = sorted(draw(st.tuples(*2 * [st.integers(least, 10_000)])))
        return Numbers(name, low, high, True, scaling)
    least_real = 1e-9 if scaling == "Logarithmic" else -1e6
    low, high = sorted(draw(st.tuples(*2 * [st.floats(least_real, 1e6)])))
    return Numbers(name, low, high, False, scaling)


@st.composite
def spaces(draw: st.DrawFn) -> list[Range]:
    """One to three ranges of any kind."""
    choices = st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True).map(tuple)
    names = draw(NAMES)
    return [draw(numbers(name)) if draw(st.booleans()) else Choices(name, draw(choices)) for name in names]


def check(value: str, one: Range) -> None:
    """A value is a text of its range's kind, inside it."""
    if isinstance(one, Choices):
        assert value in one.values
    else:
        assert one.low <= (int(value) if one.whole else float(value)) <= one.high


def suggestions(strategy: str, ranges: list[Range], count: int, seed: int = 1) -> list[Values]:
    """The first suggestions, each observed before the next; the objective is the length of the values."""
    search = make_search(strategy, ranges, maximise=True, seed=seed, resource=Resource(1, 9))
    found = []
    while len(found) < count and (suggestion := search.suggest()):
        search.observe(suggestion[0], float(sum(map(len, suggestion[1].values()))))
        found.append(suggestion[1])
    return found


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["Random", "Bayesian", "Hyperband"]), spaces(), st.integers(0, 2**40))
def test_suggestions_lie_in_the_ranges_and_are_repeated_by_the_same_seed_only(strategy, ranges, seed):
    found = suggestions(strategy, ranges, 6, seed)
    assert len(found) == min(6, combinations(ranges))
    for values in found:
        assert list(values) == [one.name for one in ranges]
        for one in ranges:
            check(values[one.name], one)
    assert found == suggestions(strategy, ranges, 6, seed)
    assert len({tuple(values.values()) for values in found}) == len(found), "no combination comes twice"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=4, unique=True), min_size=1, max_size=3))
def test_a_grid_is_exhausted_exactly_once(lists):
    ranges: list[Range] = [Choices(str(number), tuple(values)) for number, values in enumerate(lists)]
    found = suggestions("Grid", ranges, 1000)
    assert len(found) == len({tuple(one.values()) for one in found}) == math.prod(map(len, lists))


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_finite_space_is_exhausted_exactly_once(strategy):
    ranges: list[Range] = [Choices("a", ("1", "2", "3")), Numbers("b", 1, 4, True)]
    found = suggestions(strategy, ranges, 100)
    assert len(found) == len({tuple(one.values()) for one in found}) == 12


def test_other_seeds_suggest_otherwise():
    ranges: list[Range] = [Numbers("lr", 0, 1, False)]
    assert suggestions("Random", ranges, 3, seed=1) != suggestions("Random", ranges, 3, seed=2)


@pytest.mark.parametrize("maximise", [True, False])
def test_a_bayesian_search_comes_closer_than_its_random_start(maximise):
    """It learns: half of its later suggestions are near the best, where half of random ones are nearer than 0.3."""
    ranges: list[Range] = [Numbers("x", 0, 1, False, "Linear")]
    search = make_search("Bayesian", ranges, maximise=maximise, seed=5)
    distances = []
    for _ in range(40):
        suggestion = search.suggest()
        assert suggestion
        distances.append(abs(float(suggestion[1]["x"]) - 0.8))
        search.observe(suggestion[0], -distances[-1] if maximise else distances[-1])
    assert sorted(distances[20:])[10] < 0.2


def test_scales():
    spread = [
        float(values["x"]) for values in suggestions("Random", [Numbers("x", 1e-6, 1, False, "Logarithmic")], 200)
    ]
    assert 60 < sum(value < 1e-3 for value in spread) < 140, "half of a logarithmic range lies below its middle"
    wide = [float(values["x"]) for values in suggestions("Random", [Numbers("x", 1e-6, 1, False)], 200)]
    assert wide == spread, "Auto takes a wide range for logarithmic"
    near_one = [Numbers("x", 0, 0.999, False, "ReverseLogarithmic")]
    assert 60 < sum(float(values["x"]) > 0.968 for values in suggestions("Random", near_one, 200)) < 140
    linear = [float(values["x"]) for values in suggestions("Random", [Numbers("x", 1e-6, 1, False, "Linear")], 200)]
    assert 60 < sum(value < 0.5 for value in linear) < 140


@pytest.mark.parametrize("good", ["a", "b"])
def test_what_earlier_jobs_have_shown_is_used_where_it_fits(good):
    ranges: list[Range] = [Numbers("x", 0, 1, False, "Linear"), Choices("kind", ("a", "b"))]
    known = [({"x": repr(i / 20), "kind": kind}, float(kind == good)) for i in range(12) for kind in "ab"]
    useless = [({"x": "7", "kind": "a"}, 9.0), ({"x": "0.5"}, 9.0), ({"x": "much", "kind": "a"}, 9.0)]
    search = make_search("Bayesian", ranges, maximise=True, seed=1, known=known + useless)
    found = [suggestion[1]["kind"] for _ in range(8) if (suggestion := search.suggest())]
    assert found.count(good) >= 6


def test_hyperband_ends_bad_trials_and_those_that_have_had_their_epochs():
    search = make_search(
        "Hyperband", [Numbers("x", 0, 1, False)], maximise=True, seed=1, resource=Resource(least=1, most=9)
    )
    epochs = []
    for number in range(12):
        suggestion = search.suggest()
        assert suggestion
        quality = 1.0 if number == 0 else 0.1 / number  # the first is the best, and each later one worse
        epochs.append(next(epoch for epoch in range(1, 100) if search.report(suggestion[0], quality)))
        search.observe(suggestion[0], quality)
    assert epochs[0] == 9, "the best trial runs until it has had its epochs"
    assert min(epochs[1:]) < 9, "a bad one ends before"
    assert max(epochs) == 9


def test_the_other_strategies_end_no_trial():
    for strategy in ("Random", "Bayesian", "Grid"):
        search = make_search(strategy, [Choices("x", ("1", "2"))], maximise=True)
        suggestion = search.suggest()
        assert suggestion
        assert not any(search.report(suggestion[0], -float(epoch)) for epoch in range(50))
