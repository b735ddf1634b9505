"""A SageMaker notebook instance to run the series from: its lifecycle scripts, its creation, its end.

https://docs.aws.amazon.com/sagemaker/latest/dg/nbi.html
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from .access import Permission
from .settings import ROOT

if TYPE_CHECKING:
    from .cloud import Cloud

INSTANCE_TYPE = "ml.t3.medium"
PLATFORM = "notebook-al2023-v1"
# AWS's default is 5 GB; the environment alone takes 2.5, the real photos and their zip file 3.
VOLUME_GB = 50
MAX_SCRIPT = 16_384
EVERY_5_SECONDS = {"Delay": 5, "MaxAttempts": 240}

# Both run as root, whatever RootAccess says, and must end within five minutes.
ON_CREATE = """#!/bin/bash
# Once, when the instance is created: the series' environment, on the volume that outlives a stop.
set -e
home=/home/ec2-user/SageMaker
cat > $home/environment.yml <<'ENVIRONMENT'
{environment}
ENVIRONMENT
chown ec2-user:ec2-user $home/environment.yml
# Longer than the five minutes that a lifecycle script has, so it goes on by itself.
nohup sudo -u ec2-user -i bash -c "conda env create -y -p $home/.envs/{name} -f $home/environment.yml && \\
  $home/.envs/{name}/bin/python -m ipykernel install --user --name {name}" < /dev/null > $home/environment.log 2>&1 &
"""
ON_START = """#!/bin/bash
# At every start: what is not on the volume is gone after a stop.
set -e
dnf install -y unzip
home=/home/ec2-user/SageMaker
python=$home/.envs/{name}/bin/python
# What draws this environment's progress bars, for the instance's own JupyterLab, which need not have it.
extensions=/home/ec2-user/.local/share/jupyter/labextensions
sudo -u ec2-user mkdir -p $extensions
sudo -u ec2-user ln -sfn $home/.envs/{name}/share/jupyter/labextensions/@jupyter-widgets $extensions/@jupyter-widgets
if [ -x $python ]; then
  sudo -u ec2-user -i $python -m ipykernel install --user --name {name}
fi
cat > /usr/local/bin/stop-when-idle <<'PYTHON'
{stop_when_idle}
PYTHON
chmod 755 /usr/local/bin/stop-when-idle
systemd-run --unit=stop-when-idle --on-active=10min --on-unit-active=5min /usr/local/bin/stop-when-idle
"""
# Standard library only, for the system's Python. An instance that cannot be asked is left running.
STOP_WHEN_IDLE = """#!/usr/bin/python3
import datetime, json, ssl, subprocess, urllib.request

def ask(path):
    context = ssl._create_unverified_context()
    return json.load(urllib.request.urlopen("https://localhost:8443/api/" + path, context=context, timeout=30))

def minutes_since(text):
    then = datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    return (datetime.datetime.utcnow() - then).total_seconds() / 60

kernels = ask("kernels")
busy = any(kernel["execution_state"] == "busy" for kernel in kernels)
last = min(minutes_since(one["last_activity"]) for one in [ask("status"), *kernels])
if not busy and last > {idle_minutes}:
    name = json.load(open("/opt/ml/metadata/resource-metadata.json"))["ResourceName"]
    subprocess.run(["aws", "sagemaker", "stop-notebook-instance", "--notebook-instance-name", name], check=True)
"""


class NotebookInstanceFailed(RuntimeError):
    """A notebook instance did not come up; the message has AWS's reason."""


def name_of(cloud: Cloud) -> str:
    """The project's notebook instance, and its lifecycle configuration."""
    return f"{cloud.settings.project}-notebook"


def scripts(environment: str, name: str, idle_minutes: int = 60) -> dict[str, str]:
    """The lifecycle scripts ``OnCreate`` and ``OnStart``, as text.

    ``environment`` is a conda environment file, ``name`` the kernel's. After ``idle_minutes`` without a busy kernel or
    anybody at Jupyter, the instance stops itself. Raises ``ValueError`` for scripts that are longer than AWS takes.
    """
    stop_when_idle = STOP_WHEN_IDLE.format(idle_minutes=int(idle_minutes)).strip()
    rendered = {
        "OnCreate": ON_CREATE.format(environment=environment.strip(), name=name),
        "OnStart": ON_START.format(stop_when_idle=stop_when_idle, name=name),
    }
    for hook, script in rendered.items():
        if len(_encoded(script)) > MAX_SCRIPT:
            raise ValueError(f"the {hook} script has more than {MAX_SCRIPT} characters in base64: shorten it")
    return rendered


def permissions(cloud: Cloud) -> list[Permission]:
    """What the instance's role needs for the instance's own sake: to stop itself, and to keep its log."""
    instance = f"arn:aws:sagemaker:{cloud.region}:{cloud.account}:notebook-instance/{name_of(cloud)}"
    logs = f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:/aws/sagemaker/NotebookInstances:*"
    return [
        Permission(("sagemaker:StopNotebookInstance",), (instance,), "stop itself when nobody uses it"),
        Permission(
            ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"), (logs,), "keep the scripts' log"
        ),
    ]


def ensure_notebook_instance(
    cloud: Cloud,
    role: str,
    *,
    instance_type: str = INSTANCE_TYPE,
    volume_gb: int = VOLUME_GB,
    idle_minutes: int = 60,
    repository: str = "",
    environment: Path = ROOT / "environment.yml",
) -> dict[str, Any]:
    """The project's notebook instance, in service: made, or started where it is stopped. Returns its description.

    ``role`` is an ARN, for an account without the role of :mod:`helpers.notebook_role`; ``repository`` the address of
    a git repository to clone. Only with a token may its metadata be read (IMDSv2), and nobody is root in its notebooks.
    Raises :class:`NotebookInstanceFailed`.
    """
    sagemaker, name = cloud.client("sagemaker"), name_of(cloud)
    _ensure_lifecycle(cloud, scripts(environment.read_text(), cloud.settings.project, idle_minutes))
    wanted = {
        "InstanceType": instance_type,
        "RoleArn": _own_role(cloud) or role,
        "VolumeSizeInGB": volume_gb,
        "LifecycleConfigName": name,
        "RootAccess": "Disabled",
        "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "2"},
        **({"DefaultCodeRepository": repository} if repository else {}),
    }
    status = _status(cloud, name)
    if status == "Deleting":
        _wait(cloud, name, "notebook_instance_deleted")
        status = None
    if status is None:
        sagemaker.create_notebook_instance(
            NotebookInstanceName=name,
            PlatformIdentifier=PLATFORM,
            DirectInternetAccess="Enabled",
            Tags=cloud.tags,
            **wanted,
        )
    elif status in ("Stopped", "Stopping", "Failed"):
        _update(cloud, name, status, wanted)
        sagemaker.start_notebook_instance(NotebookInstanceName=name)
    _wait(cloud, name, "notebook_instance_in_service")
    found: dict[str, Any] = sagemaker.describe_notebook_instance(NotebookInstanceName=name)
    return found


def address(cloud: Cloud, seconds: int = 3600) -> str:
    """An address that opens the instance's Jupyter for a browser, without AWS's console, for some seconds."""
    answer = cloud.client("sagemaker").create_presigned_notebook_instance_url(
        NotebookInstanceName=name_of(cloud), SessionExpirationDurationInSeconds=seconds
    )
    return str(answer["AuthorizedUrl"])


def stop_notebook_instance(cloud: Cloud, name: str) -> None:
    """Stop an instance and wait for it; one that is stopped already, or failed, is left as it is."""
    if _status(cloud, name) in ("Pending", "Updating"):
        _wait(cloud, name, "notebook_instance_in_service")
    if _status(cloud, name) == "InService":
        cloud.client("sagemaker").stop_notebook_instance(NotebookInstanceName=name)
    if _status(cloud, name) == "Stopping":
        _wait(cloud, name, "notebook_instance_stopped")


def delete_notebook_instance(cloud: Cloud, name: str) -> bool:
    """Stop and delete an instance and its volume, and wait until it is gone; False where there was none."""
    if _status(cloud, name) is None:
        return False
    if _status(cloud, name) != "Deleting":
        stop_notebook_instance(cloud, name)
        cloud.client("sagemaker").delete_notebook_instance(NotebookInstanceName=name)
    _wait(cloud, name, "notebook_instance_deleted")
    return True


def delete_lifecycle_config(cloud: Cloud, name: str) -> bool:
    """Delete a lifecycle configuration; False where there was none."""
    try:
        cloud.client("sagemaker").delete_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name)
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        return False
    return True


# ---- details ----


def _own_role(cloud: Cloud) -> str:
    """The role that an administrator has made for the notebooks, by its name; "" where there is none."""
    iam = cloud.client("iam")
    try:
        return str(iam.get_role(RoleName=name_of(cloud))["Role"]["Arn"])
    except iam.exceptions.NoSuchEntityException:
        return ""


def _ensure_lifecycle(cloud: Cloud, rendered: dict[str, str]) -> None:
    sagemaker, name = cloud.client("sagemaker"), name_of(cloud)
    hooks: dict[str, Any] = {hook: [{"Content": _encoded(script)}] for hook, script in rendered.items()}
    try:
        sagemaker.update_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName=name, **hooks)
    except ClientError as error:
        if "does not exist" not in error.response["Error"]["Message"]:
            raise
        sagemaker.create_notebook_instance_lifecycle_config(
            NotebookInstanceLifecycleConfigName=name, Tags=cloud.tags, **hooks
        )


def _update(cloud: Cloud, name: str, status: str, wanted: dict[str, Any]) -> None:
    """Bring a stopped instance to what is wanted; its volume never becomes smaller."""
    sagemaker = cloud.client("sagemaker")
    if status == "Stopping":
        _wait(cloud, name, "notebook_instance_stopped")
    present = sagemaker.describe_notebook_instance(NotebookInstanceName=name)
    present["LifecycleConfigName"] = present.get("NotebookInstanceLifecycleConfigName")
    size = max(present["VolumeSizeInGB"], wanted["VolumeSizeInGB"])
    differs = {key: value for key, value in {**wanted, "VolumeSizeInGB": size}.items() if present.get(key) != value}
    if differs:
        sagemaker.update_notebook_instance(NotebookInstanceName=name, **differs)
        _wait(cloud, name, "notebook_instance_stopped")


def _status(cloud: Cloud, name: str) -> str | None:
    try:
        found = cloud.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name)
    except ClientError as error:
        if "RecordNotFound" in error.response["Error"]["Message"]:
            return None
        raise
    return str(found["NotebookInstanceStatus"])


def _wait(cloud: Cloud, name: str, until: str) -> None:
    sagemaker = cloud.client("sagemaker")
    try:
        sagemaker.get_waiter(until).wait(NotebookInstanceName=name, WaiterConfig=EVERY_5_SECONDS)
    except WaiterError as error:
        reason = (error.last_response or {}).get("FailureReason") or str(error)
        raise NotebookInstanceFailed(f"notebook instance {name}: {reason}") from error


def _encoded(script: str) -> str:
    return base64.b64encode(script.encode()).decode()
