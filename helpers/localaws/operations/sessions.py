"""STS: sessions of roles. (The other calls of STS that only tell are moto's.)

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..errors import refuse
from ..gateway import Params, Request, operation
from ..policy import PolicyError, parse
from ..tags import from_list

HOUR = 3600


@operation("sts", "AssumeRole")
def assume_role(request: Request, params: Params) -> Params:
    """Temporary credentials of a role; that its trust policy allows the caller has been decided before."""
    seconds = params.get("DurationSeconds", HOUR)
    role = request.cloud.authorization.identities.role(params["RoleArn"])
    if seconds > int(role.max_session_duration or HOUR):
        refuse("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if params.get("Policy"):
        try:
            parse(params["Policy"])
        except PolicyError as error:
            refuse("MalformedPolicyDocument", str(error))
    arns = [one["arn"] for one in params.get("PolicyArns") or []]
    records = request.cloud.records
    with records.lock("iam"), records.lock("sts"):
        session = records.backend("sts", "aws").assume_role(
            region_name=request.region,
            role_session_name=params["RoleSessionName"],
            role_arn=params["RoleArn"],
            policy=params.get("Policy"),
            duration=seconds,
            external_id=params.get("ExternalId"),
        )
        session.policy_arns, session.tags = arns, from_list(params.get("Tags"))
        session.issued = datetime.now(UTC)
        records.keep("sts", "AssumeRole", request.region, {})
    return {
        "Credentials": {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "SessionToken": session.session_token,
            "Expiration": session.expiration.replace(tzinfo=UTC),
        },
        "AssumedRoleUser": {"AssumedRoleId": session.user_id, "Arn": session.arn},
        "PackedPolicySize": 6,
    }
