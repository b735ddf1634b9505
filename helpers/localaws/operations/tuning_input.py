"""What CreateHyperParameterTuningJob refuses before a tuning job exists, and what its trials are created with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..engines import trials
from ..engines.search import Choices, Numbers, Range, Resource, Values, combinations
from ..errors import NotImplementedHere, refuse
from ..gateway import Params, Request
from ..store import Document
from . import training_input
from .not_done import refuse_not_done

# https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
MOST_PARALLEL = 10
MOST_TRIALS = 750
MOST_RANGES = 30
MOST_HYPERPARAMETERS = 100
OBJECTIVE = "_tuning_objective_metric"  # the hyperparameter that AWS adds to every trial
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")  # where Hyperband looks for MaxResource
# Of a TrainingJobDefinition, what CreateTrainingJob takes as it is.
PASSED_ON = (
    "AlgorithmSpecification RoleArn InputDataConfig VpcConfig OutputDataConfig ResourceConfig StoppingCondition "
    "EnableNetworkIsolation EnableInterContainerTrafficEncryption EnableManagedSpotTraining RetryStrategy Environment"
).split()

NOT_DONE: dict[str, str] = {
    "TrainingJobDefinitions": "Give one TrainingJobDefinition, and tune several algorithms in several tuning jobs.",
    "Autotune": "Give the ranges yourself.",
    "HyperParameterTuningJobConfig.ParameterRanges.AutoParameters": "Give their ranges.",
    "TrainingJobDefinition.TuningObjective": "It belongs to TrainingJobDefinitions: HyperParameterTuningJobConfig has "
    "the objective.",
    "TrainingJobDefinition.HyperParameterRanges": "They belong to TrainingJobDefinitions: "
    "HyperParameterTuningJobConfig has the ranges.",
    "TrainingJobDefinition.HyperParameterTuningResourceConfig": "Give a ResourceConfig.",
}


def check(request: Request, params: Params, parents: Sequence[Document]) -> None:
    """Raise what AWS raises, or :class:`NotImplementedHere`, for the first thing that is wrong."""
    refuse_not_done(params, NOT_DONE, "CreateHyperParameterTuningJob")
    config, definition = params["HyperParameterTuningJobConfig"], params.get("TrainingJobDefinition")
    convergence = config.get("TuningJobCompletionCriteria", {}).get("ConvergenceDetected", {})
    if convergence.get("CompleteOnConvergence") == "Enabled":
        raise NotImplementedHere("CompleteOnConvergence", "AWS does not tell how it detects it.")
    if not definition:
        refuse("ValidationException", "Provide a TrainingJobDefinition or TrainingJobDefinitions.")
    if not config.get("HyperParameterTuningJobObjective"):
        refuse("ValidationException", "Provide a HyperParameterTuningJobObjective in HyperParameterTuningJobConfig.")
    ranges = ranges_of(config.get("ParameterRanges", {}))
    _check_names(ranges, definition.get("StaticHyperParameters", {}))
    _check_objective(config, definition)
    _check_strategy(params, ranges)
    _check_limits(config, ranges)
    _check_parents(params, parents)
    parallel = min(config["ResourceLimits"]["MaxParallelTrainingJobs"], most_trials(config, ranges))
    training_input.check(request, trial_request(params, "trial", {}, []), parallel)


# ---- ranges ----


def ranges_of(given: Params) -> list[Range]:
    """The ranges of ParameterRanges; raises ``ValidationException`` for what is no range."""
    return [
        *(_numbers(one, whole=True) for one in given.get("IntegerParameterRanges", [])),
        *(_numbers(one, whole=False) for one in given.get("ContinuousParameterRanges", [])),
        *(_choices(one) for one in given.get("CategoricalParameterRanges", [])),
    ]


def _numbers(given: Mapping[str, str], *, whole: bool) -> Numbers:
    name, kind = given["Name"], "integer" if whole else "continuous"
    low, high = (_number(given[end], name, end, whole=whole) for end in ("MinValue", "MaxValue"))
    scaling = given.get("ScalingType", "Auto")
    if low > high:
        refuse(
            "ValidationException",
            f"The MinValue [{given['MinValue']}] of the {kind} hyperparameter range [{name}] must be less than or "
            f"equal to its MaxValue [{given['MaxValue']}].",
        )
    if scaling == "Logarithmic" and low <= 0:
        refuse(
            "ValidationException",
            f"Logarithmic scaling requires a range of values greater than 0, which [{name}] is not.",
        )
    if scaling == "ReverseLogarithmic" and (whole or low < 0 or high >= 1):
        refuse(
            "ValidationException",
            f"ReverseLogarithmic scaling requires a continuous range within 0 <= x < 1.0, which [{name}] is not.",
        )
    return Numbers(name, low, high, whole, scaling)


def _number(text: str, name: str, end: str, *, whole: bool) -> float:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        kind = "an integer" if whole else "a number"
        refuse("ValidationException", f"The {end} [{text}] of the hyperparameter range [{name}] must be {kind}.")
    return value


def _choices(given: Params) -> Choices:
    values = tuple(given["Values"])
    if len(set(values)) < len(values):
        refuse("ValidationException", f"The values of the categorical hyperparameter [{given['Name']}] must be unique.")
    return Choices(given["Name"], values)


def _check_names(ranges: Sequence[Range], static: Mapping[str, str]) -> None:
    names = [one.name for one in ranges]
    if not names:
        refuse("ValidationException", "Provide at least one hyperparameter range in ParameterRanges.")
    if len(names) > MOST_RANGES:
        refuse(
            "ValidationException", f"A tuning job can search at most {MOST_RANGES} hyperparameters, not {len(names)}."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        refuse("ValidationException", f"The hyperparameter {twice} has more than one range. Provide one for each.")
    both = sorted(set(names) & set(static))
    if both:
        refuse(
            "ValidationException",
            f"The hyperparameters {both} are both static and tunable. Provide each of them in StaticHyperParameters or "
            "in ParameterRanges.",
        )
    if len(names) + len(static) > MOST_HYPERPARAMETERS:
        refuse("ValidationException", f"A training job can have at most {MOST_HYPERPARAMETERS} hyperparameters.")


# ---- the search ----


def _check_objective(config: Params, definition: Params) -> None:
    metric = config["HyperParameterTuningJobObjective"]["MetricName"]
    defined = [one["Name"] for one in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]
    if not defined:
        refuse(
            "ValidationException",
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
            "definitions.",
        )
    if metric not in defined:
        refuse(
            "ValidationException",
            f"The objective metric [{metric}] is not in the metric definitions {defined}. Provide a metric definition "
            "for the objective metric.",
        )


def _check_strategy(params: Params, ranges: Sequence[Range]) -> None:
    config = params["HyperParameterTuningJobConfig"]
    strategy = config["Strategy"]
    if strategy == "Grid" and not all(isinstance(one, Choices) for one in ranges):
        refuse("ValidationException", "The Grid strategy supports only categorical hyperparameter ranges.")
    if strategy != "Hyperband":
        if config.get("StrategyConfig", {}).get("HyperbandStrategyConfig"):
            refuse("ValidationException", "HyperbandStrategyConfig requires the Hyperband strategy.")
        return
    if config.get("TrainingJobEarlyStoppingType") == "Auto":
        refuse("ValidationException", "TrainingJobEarlyStoppingType must be Off for the Hyperband strategy.")
    resource = resource_of(params)
    if resource is None:
        refuse(
            "ValidationException",
            "MaxResource is required for the Hyperband strategy: provide it in HyperbandStrategyConfig, or one of "
            f"{', '.join(EPOCHS)} in StaticHyperParameters.",
        )
    if resource.least > resource.most:
        refuse("ValidationException", "MinResource must be less than or equal to MaxResource.")


def resource_of(params: Params) -> Resource | None:
    """Hyperband's epochs, as given or as inferred from the static hyperparameters; None for other strategies."""
    config = params["HyperParameterTuningJobConfig"]
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    static = params["TrainingJobDefinition"].get("StaticHyperParameters", {})
    named = (static[name] for name in EPOCHS if static.get(name, "").isdecimal())
    most = given.get("MaxResource") or int(next(named, 0))
    if config["Strategy"] != "Hyperband" or not most:
        return None
    return Resource(given.get("MinResource", 1), most)


def grid_size(ranges: Params) -> int:
    """How many trials a grid has."""
    return int(combinations(ranges_of(ranges)))


def most_trials(config: Params, ranges: Sequence[Range]) -> int:
    """How many trials a tuning job has at most."""
    return int(config["ResourceLimits"].get("MaxNumberOfTrainingJobs") or combinations(ranges))


def _check_limits(config: Params, ranges: Sequence[Range]) -> None:
    limits, count, grid = config["ResourceLimits"], combinations(ranges), config["Strategy"] == "Grid"
    parallel, most = limits["MaxParallelTrainingJobs"], limits.get("MaxNumberOfTrainingJobs")
    if grid and most not in (None, count):
        refuse(
            "ValidationException",
            f"For the Grid strategy, MaxNumberOfTrainingJobs [{most}] must equal the number of combinations of the "
            f"categorical values [{count:.0f}], or be left out.",
        )
    most = int(count) if grid else most
    if most is None:
        refuse("ValidationException", f"MaxNumberOfTrainingJobs is required for the {config['Strategy']} strategy.")
    if count < most:
        refuse(
            "ValidationException",
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{count}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{most}]. Provide additional ranges.",
        )
    _check_limit("number of parallel training jobs per hyperparameter tuning job", parallel, MOST_PARALLEL)
    _check_limit("number of training jobs per hyperparameter tuning job", most, MOST_TRIALS)


def _check_limit(what: str, asked: int, limit: int) -> None:
    if asked > limit:
        refuse(
            "ResourceLimitExceeded",
            f"The account-level service limit 'Maximum {what}' is {limit} Training Jobs, with current utilization of 0 "
            f"Training Jobs and a request delta of {asked} Training Jobs. Please use AWS Service Quotas to request an "
            "increase for this quota.",
        )


# ---- warm start ----


def _check_parents(params: Params, parents: Sequence[Document]) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-warm-start.html"""
    config = params["HyperParameterTuningJobConfig"]
    if parents and config["Strategy"] not in ("Bayesian", "Random"):
        refuse("ValidationException", f"The {config['Strategy']} strategy does not support warm start.")
    for parent in parents:
        name, status = parent["HyperParameterTuningJobName"], parent["HyperParameterTuningJobStatus"]
        if status in trials.RUNNING:
            refuse("ValidationException", f"The parent tuning job {name} is in status {status}; it must have ended.")
        theirs = parent["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
        if theirs != config["HyperParameterTuningJobObjective"]:
            refuse("ValidationException", f"The parent tuning job {name} has another objective metric.")
        if _count(parent) != _count(params):
            refuse(
                "ValidationException",
                "The total number of static plus tunable hyperparameters must remain the same as in the parent tuning "
                f"job {name}.",
            )
        identical = params["WarmStartConfig"]["WarmStartType"] == "IdenticalDataAndAlgorithm"
        if identical and _image(parent) != _image(params):
            refuse("ValidationException", f"The parent tuning job {name} has another training image.")


def _count(job: Document) -> int:
    return len(trials.tuned(job)) + len(job["TrainingJobDefinition"].get("StaticHyperParameters", {}))


def _image(job: Document) -> Any:
    return job["TrainingJobDefinition"]["AlgorithmSpecification"].get("TrainingImage")


# ---- trials ----


def trial_request(job: Document, name: str, values: Values, tags: list[dict[str, str]]) -> Params:
    """CreateTrainingJob's input for one trial."""
    definition = job["TrainingJobDefinition"]
    metric, _ = trials.objective(job)
    request = {member: definition[member] for member in PASSED_ON if member in definition}
    checkpoints = definition.get("CheckpointConfig")
    if checkpoints:
        # One trial must not go on from another's checkpoints.
        request["CheckpointConfig"] = {**checkpoints, "S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
    static = definition.get("StaticHyperParameters", {})
    return {
        **request,
        "TrainingJobName": name,
        "HyperParameters": {**static, **values, OBJECTIVE: metric},
        **({"Tags": tags} if tags else {}),
    }
