"""What each operation needs: which IAM actions on which resources, with which context.

The tables follow the Service Authorization Reference; the tests hold them against a machine-readable copy of it.
https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from __future__ import annotations

from ..errors import AwsError
from . import ec2, functions, iam, others, s3, sagemaker
from .ask import Ask, Need, Rule, tags_in

RULES: dict[str, Rule] = {
    "s3": s3.needs,
    "iam": iam.iam,
    "sts": iam.sts,
    "ec2": ec2.needs,
    "lambda": functions.needs,
    "sagemaker": sagemaker.needs,
    "sagemaker-runtime": sagemaker.needs,
    "sagemaker-metrics": sagemaker.needs,
    "logs": others.logs,
    "cloudwatch": others.cloudwatch,
    "application-autoscaling": others.autoscaling,
    "ssm": others.ssm,
    "service-quotas": others.quotas,
    "budgets": others.budgets,
    "pricing": others.plain("pricing"),
    "resourcegroupstaggingapi": others.plain("tag"),
    "dynamodb": others.dynamodb,
    "kms": others.kms,
    "secretsmanager": others.secrets,
    "sns": others.sns,
    "sqs": others.sqs,
}
# Calls that need no permission: AWS answers whoever has valid credentials.
FREE = frozenset({("sts", name) for name in iam.FREE})


def needs(ask: Ask) -> list[Need]:
    """Every permission a call needs; all of them must be allowed.

    Raises ``AccessDenied`` for an operation without a rule: what nobody has thought about is not allowed.
    """
    rule = RULES.get(ask.service)
    found = list(rule(ask)) if rule else []
    if not found and (ask.service, ask.operation) not in FREE and not _is_empty_batch(ask):
        raise AwsError(
            "AccessDenied", f"The embedded AWS has no permission rule for {ask.service}:{ask.operation}.", 403
        )
    return found


def _is_empty_batch(ask: Ask) -> bool:
    return (ask.service, ask.operation) == ("s3", "DeleteObjects") and not ask.params["Delete"]["Objects"]


__all__ = ["FREE", "RULES", "Ask", "Need", "needs", "tags_in"]
