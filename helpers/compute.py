"""Training on an EC2 instance of one's own: launch, follow, collect, terminate.

The instance runs the same train.py as a SageMaker job, and everything that SageMaker does around it is done here and in
user_data.sh: fetching, limiting the time, saving, and ending the bill. Results lie in the project's bucket below
``ec2/<instance id>/``: ``training.log``, ``output/model.tar.gz``, ``output/output.tar.gz`` and, last, ``status.json``.
They outlive the instance, which AWS shows for about an hour after its end.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from .access import Permission, ensure_role
from .archives import unpack_tar
from .cloud import Cloud
from .interrupts import interruptible
from .progress import note
from .user_data import manual_commands, render

PREFIX = "ec2"
INSTANCE_TYPE = "c5.large"
ENDED = ("stopped", "terminated")
TAIL = 20  # log lines that a failure quotes
LEAST_BILLED = 60  # seconds
LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
DEEP_LEARNING = "/aws/service/deeplearning/ami/x86_64"
# The families that the Deep Learning AMI is made for: they have GPUs. c5 is not among them.
DEEP_LEARNING_FAMILIES = ("g4dn", "g5", "g6", "gr6", "g6e", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200")
ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) GMT\)")
NOT_SHIPPED = ("__pycache__", ".ipynb_checkpoints")


class InstanceFailed(RuntimeError):
    """A training instance ended without success; the message has the reason and the end of the log."""


# ---- what an instance needs ----


def name_of(cloud: Cloud) -> str:
    """What instances, their role, instance profile and security group are called."""
    return f"{cloud.settings.project}-ec2"


def latest_ami(cloud: Cloud, instance_type: str) -> dict[str, str]:
    """The newest image that suits an instance type, as ``id`` and ``name``: with PyTorch in it where AWS supports that.

    AWS publishes the ids as parameters, since they differ by region and change with every release.
    """
    ssm, parameter = cloud.client("ssm"), LINUX
    if instance_type.split(".", maxsplit=1)[0] in DEEP_LEARNING_FAMILIES:
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=DEEP_LEARNING, Recursive=True)
        names = [one["Name"] for page in pages for one in page["Parameters"]]
        parameter = newest_pytorch(names) or LINUX
    identifier = str(ssm.get_parameter(Name=parameter)["Parameter"]["Value"])
    image = cloud.client("ec2").describe_images(ImageIds=[identifier])["Images"][0]
    return {"id": identifier, "name": image["Name"], "root_device": image["RootDeviceName"]}


def newest_pytorch(parameters: list[str]) -> str | None:
    """Of SSM parameter names, that of the Deep Learning AMI (Ubuntu 24.04) with the newest PyTorch."""
    pattern = re.compile(r".*/oss-nvidia-driver-gpu-pytorch-(\d+)\.(\d+)-ubuntu-24\.04/latest/ami-id")
    found = [(int(match[1]), int(match[2]), name) for name in parameters if (match := pattern.fullmatch(name))]
    return max(found)[2] if found else None


def instance_permissions(cloud: Cloud) -> list[Permission]:
    """What a training instance needs: to read its inputs, to write its results, and to be reached without SSH."""
    bucket = f"arn:aws:s3:::{cloud.bucket}"
    channels = "CreateControlChannel CreateDataChannel OpenControlChannel OpenDataChannel".split()
    messages = "AcknowledgeMessage DeleteMessage FailMessage GetEndpoint GetMessages SendReply".split()
    return [
        Permission(("s3:ListBucket",), (bucket,), "find the photos"),
        Permission(
            ("s3:GetObject",),
            (f"{bucket}/data/*", f"{bucket}/weights/*", f"{bucket}/{PREFIX}/code/*"),
            "read photos, weights and code",
        ),
        Permission(("s3:PutObject",), (f"{bucket}/{PREFIX}/*",), "write log, model and report"),
        # Systems Manager's actions for an agent know no resources.
        Permission(
            (
                "ssm:UpdateInstanceInformation",
                *(f"ssmmessages:{name}" for name in channels),
                *(f"ec2messages:{name}" for name in messages),
            ),
            ("*",),
            "take commands through Systems Manager: no open port, no key",
        ),
    ]


def ensure_instance_profile(cloud: Cloud) -> str:
    """The instance profile, with the role of training instances in it; its name."""
    name, iam = name_of(cloud), cloud.client("iam")
    ensure_role(cloud, name, "ec2.amazonaws.com", instance_permissions(cloud))
    try:
        iam.create_instance_profile(InstanceProfileName=name, Tags=_tags(cloud))
        iam.get_waiter("instance_profile_exists").wait(InstanceProfileName=name)
    except iam.exceptions.EntityAlreadyExistsException:
        pass
    if not iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def ensure_security_group(cloud: Cloud) -> str:
    """A security group of the default VPC into which nothing comes; its id. Raises ``LookupError`` without that VPC."""
    ec2, name = cloud.client("ec2"), name_of(cloud)
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        raise LookupError(f"{cloud.region} has no default VPC; make one with: aws ec2 create-default-vpc")
    wanted = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpcs[0]["VpcId"]]}]
    found = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
    if found:
        return str(found[0]["GroupId"])
    made = ec2.create_security_group(
        GroupName=name,
        Description="Training instances: nothing comes in",
        VpcId=vpcs[0]["VpcId"],
        TagSpecifications=[{"ResourceType": "security-group", "Tags": _tags(cloud)}],
    )
    return str(made["GroupId"])


def stage_code(cloud: Cloud, source_dir: Path) -> str:
    """Pack a folder of code, upload it unless that very code is there, and return its address."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(source_dir.rglob("*")):
            if path.is_file() and not any(part in NOT_SHIPPED for part in path.relative_to(source_dir).parts):
                tar.add(path, path.relative_to(source_dir).as_posix(), filter=_anonymous)
    key = f"{PREFIX}/code/{hashlib.sha256(packed.getvalue()).hexdigest()[:16]}.tar.gz"
    s3 = cloud.client("s3")
    if not s3.list_objects_v2(Bucket=cloud.bucket, Prefix=key).get("KeyCount"):
        s3.put_object(Bucket=cloud.bucket, Key=key, Body=gzip.compress(packed.getvalue(), mtime=0))
    return cloud.s3_uri(key)


# ---- launching ----


def user_data(
    cloud: Cloud,
    *,
    source_dir: Path,
    data_uri: str,
    hyperparameters: Mapping[str, Any],
    weights_uri: str | None = None,
    max_runtime: int = 3600,
) -> str:
    """The script that an instance of :func:`launch` runs at its first boot; raises ``ValueError`` if it is too long."""
    return render(
        region=cloud.region,
        results=cloud.s3_uri(PREFIX),
        code=stage_code(cloud, source_dir),
        data=data_uri,
        weights=weights_uri,
        hyperparameters=hyperparameters,
        max_runtime=max_runtime,
    )


def launch(
    cloud: Cloud,
    *,
    source_dir: Path,
    data_uri: str,
    hyperparameters: Mapping[str, Any],
    weights_uri: str | None = None,
    instance_type: str | None = None,
    max_runtime: int = 3600,
    volume_gib: int = 30,
    spot: bool = False,
    client_token: str | None = None,
) -> str:
    """Launch an instance that trains, saves its results to S3 and terminates itself; its id.

    ``max_runtime`` is in seconds. A call repeated with the same ``client_token`` (by default: none) launches nothing
    new. Raises ``ValueError`` for user data that is too long, ``ClientError`` for what AWS would not take.
    """
    kind = instance_type or INSTANCE_TYPE
    image = latest_ami(cloud, kind)
    script = user_data(
        cloud,
        source_dir=source_dir,
        data_uri=data_uri,
        hyperparameters=hyperparameters,
        weights_uri=weights_uri,
        max_runtime=max_runtime,
    )
    disk = {"VolumeSize": volume_gib, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    request = {
        "ImageId": image["id"],
        "InstanceType": kind,
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": script,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "IamInstanceProfile": {"Name": ensure_instance_profile(cloud)},
        "SecurityGroupIds": [ensure_security_group(cloud)],
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
        "BlockDeviceMappings": [{"DeviceName": image["root_device"], "Ebs": disk}],
        "TagSpecifications": [{"ResourceType": what, "Tags": _tags(cloud)} for what in ("instance", "volume")],
        "ClientToken": client_token or str(uuid.uuid4()),
        **({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
    }
    return str(_run(cloud, request)["Instances"][0]["InstanceId"])


def _run(cloud: Cloud, request: dict[str, Any], patience: float = 60.0) -> dict[str, Any]:
    """RunInstances; EC2 needs a while to learn of an instance profile that IAM has just made."""
    until = time.monotonic() + patience
    while True:
        try:
            return dict(cloud.client("ec2").run_instances(**request))
        except ClientError as error:
            if "iamInstanceProfile" not in error.response["Error"]["Message"] or time.monotonic() > until:
                raise
        time.sleep(2)


def commands(
    cloud: Cloud,
    *,
    source_dir: Path,
    data_uri: str,
    hyperparameters: Mapping[str, Any],
    weights_uri: str | None = None,
) -> list[str]:
    """What a person types on an instance to do by hand what :func:`launch` does by user data."""
    return manual_commands(
        code=stage_code(cloud, source_dir),
        data=data_uri,
        weights=weights_uri,
        hyperparameters=hyperparameters,
        results=cloud.s3_uri(PREFIX, "by-hand"),
    )


# ---- following ----


def follow(cloud: Cloud, instance: str, every: float = 5.0, show: str = ".") -> dict[str, Any]:
    """Follow an instance to its end, looking every so many seconds; returns its status (see :func:`status`).

    Tells its states and those lines of its log that ``show`` (a regular expression) is found in; the log comes by way
    of S3, ten seconds late. Raises :class:`InstanceFailed`. An interrupt terminates the instance, since it would go on
    billing until its time limit.
    """
    log, told, pattern = _Log(cloud, instance), "", re.compile(show)
    with interruptible(lambda: _interrupted(cloud, instance)):
        while True:
            state = describe(cloud, instance)["State"]["Name"]
            if state != told:
                note(f"{datetime.now(UTC):%H:%M:%S} {instance}: {state}")
                told = state
            for line in log.new():
                if pattern.search(line):
                    note(f"{instance} | {line}")
            if state in ENDED:
                return _successful(cloud, instance)
            time.sleep(every)


def _interrupted(cloud: Cloud, instance: str) -> str:
    terminate(cloud, instance)
    return f"Instance {instance} is being terminated, since it would go on billing. Launch another one to train anew."


def describe(cloud: Cloud, instance: str) -> dict[str, Any]:
    """DescribeInstances' answer for one; waits where AWS does not know a just launched instance yet."""
    ec2 = cloud.client("ec2")
    ec2.get_waiter("instance_exists").wait(InstanceIds=[instance])
    found: dict[str, Any] = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    return found


def status(cloud: Cloud, instance: str) -> dict[str, Any] | None:
    """How the training ended: ``status`` (Completed, Failed, Stopped), ``exit_code``, ``started`` and ``finished``.

    The instance writes it last of all; None where it has not, or could not. Times are seconds since 1970.
    """
    content = _object(cloud, f"{PREFIX}/{instance}/status.json")
    return None if content is None else dict(json.loads(content))


def read_log(cloud: Cloud, instance: str) -> list[str]:
    """Every line of the training log that has reached S3."""
    return _Log(cloud, instance).new()


def _successful(cloud: Cloud, instance: str) -> dict[str, Any]:
    told = status(cloud, instance)
    if told and told["status"] != "Failed":
        return told
    found = describe(cloud, instance)
    reason = found.get("StateReason", {}).get("Message") or "AWS gives no reason"
    what = (
        f"failed with exit code {told['exit_code']}" if told else f"left no status ({found['State']['Name']}: {reason})"
    )
    end = "\n".join(f"  {line}" for line in read_log(cloud, instance)[-TAIL:])
    where = cloud.s3_uri(PREFIX, instance, "training.log")
    raise InstanceFailed(
        f"Training on {instance} {what}.\n"
        + (
            f"The log ({where}) ends with:\n{end}"
            if end
            else "It has no log; aws ec2 get-console-output may know more."
        )
    )


# ---- afterwards ----


def collect(cloud: Cloud, instance: str, into: Path) -> Path:
    """Fetch what an instance made: ``into/model`` (deployable as it is) and ``into/output`` (the report); ``into``.

    Raises ``LookupError`` where there is none.
    """
    for name in ("model", "output"):
        _unpack(cloud, f"{PREFIX}/{instance}/output/{name}.tar.gz", into / name)
    return into


def model_uri(cloud: Cloud, instance: str) -> str:
    """Where the instance's model.tar.gz lies, with the layout of a SageMaker job's artefact."""
    return cloud.s3_uri(PREFIX, instance, "output", "model.tar.gz")


def summary(cloud: Cloud, instance: str) -> dict[str, Any]:
    """What an instance was, how long it lived and what of it is billed, in seconds.

    EC2 bills by the second from running to terminated, a minute at least. Where AWS does not say when an instance
    ended (it does for those that were terminated from outside), the training's own end is taken.
    """
    found, told = describe(cloud, instance), status(cloud, instance)
    seconds = max(0.0, (_ended(found, told) - found["LaunchTime"]).total_seconds())
    return {
        "instance": instance,
        "state": found["State"]["Name"],
        "status": told["status"] if told else None,
        "exit_code": told["exit_code"] if told else None,
        "instance_type": found["InstanceType"],
        "instance_count": 1,
        "spot": found.get("InstanceLifecycle") == "spot",
        "wall_seconds": seconds,
        "training_seconds": told["finished"] - told["started"] if told else 0,
        "billable_seconds": max(LEAST_BILLED, round(seconds)),
        "model": model_uri(cloud, instance) if told and told["exit_code"] == 0 else None,
    }


def _ended(found: Mapping[str, Any], told: Mapping[str, Any] | None) -> datetime:
    if found["State"]["Name"] not in ENDED:
        return datetime.now(UTC)
    said = ENDED_AT.search(found.get("StateTransitionReason") or "")
    if said:
        return datetime.fromisoformat(f"{said[1]}+00:00")
    launched: datetime = found["LaunchTime"]
    return max(launched, datetime.fromtimestamp(told["finished"], UTC)) if told else launched


def instances(cloud: Cloud) -> list[str]:
    """The project's instances that still exist, newest first."""
    wanted = [{"Name": f"tag:{key}", "Values": [value]} for key, value in cloud.settings.tags.items()]
    living = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    pages = cloud.client("ec2").get_paginator("describe_instances").paginate(Filters=wanted + living)
    found = [one for page in pages for each in page["Reservations"] for one in each["Instances"]]
    return [str(one["InstanceId"]) for one in sorted(found, key=lambda one: one["LaunchTime"], reverse=True)]


def latest(cloud: Cloud) -> str:
    """The instance whose training completed last; raises ``LookupError`` where there is none."""
    pages = cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=cloud.bucket, Prefix=f"{PREFIX}/i-")
    listed = [one for page in pages for one in page.get("Contents", []) if one["Key"].endswith("/status.json")]
    for one in sorted(listed, key=lambda one: one["LastModified"], reverse=True):
        instance = str(one["Key"].split("/")[1])
        told = status(cloud, instance)
        if told and told["exit_code"] == 0:
            return instance
    raise LookupError("no EC2 training has completed; run the notebook that trains on EC2 first")


# ---- ending ----


def terminate(cloud: Cloud, instance: str) -> None:
    """End an instance and wait until it is gone; what has ended already is left as it is."""
    ec2 = cloud.client("ec2")
    ec2.terminate_instances(InstanceIds=[instance])
    waiter = ec2.get_waiter("instance_terminated")
    waiter.wait(InstanceIds=[instance], WaiterConfig={"Delay": 2, "MaxAttempts": 300})


# ---- details ----


class _Log:
    """Reads what is new in the log that an instance ships to S3: whole lines only."""

    def __init__(self, cloud: Cloud, instance: str) -> None:
        self._cloud, self._key, self._read = cloud, f"{PREFIX}/{instance}/training.log", 0

    def new(self) -> list[str]:
        """The lines since the last call."""
        content = (_object(self._cloud, self._key) or b"")[self._read :]
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace").splitlines()


def _object(cloud: Cloud, key: str) -> bytes | None:
    s3 = cloud.client("s3")
    try:
        content: bytes = s3.get_object(Bucket=cloud.bucket, Key=key)["Body"].read()
    except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket):
        return None
    return content


def _unpack(cloud: Cloud, key: str, into: Path) -> None:
    """``into`` holds afterwards what the archive holds, and nothing else; no member can leave it."""
    content = _object(cloud, key)
    if content is None:
        raise LookupError(f"s3://{cloud.bucket}/{key} is not there: the training wrote nothing of the kind")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as part:
        unpack_tar(io.BytesIO(content), Path(part))
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(part, into)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without times and owners: the same code packs into the same bytes."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _tags(cloud: Cloud) -> list[dict[str, str]]:
    return [*cloud.tags, {"Key": "Name", "Value": name_of(cloud)}]
