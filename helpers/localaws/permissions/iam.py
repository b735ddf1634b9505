"""IAM and STS: on users, roles, groups, policies, with their paths.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
"""

from __future__ import annotations

from collections.abc import Iterator

from .ask import ANY, Ask, Need, tags_in

# Which input names an operation's resource: the first that is there (an attached policy is no resource, its role is).
_NAMES = {
    "InstanceProfileName": "instance-profile",
    "GroupName": "group",
    "RoleName": "role",
    "UserName": "user",
    "PolicyName": "policy",
    "ServerCertificateName": "server-certificate",
    "VirtualMFADeviceName": "mfa",
    "Name": "saml-provider",
}
_ARNS = "PolicyArn SAMLProviderArn OpenIDConnectProviderArn SerialNumber PolicySourceArn Arn".split()
# Without a user name these are about the caller.
OWN = frozenset(
    "ChangePassword CreateAccessKey DeleteAccessKey GetUser ListAccessKeys UpdateAccessKey ListSigningCertificates "
    "UploadSigningCertificate UpdateSigningCertificate DeleteSigningCertificate ListMFADevices ListSSHPublicKeys "
    "ListServiceSpecificCredentials CreateServiceSpecificCredential DeleteServiceSpecificCredential "
    "UpdateServiceSpecificCredential ResetServiceSpecificCredential GetMFADevice CreateLoginProfile GetLoginProfile "
    "DeleteLoginProfile GetAccessKeyLastUsed".split()
)
# Whoever calls may do these: AWS asks no policy.
FREE = frozenset({"GetCallerIdentity", "GetSessionToken", "GetAccessKeyInfo"})


def iam(ask: Ask) -> Iterator[Need]:
    """IAM's rules."""
    context = {
        "iam:PolicyARN": ask.params.get("PolicyArn"),
        "iam:PermissionsBoundary": ask.params.get("PermissionsBoundary"),
        "iam:AWSServiceName": ask.params.get("AWSServiceName"),
    }
    resource = _resource(ask)
    yield Need(ask.action("iam"), resource, context)
    if ask.operation == "AddRoleToInstanceProfile":
        role = ask.iam_arn("role", ask.params["RoleName"])
        yield Need("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})
    if ask.operation.startswith("Create") and tags_in(ask.params):
        kind = ask.operation.removeprefix("Create")
        yield Need(f"iam:Tag{kind}", resource, context)


def _resource(ask: Ask) -> str:
    if ask.operation == "CreateServiceLinkedRole":
        service = ask.params["AWSServiceName"]
        return f"arn:aws:iam::{ask.account}:role/aws-service-role/{service}/*"
    if ask.operation == "CreateOpenIDConnectProvider":
        provider = str(ask.params["Url"]).removeprefix("https://")
        return f"arn:aws:iam::{ask.account}:oidc-provider/{provider}"
    for name, kind in _NAMES.items():
        if ask.params.get(name):
            return ask.iam_arn(kind, str(ask.params[name]))
    given = next((str(ask.params[name]) for name in _ARNS if ask.params.get(name)), None)
    if given:
        return given
    return ask.caller if ask.operation in OWN and ask.caller else ANY


def sts(ask: Ask) -> Iterator[Need]:
    """STS's rules; identity and session calls need nothing."""
    if ask.operation == "AssumeRole":
        context = {
            "sts:RoleSessionName": ask.params.get("RoleSessionName"),
            "sts:ExternalId": ask.params.get("ExternalId"),
        }
        yield Need("sts:AssumeRole", str(ask.params["RoleArn"]), context)
        if ask.params.get("Tags"):
            yield Need("sts:TagSession", str(ask.params["RoleArn"]), context)
    elif ask.operation not in FREE:
        yield Need(ask.action("sts"), str(ask.params.get("RoleArn") or ANY))
