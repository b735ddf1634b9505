"""Policies as they are put: read by the evaluator that will use them, before they become records.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import AwsError, NotImplementedHere
from .policy import PolicyError, parse
from .protocol import Call

# Which input of which operation is a policy, and of which kind.
GIVEN: dict[tuple[str, str], tuple[str, str]] = {
    ("iam", "PutUserPolicy"): ("PolicyDocument", "identity"),
    ("iam", "PutGroupPolicy"): ("PolicyDocument", "identity"),
    ("iam", "PutRolePolicy"): ("PolicyDocument", "identity"),
    ("iam", "CreatePolicy"): ("PolicyDocument", "identity"),
    ("iam", "CreatePolicyVersion"): ("PolicyDocument", "identity"),
    ("iam", "CreateRole"): ("AssumeRolePolicyDocument", "trust"),
    ("iam", "UpdateAssumeRolePolicy"): ("PolicyDocument", "trust"),
}
# The most characters, white space not counted, of one that a role has; AWS counts a role's inline policies together.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
LONGEST: dict[str, tuple[int, str]] = {
    "PutRolePolicy": (10_240, "Maximum policy size of 10240 bytes exceeded for role {RoleName}"),
    "CreatePolicy": (6_144, "Cannot exceed quota for PolicySize: 6144"),
    "CreatePolicyVersion": (6_144, "Cannot exceed quota for PolicySize: 6144"),
    "CreateRole": (2_048, "Cannot exceed quota for ACLSizePerRole: 2048"),
    "UpdateAssumeRolePolicy": (2_048, "Cannot exceed quota for ACLSizePerRole: 2048"),
}


def check(call: Call, params: Mapping[str, Any]) -> None:
    """Raise ``MalformedPolicyDocument`` for a policy that could not be evaluated, ``LimitExceeded`` for a long one."""
    if (call.service, call.operation) == ("iam", "CreateUser") and params.get("PermissionsBoundary"):
        raise NotImplementedHere("permissions boundaries of users", "Those of roles it does.")
    member, kind = GIVEN.get((call.service, call.operation), ("", ""))
    if member and params.get(member) is not None:
        try:
            parse(str(params[member]), kind)
        except PolicyError as error:
            raise AwsError("MalformedPolicyDocument", str(error)) from error
        longest, told = LONGEST.get(call.operation, (0, ""))
        if longest and len("".join(str(params[member]).split())) > longest:
            raise AwsError("LimitExceeded", told.format(**params), 409)
