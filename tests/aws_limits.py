"""AWS's documented limits, from ``aws_limits.yaml``, applied to recorded requests."""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

Entry = dict[str, Any]
Params = dict[str, Any]
FILE = Path(__file__).with_suffix(".yaml")
PRICES = json.loads((FILE.parents[1] / "helpers" / "prices.json").read_text())
IMAGE_LISTS = ("pytorch-amzn2023.json", "ray-serve.json")
GPU = re.compile(r"ml\.(g|p)\d")


@dataclass(frozen=True)
class Rule:
    """One entry of the file."""

    id: str
    of: dict[str, Any]
    limits: dict[str, Any]
    says: str
    source: str
    url: str
    read: str
    bad: Params
    at: str = ""
    operation: str = ""
    region: str = "us-east-1"
    modelled: bool = False

    def concerns(self, entry: Entry) -> bool:
        """Whether the rule is about this request's operation."""
        operations = self.of.get(entry["service"], ())
        return operations == "*" or entry["operation"] in operations

    def broken_by(self, entry: Entry) -> list[str]:
        """How a request breaks the rule; nothing where it keeps it."""
        if not self.concerns(entry):
            return []
        params = entry["parameters"] or {}
        if "check" in self.limits and not self.at:
            told = CHECKS[self.limits["check"]](params, entry)
            return [f"{self.id}: {told}"] if told else []
        found = (self._broken(value, entry) for value in at(params, self.at))
        return [f"{self.id}: {told} ({self.says})" for told in found if told]

    def example(self) -> Entry:
        """A request that breaks the rule."""
        service, operations = next(iter(self.of.items()))
        operation = self.operation or operations[0]
        return {"service": service, "operation": operation, "parameters": self.bad, "region": self.region}

    def _broken(self, value: Any, entry: Entry) -> str:
        for name, limit in self.limits.items():
            if name == "check":
                told = CHECKS[limit](value, entry)
            elif name == "per":
                continue
            else:
                told = LIMITS[name](_measured(value, self.limits), limit)
            if told:
                return f"{str(value)[:100]!r} {told}"
        return ""


def _measured(value: Any, limits: dict[str, Any]) -> Any:
    return re.sub(r"\s", "", value) if limits.get("per") == "policy" else value


def characters(value: Any) -> int:
    """Of a text, or of one that the recording has cut."""
    return int(value["$characters"]) if isinstance(value, dict) else len(value)


def size(value: Any) -> int:
    """Bytes of a text or a content, cut or not."""
    if isinstance(value, dict):
        return int(next(iter(value.values())))
    return len(value.encode())


LIMITS: dict[str, Callable[[Any, Any], str]] = {
    "pattern": lambda value, limit: "" if re.fullmatch(limit, value, re.S) else f"does not match {limit}",
    "not": lambda value, limit: f"has what {limit} forbids" if re.search(limit, value) else "",
    "chars": lambda value, limit: f"has more than {limit} characters" if characters(value) > limit else "",
    "bytes": lambda value, limit: f"has more than {limit} bytes" if size(value) > limit else "",
    "items": lambda value, limit: f"has {len(value)} items, more than {limit}" if len(value) > limit else "",
    "min": lambda value, limit: f"is below {limit}" if value < limit else "",
    "max": lambda value, limit: f"is above {limit}" if value > limit else "",
    "in": lambda value, limit: "" if value in limit else f"is none of {limit}",
}


# ---- paths ----


def at(value: Any, path: str) -> list[Any]:
    """The values at ``A.B[].C``, ``A.keys()``, ``A.values()`` or, at any depth, ``**.C``."""
    found = [value]
    for part in path.split("."):
        found = [inner for one in found for inner in _step(one, part)]
    return found


def _step(value: Any, part: str) -> Iterator[Any]:
    if part == "**":
        yield value
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from _step(inner, "**")
    elif part == "keys()" and isinstance(value, dict):
        yield from value
    elif part == "values()" and isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, dict):
        name = part.removesuffix("[]")
        if value.get(name) is not None:
            yield from value[name] if part.endswith("[]") else [value[name]]


# ---- what depends on several members ----

CHECKS: dict[str, Callable[[Any, Entry], str]] = {}


def check(function: Callable[[Any, Entry], str]) -> Callable[[Any, Entry], str]:
    """Register what ``check`` in the file names: ``(value, entry) -> what is wrong, or nothing``."""
    CHECKS[function.__name__] = function
    return function


@check
def bucket_location(params: Params, entry: Entry) -> str:
    named = next(iter(at(params, "CreateBucketConfiguration.LocationConstraint")), "us-east-1")
    stated = "CreateBucketConfiguration" in params
    return "" if named == entry["region"] and stated == (named != "us-east-1") else f"the location is {named}"


@check
def tag_prefix(params: Params, _: Entry) -> str:
    tags = [one for one in at(params, "**") if isinstance(one, dict) and {"Key", "Value"} == one.keys()]
    own = [tag["Key"] for tag in tags if tag["Key"].lower().startswith("aws:")]
    return f"tags {own} are AWS's own" if own else ""


def _spot(params: Params) -> tuple[bool, int | None, int | None]:
    stop = params.get("StoppingCondition", {})
    return (
        bool(params.get("EnableManagedSpotTraining")),
        stop.get("MaxRuntimeInSeconds"),
        stop.get("MaxWaitTimeInSeconds"),
    )


@check
def spot_waits(params: Params, _: Entry) -> str:
    spot, runs, waits = _spot(params.get("TrainingJobDefinition", params))
    if not spot:
        return "a job that is not on spot says how long it waits" if waits else ""
    return "" if waits and waits >= (runs or 86400) else f"it runs for {runs} and waits for {waits}"


@check
def spot_keeps_checkpoints(params: Params, _: Entry) -> str:
    spot, runs, _waits = _spot(params)
    return "no checkpoints" if spot and (runs or 86400) > 3600 and "CheckpointConfig" not in params else ""


@check
def no_warm_pool_on_spot(params: Params, _: Entry) -> str:
    kept = at(params, "ResourceConfig.KeepAlivePeriodInSeconds")
    return "a spot job keeps its instances" if params.get("EnableManagedSpotTraining") and any(kept) else ""


@functools.cache
def images(region: str, processor: str) -> frozenset[str]:
    """The images for a processor in a region: those that the SageMaker SDK lists of PyTorch and Ray Serve."""
    package = importlib.metadata.distribution("sagemaker-core")
    found = set()
    for name in IMAGE_LISTS:
        listed = json.loads(
            Path(str(package.locate_file(f"sagemaker/core/image_uri_config/{name}"))).read_text(encoding="utf-8")
        )
        for scope in [listed] if "versions" in listed else [one for one in listed.values() if "versions" in one]:
            for version in scope["versions"].values():
                registry = version["registries"].get(region)
                tag = f"{version['tag_prefix']}-{version['container_version'].get(processor)}"
                found.add(f"{registry}.dkr.ecr.{region}.amazonaws.com/{version['repository']}:{tag}")
    return frozenset(found)


@check
def image(uri: str, entry: Entry) -> str:
    types = at(entry["parameters"], "**.InstanceType")
    processor = "gpu" if any(GPU.match(one) for one in types) else "cpu"
    return "" if uri in images(entry["region"], processor) else f"is no image for {processor} in {entry['region']}"


def _priced(usage: str, name: str) -> str:
    return "" if any(row["usagetype"].endswith(f"{usage}:{name}") for row in PRICES["products"]) else "has no price"


@check
def priced_for_training(name: str, _: Entry) -> str:
    return _priced("Train", name)


@check
def priced_for_endpoints(name: str, _: Entry) -> str:
    return _priced("Host", name)


@check
def priced_on_ec2(name: str, _: Entry) -> str:
    return _priced("BoxUsage", name)


def _twice(names: list[str]) -> str:
    again = sorted({name for name in names if names.count(name) > 1})
    return f"{again} are there twice" if again else ""


@check
def distinct_channels(params: Params, _: Entry) -> str:
    return _twice(at(params, "InputDataConfig[].ChannelName"))


@check
def distinct_metrics(params: Params, _: Entry) -> str:
    return _twice(at(params, "AlgorithmSpecification.MetricDefinitions[].Name"))


@check
def distinct_variants(params: Params, _: Entry) -> str:
    idle = not any(at(params, "ProductionVariants[].InitialVariantWeight") or [1.0])
    return _twice(at(params, "ProductionVariants[].VariantName")) or ("no variant has traffic" if idle else "")


@check
def one_number(expression: str, _: Entry) -> str:
    try:
        groups = re.compile(expression).groups
    except re.error as error:
        return f"is no expression: {error}"
    return "" if groups == 1 else f"has {groups} groups"


def _ranges(params: Params) -> dict[str, list[Params]]:
    found = at(params, "HyperParameterTuningJobConfig.ParameterRanges")
    return found[0] if found else {}


@check
def tuned_hyperparameters(params: Params, _: Entry) -> str:
    names = [one["Name"] for kind in _ranges(params).values() for one in kind]
    fixed = next(iter(at(params, "TrainingJobDefinition.StaticHyperParameters")), {})
    both = sorted(set(names) & set(fixed))
    return f"{both} are fixed too" if both else _twice(names) or ("more than 30" if len(names) > 30 else "")


@check
def parallel_below_all(params: Params, _: Entry) -> str:
    limits = next(iter(at(params, "HyperParameterTuningJobConfig.ResourceLimits")), {})
    return "" if limits.get("MaxParallelTrainingJobs", 1) <= limits.get("MaxNumberOfTrainingJobs", 1) else str(limits)


@check
def tuned_metric_is_defined(params: Params, _: Entry) -> str:
    wanted = at(params, "HyperParameterTuningJobConfig.HyperParameterTuningJobObjective.MetricName")
    defined = at(params, "TrainingJobDefinition.AlgorithmSpecification.MetricDefinitions[].Name")
    return f"{wanted} is none of {defined}" if set(wanted) - set(defined) else ""


@check
def logarithmic_range(params: Params, _: Entry) -> str:
    for kind in ("ContinuousParameterRanges", "IntegerParameterRanges"):
        for one in _ranges(params).get(kind, []):
            low, high = float(one["MinValue"]), float(one["MaxValue"])
            if low >= high or (one.get("ScalingType") == "Logarithmic" and low <= 0):
                return f"{one['Name']} goes from {low} to {high}"
    return ""


@check
def variants_have_instances(params: Params, _: Entry) -> str:
    for variant in params.get("ProductionVariants", []):
        if "ServerlessConfig" not in variant and not (
            variant.get("InstanceType") and variant.get("InitialInstanceCount", 0) >= 1
        ):
            return f"{variant} has no instances"
    return ""


@check
def least_below_most(scaling: Params, _: Entry) -> str:
    return "" if scaling.get("MinInstanceCount", 1) <= scaling.get("MaxInstanceCount", 1) else "is upside down"


@check
def script_in_base64(content: str, _: Entry) -> str:
    return "" if base64.b64decode(content, validate=True).startswith(b"#!") else "starts with no #!"


@check
def script_uses_dnf(content: str, _: Entry) -> str:
    found = re.search(rb"amazon-linux-extras|\byum install", base64.b64decode(content))
    return f"calls {found[0].decode()}" if found else ""


@check
def four_kilobytes(variables: Params, _: Entry) -> str:
    def name(key: str) -> int:
        return int(key.split()[1]) if key.startswith("$") else len(key)

    together = sum(name(key) + characters(value) for key, value in variables.items())
    return f"has {together} bytes" if together > 4096 else ""


@check
def lambda_payload(params: Params, _: Entry) -> str:
    limit = 1_048_576 if params.get("InvocationType") == "Event" else 6_291_556
    return "the payload is too large" if size(params.get("Payload") or "") > limit else ""


@check
def permission_names_its_source(params: Params, _: Entry) -> str:
    service = params.get("Principal", "").endswith(".amazonaws.com") or params.get("Principal") == "*"
    return "no source" if service and not {"SourceArn", "SourceAccount"} & params.keys() else ""


def _statements(policy: str) -> list[Params]:
    found = json.loads(policy)["Statement"]
    return found if isinstance(found, list) else [found]


def _actions(statement: Params) -> list[str]:
    named = statement.get("Action", [])
    return [named] if isinstance(named, str) else named


def _condition_keys(statement: Params) -> set[str]:
    return {key.lower() for operator in statement.get("Condition", {}).values() for key in operator}


@check
def trust_names_its_account(policy: str, _: Entry) -> str:
    for statement in _statements(policy):
        services = at(statement, "Principal.Service")
        if "sagemaker.amazonaws.com" in services and not (
            {"aws:sourceaccount", "aws:sourcearn"} & _condition_keys(statement)
        ):
            return "lets SageMaker take the role for anybody"
    return ""


@check
def no_star_for_everything(policy: str, _: Entry) -> str:
    wide = [one for one in _statements(policy) if one["Effect"] == "Allow" and "*" in _actions(one)]
    return "allows everything" if wide else ""


@check
def pass_role_names_its_service(policy: str, _: Entry) -> str:
    wide = [
        one
        for one in _statements(policy)
        if one["Effect"] == "Allow"
        and "iam:PassRole" in _actions(one)
        and "iam:passedtoservice" not in _condition_keys(one)
    ]
    return "passes roles to any service" if wide else ""


@check
def user_data(encoded: Params | str, _: Entry) -> str:
    return "has more than 16 KB" if characters(encoded) * 3 // 4 > 16_384 + 2 else ""


def seconds(moment: Any) -> float:
    """A time as it was recorded: seconds since 1970, or a text."""
    return float(moment) if isinstance(moment, (int, float)) else datetime.fromisoformat(moment).timestamp()


def _span(params: Params) -> float:
    if not {"StartTime", "EndTime"} <= params.keys():
        return 1.0
    return seconds(params["EndTime"]) - seconds(params["StartTime"])


@check
def metric_points(params: Params, _: Entry) -> str:
    points = _span(params) / params.get("Period", 60)
    return f"{points:.0f} points" if points > 1440 else ""


@check
def period(value: int, _: Entry) -> str:
    return "" if value in (1, 5, 10, 20, 30) or (value > 0 and value % 60 == 0) else "is no period"


@check
def start_before_end(params: Params, _: Entry) -> str:
    return "" if _span(params) > 0 else "the start is not before the end"


@check
def alarm_window(params: Params, _: Entry) -> str:
    together = params.get("Period", 60) * params.get("EvaluationPeriods", 1)
    return f"{together} seconds" if together > 86_400 else ""


@check
def log_batch(params: Params, _: Entry) -> str:
    together = sum(size(one["message"]) + 26 for one in params.get("logEvents", []))
    return f"{together} bytes" if together > 1_048_576 else ""


@check
def scaling_bounds(params: Params, _: Entry) -> str:
    least, most = params.get("MinCapacity", 1), params.get("MaxCapacity", 1)
    return "" if 1 <= least <= most else f"from {least} to {most}"


@check
def subscribers(found: list[Params], _: Entry) -> str:
    kinds = [one.get("SubscriptionType") for one in found]
    return "are too many" if kinds.count("EMAIL") > 10 or kinds.count("SNS") > 1 else ""


@check
def in_us_east_1(_: Params, entry: Entry) -> str:
    return "" if entry["region"] == "us-east-1" else f"signed for {entry['region']}"


@check
def in_a_region_of_pricing(_: Params, entry: Entry) -> str:
    return "" if entry["region"] in ("us-east-1", "eu-central-1", "ap-south-1") else f"asked in {entry['region']}"


# ---- the file ----


class _Loader(yaml.SafeLoader):
    """YAML with ``!repeat [value, times]`` and ``!numbered times``."""


def _repeat(loader: _Loader, node: yaml.SequenceNode) -> Any:
    value, times = loader.construct_sequence(node, deep=True)
    return value * times if isinstance(value, str) and len(value) == 1 else [value] * times


_Loader.add_constructor("!repeat", _repeat)
_Loader.add_constructor(
    "!numbered", lambda loader, node: {f"k{n}": "v" for n in range(int(loader.construct_scalar(node)))}
)


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Every rule of the file."""
    found = yaml.load(FILE.read_text(encoding="utf-8"), _Loader)
    return tuple(Rule(**{("limits" if name == "is" else name): value for name, value in one.items()}) for one in found)


def broken(entry: Entry) -> list[str]:
    """Every rule that a recorded request breaks, in words."""
    return [told for rule in rules() for told in rule.broken_by(entry)]
