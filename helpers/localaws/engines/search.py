"""Which hyperparameters to try next: AWS's four search strategies over its three kinds of ranges, on optuna.

https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-how-it-works.html

Values are texts, as a training job gets them. A search forgets nothing and is not safe to use from many threads.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import optuna

Values = dict[str, str]

WIDE = 100.0  # "Auto" scales a range logarithmically if its upper end is so many times its lower end
STARTUP_TRIALS = 3  # of a Bayesian search, drawn at random: tuning jobs here are short
TRIES = 30  # at a combination that was not suggested yet, before what is left is listed
LISTED = 10_000
REDUCTION = 3  # of each round of successive halving, one third goes on
LONGEST_SEED = 2**32  # what numpy's generators take


@dataclass(frozen=True)
class Numbers:
    """A range of whole or real numbers, ends included; ``scaling`` is Auto, Linear, Logarithmic, ReverseLogarithmic."""

    name: str
    low: float
    high: float
    whole: bool
    scaling: str = "Auto"

    @property
    def count(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.whole else math.inf if self.high > self.low else 1

    @property
    def logarithmic(self) -> bool:
        """Whether equal ratios, rather than equal differences, are equally likely."""
        wide = self.low > 0 and self.high / self.low >= WIDE
        return self.scaling == "Logarithmic" or (self.scaling == "Auto" and wide)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """What optuna samples."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.logarithmic)
        if self.scaling == "ReverseLogarithmic":
            return FloatDistribution(1 - self.high, 1 - self.low, log=True)
        return FloatDistribution(self.low, self.high, log=self.logarithmic)

    def text(self, sampled: float) -> str:
        """A sampled value as the training job gets it."""
        if self.whole:
            return str(int(sampled))
        value = 1 - sampled if self.scaling == "ReverseLogarithmic" else sampled
        return repr(min(max(float(value), self.low), self.high))

    def sampled(self, text: str) -> float:
        """The way back of :meth:`text`; ``ValueError`` for what is no value of this range."""
        value = int(text) if self.whole else float(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{text} is not between {self.low} and {self.high}")
        return 1 - value if self.scaling == "ReverseLogarithmic" else value

    def texts(self) -> Iterable[str]:
        """All values, where they are whole."""
        return map(str, range(int(self.low), int(self.high) + 1)) if self.whole else [repr(self.low)]


@dataclass(frozen=True)
class Choices:
    """A categorical range."""

    name: str
    values: tuple[str, ...]

    @property
    def count(self) -> float:
        """How many values there are."""
        return len(self.values)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """What optuna samples."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def text(self, sampled: str) -> str:
        """A sampled value as the training job gets it."""
        return sampled

    def sampled(self, text: str) -> str:
        """The way back of :meth:`text`; ``ValueError`` for what is no value of this range."""
        if text not in self.values:
            raise ValueError(f"{text!r} is none of {self.values}")
        return text

    def texts(self) -> Iterable[str]:
        """All values."""
        return self.values


Range = Numbers | Choices


class Search(Protocol):
    """Suggests combinations and learns what came of them."""

    def suggest(self) -> tuple[int, Values] | None:
        """The next combination and its number, from 0; None when there is none left."""

    def report(self, number: int, value: float) -> bool:
        """Take a running trial's next value of the objective; whether the strategy itself ends the trial now."""

    def observe(self, number: int, value: float | None) -> None:
        """Take what came of a trial: its final value, or None where it has none."""


@dataclass(frozen=True)
class Resource:
    """Hyperband's least and largest number of epochs of a trial."""

    least: int
    most: int


def combinations(ranges: Iterable[Range]) -> float:
    """How many combinations of values there are; infinite with real numbers among them."""
    return math.prod(one.count for one in ranges)


def make_search(
    strategy: str,
    ranges: Sequence[Range],
    *,
    maximise: bool,
    seed: int | None = None,
    known: Iterable[tuple[Mapping[str, str], float]] = (),
    resource: Resource | None = None,
) -> Search:
    """The search of a tuning job's strategy.

    ``known`` are combinations of earlier tuning jobs with their values (warm start): those outside the ranges are left
    out. ``resource`` is Hyperband's. The same seed and the same observations give the same suggestions.
    """
    if strategy == "Grid":
        return GridSearch(ranges)
    search = SampledSearch(strategy, ranges, maximise=maximise, seed=seed, resource=resource)
    for values, value in known:
        search.learn(values, value)
    return search


class GridSearch:
    """Every combination once, in the order in which the ranges' values are given."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        products = itertools.product(*(one.texts() for one in ranges))
        self._names = [one.name for one in ranges]
        self._left = enumerate(products)

    def suggest(self) -> tuple[int, Values] | None:
        """The next combination."""
        number, values = next(self._left, (0, None))
        return None if values is None else (number, dict(zip(self._names, values, strict=True)))

    def report(self, number: int, value: float) -> bool:  # noqa: ARG002
        """A grid ends no trial."""
        return False

    def observe(self, number: int, value: float | None) -> None:
        """A grid learns nothing."""


class SampledSearch:
    """Random, Bayesian (a tree-structured Parzen estimator) and Hyperband search, which repeat no combination."""

    def __init__(
        self,
        strategy: str,
        ranges: Sequence[Range],
        *,
        maximise: bool,
        seed: int | None = None,
        resource: Resource | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._ranges, self._most = ranges, resource.most if resource else math.inf
        self._distributions = {one.name: one.distribution() for one in ranges}
        seed = seed if seed is None else seed % LONGEST_SEED
        self._random = random.Random(seed)
        self._trials: dict[int, optuna.trial.Trial] = {}
        self._steps: dict[int, int] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._study = optuna.create_study(
            study_name="tuning",  # Hyperband's brackets are drawn from the name
            direction="maximize" if maximise else "minimize",
            sampler=_sampler(strategy, seed),
            pruner=optuna.pruners.HyperbandPruner(resource.least, resource.most, REDUCTION)
            if resource
            else optuna.pruners.NopPruner(),
        )

    def learn(self, values: Mapping[str, str], value: float) -> None:
        """Take a trial of an earlier tuning job, if its combination lies in the ranges."""
        from optuna.trial import create_trial

        try:
            params = {one.name: one.sampled(values[one.name]) for one in self._ranges}
        except (KeyError, ValueError):
            return
        self._study.add_trial(create_trial(params=params, distributions=self._distributions, value=value))

    def suggest(self) -> tuple[int, Values] | None:
        """The next combination; None when all were suggested."""
        from optuna.trial import TrialState

        if len(self._seen) >= combinations(self._ranges):
            return None
        for _ in range(TRIES):
            trial = self._study.ask(self._distributions)
            values = {one.name: one.text(trial.params[one.name]) for one in self._ranges}
            if self._is_new(values):
                return self._keep(trial, values)
            self._study.tell(trial, state=TrialState.FAIL)
        return self._one_of_the_rest()

    def report(self, number: int, value: float) -> bool:
        """Take a running trial's next value of the objective, one for each epoch."""
        trial = self._trials[number]
        self._steps[number] = step = self._steps.get(number, 0) + 1
        trial.report(value, step)
        return step >= self._most or trial.should_prune()

    def observe(self, number: int, value: float | None) -> None:
        """Take what came of a trial."""
        from optuna.trial import TrialState

        trial = self._trials.pop(number)
        if value is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)

    def _one_of_the_rest(self) -> tuple[int, Values] | None:
        """Where the sampler comes back to what it knows, one of the combinations that it does not know."""
        lists = [itertools.islice(one.texts(), LISTED) for one in self._ranges]
        products = itertools.islice(itertools.product(*lists), LISTED)
        names = [one.name for one in self._ranges]
        left = [values for values in products if values not in self._seen]
        if not left:
            return None
        values = dict(zip(names, self._random.choice(left), strict=True))
        self._study.enqueue_trial({one.name: one.sampled(values[one.name]) for one in self._ranges})
        return self._keep(self._study.ask(self._distributions), values)

    def _is_new(self, values: Values) -> bool:
        return tuple(values.values()) not in self._seen

    def _keep(self, trial: optuna.trial.Trial, values: Values) -> tuple[int, Values]:
        self._seen.add(tuple(values.values()))
        self._trials[trial.number] = trial
        return trial.number, values


def _sampler(strategy: str, seed: int | None) -> Any:
    from optuna.samplers import RandomSampler, TPESampler

    if strategy == "Bayesian":
        return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True)
    return RandomSampler(seed=seed)
