"""What only a whole recording shows: what is left behind, untagged, asked too often, or read only in part."""

from __future__ import annotations

import functools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import botocore.session
import yaml

from tests.aws_limits import at

Entry = dict[str, Any]
RATES = Path(__file__).with_name("api_rates.yaml")
WINDOW = 10.0  # seconds; AWS's buckets hold more than one second's requests

# Whom the series asks, and nobody else.
SERVICES = frozenset(
    "application-autoscaling budgets cloudwatch ec2 iam lambda logs pricing resourcegroupstaggingapi s3 sagemaker "
    "sagemaker-runtime service-quotas ssm sts".split()
)


@dataclass(frozen=True)
class Made:
    """An operation that makes something: where its name and its tags are, and the operation that ends it.

    ``untagged`` and ``ends`` say in words why there are no tags, and why nothing needs to be called.
    """

    name: str
    tags: str = ""
    deleted_by: str = ""
    name_there: str = ""
    untagged: str = ""
    ends: str = ""


PART = "is no resource of its own"
MADE: dict[str, Made] = {
    "s3:CreateBucket": Made("Bucket", deleted_by="s3:DeleteBucket", untagged="PutBucketTagging follows"),
    "s3:PutObject": Made("Key", untagged="AWS bills by bucket", ends="DeleteObjects empties the bucket"),
    "s3:CreateMultipartUpload": Made("Key", untagged=PART, ends="completed; teardown looks for those that are not"),
    "iam:CreateRole": Made("RoleName", "Tags", "iam:DeleteRole"),
    "iam:PutRolePolicy": Made("PolicyName", "", "iam:DeleteRolePolicy", untagged=PART),
    "iam:CreateInstanceProfile": Made("InstanceProfileName", "Tags", "iam:DeleteInstanceProfile"),
    "iam:AddRoleToInstanceProfile": Made("RoleName", "", "iam:RemoveRoleFromInstanceProfile", untagged=PART),
    "budgets:CreateBudget": Made("Budget.BudgetName", "ResourceTags", "budgets:DeleteBudget", "BudgetName"),
    "sagemaker:CreateNotebookInstance": Made("NotebookInstanceName", "Tags", "sagemaker:DeleteNotebookInstance"),
    "sagemaker:CreateNotebookInstanceLifecycleConfig": Made(
        "NotebookInstanceLifecycleConfigName", "Tags", "sagemaker:DeleteNotebookInstanceLifecycleConfig"
    ),
    "sagemaker:CreatePresignedNotebookInstanceUrl": Made("NotebookInstanceName", untagged=PART, ends="expires"),
    "sagemaker:CreateHyperParameterTuningJob": Made(
        "HyperParameterTuningJobName", "Tags", "sagemaker:DeleteHyperParameterTuningJob"
    ),
    "sagemaker:CreateTrainingJob": Made("TrainingJobName", "Tags", "sagemaker:DeleteTrainingJob"),
    "sagemaker:CreateModel": Made("ModelName", "Tags", "sagemaker:DeleteModel"),
    "sagemaker:CreateEndpointConfig": Made("EndpointConfigName", "Tags", "sagemaker:DeleteEndpointConfig"),
    "sagemaker:CreateEndpoint": Made("EndpointName", "Tags", "sagemaker:DeleteEndpoint"),
    "ec2:CreateSecurityGroup": Made("", "TagSpecifications[].Tags", "ec2:DeleteSecurityGroup"),
    "ec2:RunInstances": Made("", "TagSpecifications[].Tags", ends="shuts itself down, and that terminates it"),
    "lambda:CreateFunction": Made("FunctionName", "Tags", "lambda:DeleteFunction"),
    "lambda:CreateAlias": Made("Name", untagged=PART, ends="goes with its function"),
    "lambda:PublishVersion": Made("FunctionName", "", "lambda:DeleteFunction", untagged=PART),
    "lambda:PutProvisionedConcurrencyConfig": Made(
        "FunctionName", "", "lambda:DeleteProvisionedConcurrencyConfig", untagged=PART
    ),
    "lambda:PutFunctionConcurrency": Made("FunctionName", "", "lambda:DeleteFunctionConcurrency", untagged=PART),
    "application-autoscaling:RegisterScalableTarget": Made(
        "ResourceId", "", "application-autoscaling:DeregisterScalableTarget", untagged="found by its endpoint's name"
    ),
    "application-autoscaling:PutScalingPolicy": Made("PolicyName", untagged=PART, ends="goes with its target"),
    "logs:CreateLogGroup": Made("logGroupName", "", "logs:DeleteLogGroup", untagged="found by its name"),
    "logs:CreateLogStream": Made("logStreamName", untagged=PART, ends="goes with its group"),
}
MAKING = ("Create", "Run", "Register", "Publish", "Put", "Add", "Allocate", "Import", "Request")
# These change what is there already.
CHANGES = frozenset(
    "s3:PutPublicAccessBlock s3:PutBucketTagging s3:PutBucketPolicy s3:PutBucketVersioning s3:PutBucketEncryption "
    "s3:PutBucketLifecycleConfiguration lambda:AddPermission cloudwatch:PutMetricData logs:PutLogEvents "
    "logs:PutRetentionPolicy sagemaker:AddTags".split()
)

# Calls that could be paged and are not, and why one page is all there is.
ONE_PAGE = {
    "budgets:DescribeNotificationsForBudget": "a budget has at most ten",
    "s3:ListBuckets": "all of them, up to the default quota of 10,000",
    "s3:ListObjectsV2": "asks whether one key is there",
    "s3:ListObjectVersions": "asked again and again until the bucket is empty",
    "iam:SimulatePrincipalPolicy": "few actions on one resource",
    "iam:SimulateCustomPolicy": "few actions on one resource",
    "iam:ListRoleTags": "a role has at most 50",
    "iam:GetServiceLastAccessedDetails": "a report of a role that may use few services",
    "sagemaker:ListTrainingJobs": "the newest first, and the newest is wanted",
    "sagemaker:ListHyperParameterTuningJobs": "the newest first, and the newest is wanted",
    "ec2:DescribeImages": "by id",
    "ec2:DescribeVpcs": "there is at most one default VPC",
    "ec2:DescribeSecurityGroups": "by name, of which there is one in a VPC",
    "ec2:DescribeInstances": "by id, with which AWS gives all on one page",
    "application-autoscaling:DescribeScalingPolicies": "by name",
    "cloudwatch:DescribeAlarms": "by name",
    "logs:DescribeLogGroups": "by the beginning of names of which the project has few",
    "logs:GetLogEvents": "followed by its token, which botocore has no paginator for",
}


def _key(entry: Entry) -> str:
    return f"{entry['service']}:{entry['operation']}"


def _done(entries: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry["status"] < 400]


def other_services(entries: list[Entry]) -> set[str]:
    """The services that are asked and not on the list."""
    return {entry["service"] for entry in entries} - SERVICES


def unknown_making(entries: list[Entry]) -> set[str]:
    """Operations that make something and that nobody has said how it is tagged and ended."""
    made = {_key(entry) for entry in _done(entries) if entry["operation"].startswith(MAKING)}
    return made - MADE.keys() - CHANGES


def untagged(entries: list[Entry], project: str) -> list[str]:
    """What is made without the project's tag, and is not excused."""
    tag = {"Key": "project", "Value": project}
    told = []
    for entry in _done(entries):
        made = MADE.get(_key(entry))
        if made is None or made.untagged:
            continue
        found = at(entry["parameters"], made.tags)
        if not found or not all(one == {"project": project} or tag in list(one) for one in found):
            told.append(f"{_key(entry)} {_name(entry, made.name)}")
    buckets = {entry["parameters"]["Bucket"] for entry in _done(entries) if _key(entry) == "s3:CreateBucket"}
    tagged = {
        entry["parameters"]["Bucket"]
        for entry in _done(entries)
        if _key(entry) == "s3:PutBucketTagging" and tag in entry["parameters"]["Tagging"]["TagSet"]
    }
    return told + [f"s3:CreateBucket {name}" for name in sorted(buckets - tagged)]


def left_behind(entries: list[Entry]) -> list[str]:
    """What is made and after that never asked to be deleted, and does not end by itself."""
    open_: dict[tuple[str, str], str] = {}
    for entry in _done(entries):
        made = MADE.get(_key(entry))
        if made and made.deleted_by:
            open_[made.deleted_by, _name(entry, made.name)] = _key(entry)
        for other in MADE.values():
            if other.deleted_by == _key(entry):
                open_.pop((other.deleted_by, _name(entry, other.name_there or other.name)), None)
        if _key(entry) == "lambda:DeleteFunction":  # its versions' and its own concurrency go with it
            name = _name(entry, "FunctionName")
            for way in ("lambda:DeleteProvisionedConcurrencyConfig", "lambda:DeleteFunctionConcurrency"):
                open_.pop((way, name), None)
    told = [f"{how} {name}".rstrip() for (_, name), how in open_.items()]
    for entry in _done(entries):
        ends = (entry["parameters"] or {}).get("InstanceInitiatedShutdownBehavior")
        if _key(entry) == "ec2:RunInstances" and ends != "terminate":
            told.append("ec2:RunInstances without a shutdown that terminates")
    return told


def _name(entry: Entry, path: str) -> str:
    return str(next(iter(at(entry["parameters"], path)), "")) if path else ""


def inline_policies(entries: list[Entry]) -> dict[str, int]:
    """The most characters that a role's inline policies ever had together, white space not counted."""
    now: dict[str, dict[str, int]] = defaultdict(dict)
    most: Counter[str] = Counter()
    for entry in _done(entries):
        if _key(entry) == "iam:PutRolePolicy":
            role, name = entry["parameters"]["RoleName"], entry["parameters"]["PolicyName"]
            now[role][name] = len("".join(entry["parameters"]["PolicyDocument"].split()))
            most[role] = max(most[role], sum(now[role].values()))
        elif _key(entry) == "iam:DeleteRolePolicy":
            now[entry["parameters"]["RoleName"]].pop(entry["parameters"]["PolicyName"], None)
    return dict(most)


def read_in_part(entries: list[Entry]) -> set[str]:
    """Operations that have pages, asked without a paginator (the SDK's mark C) or a token, and not excused."""
    found = set()
    for entry in entries:
        pages = _pages(entry["service"]).get(entry["operation"])
        if pages and "C" not in entry["features"] and entry["sdk"] and "aws-cli" not in entry["sdk"]:
            tokens = pages["input_token"]
            tokens = [tokens] if isinstance(tokens, str) else tokens
            if not any((entry["parameters"] or {}).get(token) for token in tokens):
                found.add(_key(entry))
    return found - ONE_PAGE.keys()


@functools.cache
def _pages(service: str) -> dict[str, Any]:
    session = botocore.session.get_session()
    try:
        pages: dict[str, Any] = session.get_paginator_model(service)._paginator_config
    except botocore.exceptions.UnknownServiceError:
        return {}
    except ValueError:
        return {}
    return pages


@functools.cache
def rates() -> dict[str, dict[str, Any]]:
    """Requests a second that AWS takes, by operation or by service, with where that is said."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(RATES.read_text(encoding="utf-8"))
    return found


def too_fast(entries: list[Entry]) -> list[str]:
    """Operations that are asked more often than AWS takes them, in any ten seconds, by all callers together."""
    by: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        by[_key(entry)].append(datetime.fromisoformat(entry["time"]).timestamp())
    told = []
    for key, times in by.items():
        limit = rates().get(key) or rates().get(key.partition(":")[0]) or {"per_second": 5}
        most = _most(times) / WINDOW
        if most > limit["per_second"]:
            told.append(f"{key}: {most:.1f} a second, and AWS takes {limit['per_second']}")
    return told


def polled(entries: list[Entry]) -> list[str]:
    """What one caller asks again and again in the same words, more than twice a second: control planes only."""
    by: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for entry in entries:
        if entry["operation"].startswith(("Describe", "Get", "List")) and entry["service"] != "s3":
            same = json.dumps(entry["parameters"], sort_keys=True)
            by[_key(entry), entry["caller"] or "", same].append(datetime.fromisoformat(entry["time"]).timestamp())
    return [f"{key} by {who}: {_most(times) / WINDOW:.1f} a second" for (key, who, _), times in by.items()
            if _most(times) > 2 * WINDOW]  # fmt: skip


def _most(times: list[float]) -> int:
    """The most requests in any window."""
    times = sorted(times)
    return max(_counts(times))


def _counts(times: list[float]) -> Iterator[int]:
    first = 0
    for last, time in enumerate(times):
        while time - times[first] > WINDOW:
            first += 1
        yield last - first + 1
