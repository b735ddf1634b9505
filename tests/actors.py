"""Users and roles with just the permissions that a test is about, and clients that use their keys."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import LocalAws

NUMBERS = itertools.count(1)
ACCOUNT = "123456789012"
Statement = dict[str, Any]


def allow(*actions: str, on: str | list[str] = "*", **condition: Any) -> Statement:
    """One statement that allows; ``condition`` is ``StringEquals={...}``."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on} | (
        {"Condition": condition} if condition else {}
    )


def deny(*actions: str, on: str | list[str] = "*", **condition: Any) -> Statement:
    """One statement that denies."""
    return {**allow(*actions, on=on, **condition), "Effect": "Deny"}


def policy(*statements: Statement) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass(frozen=True)
class Actor:
    """Somebody with an access key."""

    url: str
    arn: str
    key: str
    secret: str
    token: str | None = None

    def client(self, service: str, region: str = "us-east-1", **config: Any) -> Any:
        """A client that does not retry."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            aws_session_token=self.token,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )


def administrator(aws: LocalAws) -> Actor:
    """The account's administrator."""
    key, secret = (aws.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    return Actor(aws.url, f"arn:aws:iam::{ACCOUNT}:user/administrator", key, secret)


def user(aws: LocalAws, *statements: Statement) -> Actor:
    """A new user with one inline policy (none without statements)."""
    iam, name = aws.client("iam"), f"user-{next(NUMBERS)}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Actor(aws.url, arn, key["AccessKeyId"], key["SecretAccessKey"])


def role(aws: LocalAws, *statements: Statement, trust: Any = None, **arguments: Any) -> str:
    """A new role's ARN; ``trust`` is its trust policy's Principal (default: the account)."""
    iam, name = aws.client("iam"), f"role-{next(NUMBERS)}"
    principal = trust or {"AWS": ACCOUNT}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    document = arguments.pop("document", None) or policy(statement)
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, **arguments)["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy(*statements))
    return str(arn)


def session(aws: LocalAws, arn: str, by: Actor | None = None, **arguments: Any) -> Actor:
    """A session of a role, taken by the administrator or by somebody else."""
    sts = by.client("sts") if by else aws.client("sts")
    made = sts.assume_role(RoleArn=arn, RoleSessionName="tests", **arguments)
    keys = made["Credentials"]
    return Actor(
        aws.url,
        made["AssumedRoleUser"]["Arn"],
        keys["AccessKeyId"],
        keys["SecretAccessKey"],
        keys["SessionToken"],
    )


def send(actor: Actor, service: str, body: bytes, **headers: str) -> bytes:
    """Sign a POST of one's own making and send it; what is answered."""
    request = AWSRequest("POST", f"{actor.url}/", data=body)
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    SigV4Auth(Credentials(actor.key, actor.secret, actor.token), service, "us-east-1").add_auth(request)
    sent = urllib.request.Request(actor.url, body, dict(request.headers.items()))
    answer: bytes = urllib.request.urlopen(sent).read()
    return answer


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, int, str]:
    """Code, HTTP status and message of the error that a call ends with."""
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"].get("Message", "")
