"""Every request of a run of the whole series, as AWS would read it: by its models, its documents, and as a whole."""

import pytest

from helpers.localaws.request_table import read
from tests import aws_limits, recorded_runs, request_models

PROJECT = "tested"
# Notebook 01 asks for a job that it has no quota of, to show the refusal; it names an image that could never start.
ON_PURPOSE = ("ResourceLimitExceeded",)
ALL = frozenset("application-autoscaling budgets cloudwatch ec2 iam lambda logs pricing s3 sagemaker sts".split())


@pytest.fixture(scope="module")
def entries(out):
    return read(out / "requests.jsonl")


def test_the_recording_is_of_the_whole_series(entries):
    assert len(entries) > 2000
    assert {entry["service"] for entry in entries} >= ALL
    assert {"role/tested-sagemaker", "role/tested-lambda", "role/tested-ec2"} <= {entry["caller"] for entry in entries}


def test_every_request_is_as_the_models_have_it(entries):
    told = {f"{entry['service']}: {one}" for entry in entries for one in request_models.complaints(entry)}
    assert told == set()


def test_every_request_keeps_the_documented_limits(entries):
    wanted = (entry for entry in entries if entry["error"] not in ON_PURPOSE)
    assert {told for entry in wanted for told in aws_limits.broken(entry)} == set()


def test_most_rules_had_something_to_say(entries):
    asked = {(entry["service"], entry["operation"]): entry for entry in entries}.values()
    assert sum(any(rule.concerns(entry) for entry in asked) for rule in aws_limits.rules()) >= 60


def test_nothing_is_refused_for_being_unknown(entries):
    assert [entry for entry in entries if entry["error"] in ("NotImplemented", "InternalFailure")] == []


def test_only_the_services_of_the_list_are_asked(entries):
    assert recorded_runs.other_services(entries) == set()


def test_whatever_is_made_is_tagged_and_deleted(entries):
    assert recorded_runs.unknown_making(entries) == set()
    assert recorded_runs.untagged(entries, PROJECT) == []
    assert recorded_runs.left_behind(entries) == []


def test_a_roles_policies_fit_together(entries):
    most = recorded_runs.inline_policies(entries)
    assert len(most) >= 3
    assert all(characters <= 10_240 for characters in most.values()), most


def test_lists_are_read_to_their_end(entries):
    assert recorded_runs.read_in_part(entries) == set()


def test_nothing_is_asked_faster_than_aws_takes_it(entries):
    # Polling is in real time, whatever the time scale; on loopback an answer comes sooner than from AWS, so that this
    # is the fastest the notebooks can be.
    assert recorded_runs.too_fast(entries) == []
    assert recorded_runs.polled(entries) == []
