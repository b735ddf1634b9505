"""The role of whoever runs the notebooks: what the series calls, on what the series makes, and nothing else.

It is for an administrator to make, once: ``python -m helpers.notebook_role --target aws``. A notebook instance that
notebook 01 makes afterwards runs under it; without it, under the training jobs' role, which may start nothing. Who has
it can give the project's other roles what he likes, since he writes
their policies: an organisation that minds sets a permissions boundary on them.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from . import access, notebook_instance
from .access import Permission
from .budgets import budget_name
from .cloud import Cloud, CloudError, connect
from .compute import name_of as instance_name
from .notebook_instance import name_of as notebook_name
from .settings import Settings, SettingsError

SERVICE = "sagemaker.amazonaws.com"
POLICY_CHARACTERS = 6_144  # of a managed policy; a role takes ten
SCALING = "application-autoscaling"


def permissions(cloud: Cloud) -> list[Permission]:
    """All of them; ``*`` is a resource only where AWS knows no other for the action."""
    return [
        *_storage(cloud),
        *_learning(cloud),
        *_roles(cloud),
        *_functions(cloud),
        *_machines(cloud),
        *_observing(cloud),
        *_money(cloud),
    ]


def must_not(cloud: Cloud) -> list[tuple[str, str]]:
    """What the notebooks' role must never be able to do, as actions and resources."""
    everywhere, iam = f"{cloud.region}:{cloud.account}", f"arn:aws:iam::{cloud.account}"
    return [
        ("iam:CreateUser", f"{iam}:user/intruder"),
        ("iam:CreateRole", f"{iam}:role/intruder"),
        ("iam:AttachRolePolicy", f"{iam}:role/{cloud.settings.sagemaker_role_name}"),
        ("iam:PutRolePolicy", f"{iam}:role/{cloud.settings.project}-notebook"),
        ("iam:PassRole", f"{iam}:role/administrator"),
        ("sts:AssumeRole", f"{iam}:role/{cloud.settings.sagemaker_role_name}"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses-bucket/secret"),
        ("s3:PutBucketPolicy", f"arn:aws:s3:::{cloud.bucket}"),
        ("sagemaker:DeleteEndpoint", f"arn:aws:sagemaker:{everywhere}:endpoint/somebody-elses"),
        ("sagemaker:CreateTrainingJob", f"arn:aws:sagemaker:{everywhere}:training-job/somebody-elses"),
        ("lambda:UpdateFunctionCode", f"arn:aws:lambda:{everywhere}:function:somebody-elses"),
        ("ec2:TerminateInstances", f"arn:aws:ec2:{everywhere}:instance/i-0123456789abcdef0"),
        ("budgets:ModifyBudget", f"arn:aws:budgets::{cloud.account}:budget/somebody-elses"),
    ]


def _may(service: str, actions: str, *resources: str, why: str, condition: dict[str, Any] | None = None) -> Permission:
    return Permission(tuple(f"{service}:{one}" for one in actions.split()), resources, why, condition)


def _storage(cloud: Cloud) -> list[Permission]:
    bucket = f"arn:aws:s3:::{cloud.bucket}"
    on_bucket = (
        "CreateBucket DeleteBucket ListBucket ListBucketVersions ListBucketMultipartUploads GetBucketLocation "
        "GetBucketVersioning GetBucketTagging PutBucketTagging GetBucketPublicAccessBlock PutBucketPublicAccessBlock"
    )
    on_objects = "GetObject PutObject DeleteObject DeleteObjectVersion AbortMultipartUpload"
    return [
        _may("s3", on_bucket, bucket, why="make, list and delete the project's bucket"),
        _may("s3", on_objects, f"{bucket}/*", why="stage photos and code, fetch models"),
    ]


def _learning(cloud: Cloud) -> list[Permission]:
    here, project = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}", cloud.settings.project
    endpoint = f"{here}:endpoint/{cloud.settings.endpoint_name}"
    notebook = f"{here}:notebook-instance/{notebook_name(cloud)}"
    scripts = f"{here}:notebook-instance-lifecycle-config/{notebook_name(cloud)}"
    tuning = f"{here}:hyper-parameter-tuning-job/{cloud.settings.tuning_job_name}-*"
    config, model = f"{here}:endpoint-config/{project}-*", f"{here}:model/{project}-*"
    jobs = "CreateTrainingJob DescribeTrainingJob StopTrainingJob DeleteTrainingJob"
    searches = (
        "CreateHyperParameterTuningJob DescribeHyperParameterTuningJob StopHyperParameterTuningJob "
        "DeleteHyperParameterTuningJob ListTrainingJobsForHyperParameterTuningJob"
    )
    endpoints = "DescribeEndpoint DeleteEndpoint InvokeEndpoint UpdateEndpointWeightsAndCapacities"
    configs = "CreateEndpointConfig DescribeEndpointConfig DeleteEndpointConfig"
    notebooks = "Create Describe Update Start Stop Delete".split()
    on_notebook = [f"{verb}NotebookInstance" for verb in notebooks] + ["CreatePresignedNotebookInstanceUrl"]
    on_scripts = [f"{verb}NotebookInstanceLifecycleConfig" for verb in ("Create", "Describe", "Update", "Delete")]
    lists = "ListTrainingJobs ListHyperParameterTuningJobs ListModels ListEndpointConfigs ListEndpoints"
    tagged = (f"{here}:training-job/{project}-*", tuning, endpoint, config, model, notebook, scripts)
    return [
        _may("sagemaker", jobs, f"{here}:training-job/{project}-*", why="train"),
        _may("sagemaker", searches, tuning, why="search hyperparameters"),
        _may("sagemaker", "CreateEndpoint UpdateEndpoint", endpoint, config, why="deploy"),
        _may("sagemaker", endpoints, endpoint, why="watch, ask and delete the endpoint"),
        _may("sagemaker", configs, config, why="say what the endpoint runs on"),
        _may("sagemaker", "CreateModel DescribeModel DeleteModel", model, why="say what the endpoint serves"),
        _may("sagemaker", " ".join(on_notebook), notebook, why="have a notebook instance"),
        _may("sagemaker", " ".join(on_scripts), scripts, why="prepare it, and stop it when it is idle"),
        _may("sagemaker", "AddTags ListTags", *tagged, why="tag all of it with the project"),
        _may("sagemaker", f"{lists} ListNotebookInstanceLifecycleConfigs", "*", why="find it again"),
    ]


def _roles(cloud: Cloud) -> list[Permission]:
    iam, settings = f"arn:aws:iam::{cloud.account}", cloud.settings
    sagemaker, function = f"{iam}:role/{settings.sagemaker_role_name}", f"{iam}:role/{settings.function_role_name}"
    instance, profile = f"{iam}:role/{instance_name(cloud)}", f"{iam}:instance-profile/{instance_name(cloud)}"
    linked = f"{iam}:role/aws-service-role/sagemaker.{SCALING}.amazonaws.com/*"
    roles = (
        "CreateRole GetRole DeleteRole TagRole ListRoleTags UpdateAssumeRolePolicy PutRolePolicy GetRolePolicy "
        "DeleteRolePolicy ListRolePolicies ListAttachedRolePolicies DetachRolePolicy SimulatePrincipalPolicy "
        "GenerateServiceLastAccessedDetails"
    )
    profiles = (
        "CreateInstanceProfile TagInstanceProfile GetInstanceProfile AddRoleToInstanceProfile "
        "RemoveRoleFromInstanceProfile DeleteInstanceProfile"
    )
    passed = ((sagemaker, "sagemaker"), (function, "lambda"), (instance, "ec2"))
    return [
        _may("iam", roles, sagemaker, function, instance, why="make and check the project's three roles"),
        _may("iam", "GetRole", f"{iam}:role/{notebook_name(cloud)}", why="see that the notebooks have a role"),
        *(
            _may("iam", "PassRole", role, why=f"hand it to {service}, and to nobody else", condition=_only_to(service))
            for role, service in passed
        ),
        _may("iam", profiles, profile, why="give an instance its role"),
        _may("iam", "ListRoles ListInstanceProfiles", "*", why="find the project's"),
        _may("iam", "SimulateCustomPolicy GetServiceLastAccessedDetails", "*", why="check and audit permissions"),
        _may("iam", "GetPolicy GetPolicyVersion", "arn:aws:iam::aws:policy/*", why="read AWS's own policies"),
        _may("iam", "CreateServiceLinkedRole", linked, why="let AWS scale the endpoint"),
    ]


def _only_to(service: str) -> dict[str, Any]:
    return {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}


def _functions(cloud: Cloud) -> list[Permission]:
    name = f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:{cloud.settings.function_name}"
    actions = (
        "CreateFunction GetFunction GetFunctionConfiguration UpdateFunctionCode UpdateFunctionConfiguration "
        "DeleteFunction PublishVersion CreateAlias GetAlias UpdateAlias InvokeFunction GetFunctionConcurrency "
        "PutFunctionConcurrency DeleteFunctionConcurrency ListProvisionedConcurrencyConfigs TagResource ListTags"
    )
    provisioned = " ".join(f"{verb}ProvisionedConcurrencyConfig" for verb in ("Get", "Put", "Delete"))
    return [
        _may("lambda", actions, name, why="deploy, call and limit the function"),
        _may("lambda", f"InvokeFunction GetFunction {provisioned}", f"{name}:*", why="call and warm its versions"),
        _may("lambda", "GetAccountSettings", "*", why="see the account's limits"),
    ]


def _machines(cloud: Cloud) -> list[Permission]:
    here = f"arn:aws:ec2:{cloud.region}:{cloud.account}"
    own, kinds = {"StringEquals": {"aws:ResourceTag/project": cloud.settings.project}}, ("instance", "volume")
    asked = {"StringEquals": {"aws:RequestTag/project": cloud.settings.project}}
    creating = {"StringEquals": {"ec2:CreateAction": ["RunInstances", "CreateSecurityGroup"]}}
    describes = "Instances InstanceTypes Images Volumes SecurityGroups Subnets Vpcs SpotPriceHistory".split()
    groups, vpcs = f"{here}:security-group/*", f"{here}:vpc/*"
    used = (f"{here}:subnet/*", groups, f"{here}:network-interface/*", f"arn:aws:ec2:{cloud.region}::image/*")
    return [
        _may("ec2", " ".join(f"Describe{one}" for one in describes), "*", why="find images, networks and instances"),
        _may("ec2", "RunInstances", *(f"{here}:{kind}/*" for kind in kinds), why="start tagged ones", condition=asked),
        _may("ec2", "RunInstances", *used, why="with an image, in a network"),
        _may("ec2", "CreateSecurityGroup", groups, why="a tagged group to start them in", condition=asked),
        _may("ec2", "CreateSecurityGroup", vpcs, why="in a network"),
        _may(
            "ec2",
            "CreateTags",
            *(f"{here}:{kind}/*" for kind in (*kinds, "security-group")),
            why="tag them when they are made, and only then",
            condition=creating,
        ),
        _may("ec2", "TerminateInstances", f"{here}:instance/*", why="end the project's", condition=own),
        _may("ec2", "DeleteSecurityGroup", groups, why="delete the project's", condition=own),
        _may(
            "ssm",
            "GetParameter GetParametersByPath",
            f"arn:aws:ssm:{cloud.region}::parameter/aws/service/*",
            why="find AWS's newest image",
        ),
    ]


def _observing(cloud: Cloud) -> list[Permission]:
    here, settings = f"{cloud.region}:{cloud.account}", cloud.settings
    logs, alarms = f"arn:aws:logs:{here}:log-group", f"arn:aws:cloudwatch:{here}:alarm"
    groups = (f"{logs}:/aws/sagemaker/*", f"{logs}:/aws/lambda/{settings.function_name}:*")
    target = f"arn:aws:{SCALING}:{here}:scalable-target/*"
    scale = "RegisterScalableTarget DeregisterScalableTarget PutScalingPolicy DeleteScalingPolicy"
    seen = "DescribeScalableTargets DescribeScalingPolicies DescribeScalingActivities"
    scaled = f"{alarms}:TargetTracking-endpoint/{settings.endpoint_name}/*"
    return [
        _may("logs", "DescribeLogGroups", "*", why="find the logs that services keep"),
        _may("logs", "DescribeLogStreams GetLogEvents FilterLogEvents", *groups, why="follow them"),
        _may("logs", "DeleteLogGroup DeleteLogStream", *groups, why="delete them"),
        _may("cloudwatch", "GetMetricData GetMetricStatistics ListMetrics", "*", why="draw metrics"),
        _may("cloudwatch", "DescribeAlarms", f"{alarms}:*", why="watch the scaling's alarms"),
        _may("cloudwatch", "PutMetricAlarm DeleteAlarms", scaled, why="scaling keeps its alarms"),
        _may(SCALING, scale, target, why="scale the endpoint"),
        _may(SCALING, seen, "*", why="see what scaling did"),
    ]


def _money(cloud: Cloud) -> list[Permission]:
    budget = f"arn:aws:budgets::{cloud.account}:budget"
    own = f"{budget}/{budget_name(cloud)}"
    return [
        _may("pricing", "GetProducts", "*", why="read the price list"),
        _may("servicequotas", "ListServiceQuotas", "*", why="see that a run fits the quotas"),
        _may("tag", "GetResources", "*", why="find everything of the project"),
        _may("budgets", "ModifyBudget TagResource", own, why="keep the project's budget"),
        _may("budgets", "ViewBudget", f"{budget}/*", why="find it"),
    ]


# ---- the role itself ----


def documents(cloud: Cloud) -> list[str]:
    """The permissions as managed policies: a role's inline policies may not have as many characters together."""
    found: list[list[Permission]] = [[]]
    for one in permissions(cloud):
        if _characters(access.document([*found[-1], one])) > POLICY_CHARACTERS:
            found.append([])
        found[-1].append(one)
    return [access.document(part) for part in found]


def _characters(policy: str) -> int:
    """As IAM counts them: white space is free."""
    return len("".join(policy.split()))


def ensure(cloud: Cloud) -> str:
    """The role of a notebook instance that runs the series; its ARN. Raises ``ClientError`` where the caller may not.

    It is the administrator's, and not of the project's tag: teardown, which may run under it, leaves it.
    """
    iam, name = cloud.client("iam"), notebook_name(cloud)
    tags = [{"Key": "notebooks-of", "Value": cloud.settings.project}]
    arn = access.ensure_role(cloud, name, SERVICE, notebook_instance.permissions(cloud), tags)
    _delete_policies(cloud)
    for number, policy in enumerate(documents(cloud), 1):
        made = iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=policy, Tags=tags)
        iam.attach_role_policy(RoleName=name, PolicyArn=made["Policy"]["Arn"])
    return arn


def delete(cloud: Cloud) -> bool:
    """Delete the role and its policies; False where there was none."""
    role = cloud.session.resource("iam").Role(notebook_name(cloud))
    try:
        _delete_policies(cloud)
        for policy in role.policies.all():
            policy.delete()
        role.delete()
    except cloud.client("iam").exceptions.NoSuchEntityException:
        return False
    return True


def _delete_policies(cloud: Cloud) -> None:
    for policy in cloud.session.resource("iam").Role(notebook_name(cloud)).attached_policies.all():
        policy.detach_role(RoleName=notebook_name(cloud))
        if f"::{cloud.account}:policy/{notebook_name(cloud)}-" in policy.arn:
            policy.delete()


def main(arguments: list[str] | None = None) -> int:
    """Make or delete the role; 0 if that was done, 2 for a bad setting or no identity."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.notebook_role", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--project", default="dog-breeds", help="prefix of every name (default: %(default)s)")
    parser.add_argument("--target", default="local", choices=("local", "aws"), help="default: %(default)s")
    parser.add_argument("--region", default="us-east-1", help="default: %(default)s")
    parser.add_argument("--delete", action="store_true", help="delete the role instead")
    options = vars(parser.parse_args(arguments))
    remove = options.pop("delete")
    try:
        cloud = connect(Settings.of(**options))
    except (SettingsError, CloudError) as error:
        print(error, file=sys.stderr)
        return 2
    if remove:
        print("deleted" if delete(cloud) else "there was none")
    else:
        print(ensure(cloud))
    return 0


if __name__ == "__main__":
    sys.exit(main())
