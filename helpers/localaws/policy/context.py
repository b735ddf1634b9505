"""The request context: what conditions and policy variables may ask about a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import NotImplementedHere

# Keys that are in a request's context whenever AWS would put them there. What is not here is refused where a policy
# asks for it: a condition on a key that is always absent would silently deny (or, negated, silently allow).
KNOWN = frozenset(
    key.lower()
    for key in (
        "aws:CurrentTime aws:EpochTime aws:TokenIssueTime aws:MultiFactorAuthPresent aws:MultiFactorAuthAge "
        "aws:PrincipalAccount aws:PrincipalArn aws:PrincipalType aws:PrincipalIsAWSService aws:PrincipalServiceName "
        "aws:PrincipalOrgID aws:PrincipalOrgPaths aws:Referer aws:RequestedRegion aws:ResourceAccount "
        "aws:ResourceOrgID aws:SecureTransport aws:SourceAccount aws:SourceArn aws:SourceIp aws:SourceVpc "
        "aws:SourceVpce aws:VpcSourceIp aws:TagKeys aws:userid aws:username aws:UserAgent aws:ViaAWSService "
        "aws:CalledVia aws:CalledViaFirst aws:CalledViaLast "
        "iam:PassedToService iam:AssociatedResourceArn iam:PermissionsBoundary iam:PolicyARN iam:AWSServiceName "
        "sts:ExternalId sts:RoleSessionName "
        "s3:prefix s3:delimiter s3:max-keys s3:VersionId s3:x-amz-acl s3:x-amz-copy-source s3:x-amz-metadata-directive "
        "s3:x-amz-server-side-encryption s3:x-amz-server-side-encryption-aws-kms-key-id s3:x-amz-storage-class "
        "s3:x-amz-content-sha256 s3:authType "
        "sagemaker:InstanceTypes sagemaker:VpcSubnets sagemaker:VpcSecurityGroupIds sagemaker:NetworkIsolation "
        "sagemaker:InterContainerTrafficEncryption sagemaker:VolumeKmsKey sagemaker:OutputKmsKey sagemaker:TargetModel "
        "sagemaker:MaxRuntimeInSeconds sagemaker:RootAccess sagemaker:DirectInternetAccess "
        "lambda:Layer lambda:Principal "
        "ec2:InstanceType ec2:InstanceMarketType ec2:MetadataHttpTokens ec2:Region ec2:CreateAction "
        "cloudwatch:namespace application-autoscaling:service-namespace application-autoscaling:scalable-dimension"
    ).split()
)
KNOWN_PREFIXES = tuple(
    prefix.lower()
    for prefix in ("aws:PrincipalTag/ aws:RequestTag/ aws:ResourceTag/ ec2:ResourceTag/ sagemaker:ResourceTag/").split()
)

Value = str | int | float | bool | Iterable[Any] | None


class Context:
    """Values by condition key; keys are not case-sensitive, and every value is a list of texts.

    ``missing`` collects the keys that were asked for and not there, which is what a simulation reports. With
    ``every_key`` no key is refused as unknown: a simulation's caller says itself what its context is.
    """

    def __init__(self, values: Mapping[str, Value] | None = None, *, every_key: bool = False) -> None:
        self._values: dict[str, tuple[str, ...]] = {}
        self._every_key = every_key
        # Prefixes of keys that nobody fills for the resource in question: its tags are not ours to read.
        self.unfilled: tuple[str, ...] = ()
        self.missing: set[str] = set()
        self.add(values or {})

    def add(self, values: Mapping[str, Value]) -> Context:
        """Set keys; a value of None leaves its key absent. Returns the context itself."""
        for key, value in values.items():
            if value is not None:
                self._values[key.lower()] = tuple(_texts(value))
        return self

    def extended(self, values: Mapping[str, Value]) -> Context:
        """A copy with further values."""
        copy = Context(every_key=self._every_key)
        copy._values = dict(self._values)
        return copy.add(values)

    def get(self, key: str) -> tuple[str, ...] | None:
        """The values of a key, None where it is absent; raises :class:`NotImplementedHere` for an unknown key."""
        lower = key.lower()
        found = self._values.get(lower)
        if found is None:
            known = lower in KNOWN or (lower.startswith(KNOWN_PREFIXES) and not lower.startswith(self.unfilled))
            if not self._every_key and not known:
                raise NotImplementedHere(f"the condition key '{key}'", "A policy that applies to this request uses it.")
            self.missing.add(key)
        return found

    def single(self, key: str) -> str | None:
        """The value of a key that has exactly one; None otherwise, as a policy variable needs it."""
        found = self.get(key)
        return found[0] if found is not None and len(found) == 1 else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str | int | float):
        yield str(value)
    else:
        for one in value:
            yield from _texts(one)
