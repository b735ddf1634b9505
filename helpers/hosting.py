"""Endpoints: put a trained model's archive behind one, ask it, take it down.

Model and endpoint configuration are named after what they hold (``<endpoint>-<8 hex digits>``): the same deployment has
the same names, so deploying twice changes nothing, and another model gets names of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from .cloud import Cloud
from .interrupts import interruptible

VARIANT = "AllTraffic"
TAIL_LINES = 20
SAY_AGAIN_SECONDS = 30.0
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.5, 10.0


class DeploymentFailed(RuntimeError):
    """The endpoint did not come into service; the message has the reason and the end of its log."""


def serving_image(region: str, instance_type: str) -> str:
    """The URI of AWS's current image for PyTorch inference (Ray Serve), for a processor or a GPU as the type has."""
    from sagemaker.core import image_uris

    return str(image_uris.retrieve("ray-serve", region=region, instance_type=instance_type))


def deploy(
    cloud: Cloud,
    name: str,
    model_data: str,
    role: str,
    image: str,
    instance_type: str,
    instance_count: int = 1,
    environment: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Have an endpoint ``name`` that serves ``model_data`` (``s3://…/model.tar.gz``); returns its description.

    Nothing happens where it does so already. One that serves something else is updated, and goes on answering
    meanwhile; where the new instances do not start it stays as it was. One that has failed is deleted and made anew.
    Waits until it is in service. Raises :class:`DeploymentFailed` or ``ClientError``.
    """
    wanted = _Deployment(model_data, role, image, instance_type, instance_count, environment or {})
    with interruptible(lambda: _interrupted(cloud, name)):
        return _deployed(cloud, name, wanted, tags or cloud.settings.tags)


def _deployed(cloud: Cloud, name: str, wanted: _Deployment, tags: dict[str, str]) -> dict[str, Any]:
    version, existing = wanted.version(name), _settled(cloud, name)
    if existing and (existing["EndpointStatus"], existing["EndpointConfigName"]) == ("InService", version):
        print(f"{name}: in service already")
        return existing
    # First what is checked at once: a wrong address or role must not cost the endpoint that serves.
    _create_version(cloud, version, wanted, tags)
    if existing and existing["EndpointStatus"] == "InService":
        print(f"{name}: serves something else; updating it")
        update = cloud.client("sagemaker").update_endpoint
        once_settled(cloud, name, partial(update, EndpointName=name, EndpointConfigName=version))
    else:
        if existing:
            print(f"{name}: has failed; replacing it")
            delete_endpoint(cloud, name)
        _create_endpoint(cloud, name, version, tags)
    settled = _settled(cloud, name) or {}
    if (settled.get("EndpointStatus"), settled.get("EndpointConfigName")) != ("InService", version):
        reason = settled.get("FailureReason", "it was changed or deleted meanwhile")
        raise DeploymentFailed(f"{name} does not serve this: {reason}\n" + "\n".join(log_tail(cloud, name)))
    _delete_versions(cloud, name, but=version)
    return settled


def _interrupted(cloud: Cloud, name: str) -> str:
    """What has become of an endpoint whose deployment was interrupted: AWS deletes none that is on its way."""
    there = describe(cloud, name)
    if there is None:
        return f"There is no endpoint {name}: nothing bills."
    return (
        f"Endpoint {name} is {there['EndpointStatus']}, and bills until it is deleted: deploy again to wait for it, "
        f"or end it with hosting.delete(aws, {name!r})."
    )


def predict(cloud: Cloud, endpoint_name: str, photo: Path | bytes, content_type: str = "image/jpeg") -> dict[str, Any]:
    """Send one photo to an endpoint; returns the JSON it answers. Raises ``ClientError``, such as ``ModelError``."""
    body = photo if isinstance(photo, bytes) else photo.read_bytes()
    answer = cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint_name, Body=body, ContentType=content_type, Accept="application/json"
    )
    prediction: dict[str, Any] = json.loads(answer["Body"].read())
    return prediction


def delete(cloud: Cloud, name: str) -> None:
    """Delete an endpoint, and the configurations and models that :func:`deploy` made for it; waits until all is gone.

    What is gone already is no error.
    """
    delete_endpoint(cloud, name)
    _delete_versions(cloud, name)


def delete_endpoint(cloud: Cloud, name: str) -> None:
    """Delete an endpoint, but not what it was made from; waits until it is gone. What is gone already is no error."""
    while _settled(cloud, name) is not None:
        try:
            cloud.client("sagemaker").delete_endpoint(EndpointName=name)
        except ClientError as error:
            if "in-progress" not in str(error):  # it is scaled automatically, just now
                raise


def describe(cloud: Cloud, name: str) -> dict[str, Any] | None:
    """The endpoint's description, or None where there is none."""
    try:
        answer: dict[str, Any] = cloud.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error):
            return None
        raise
    return answer


def log_tail(cloud: Cloud, name: str, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of the instance of the endpoint that has logged last; empty where none has."""
    logs, group = cloud.client("logs"), f"/aws/sagemaker/Endpoints/{name}"
    try:
        streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
    except logs.exceptions.ResourceNotFoundException:
        return []
    for stream in streams["logStreams"]:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], limit=lines)["events"]
        return [str(event["message"]) for event in events]
    return []


# ---- making ----


@dataclass(frozen=True)
class _Deployment:
    model_data: str
    role: str
    image: str
    instance_type: str
    instance_count: int
    environment: dict[str, str]

    def version(self, endpoint: str) -> str:
        """What the model and the configuration are called."""
        content = json.dumps(asdict(self), sort_keys=True)
        return f"{endpoint}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _create_version(cloud: Cloud, version: str, wanted: _Deployment, tags: dict[str, str]) -> None:
    from sagemaker.core import resources, shapes

    container = shapes.ContainerDefinition(
        image=wanted.image, model_data_url=wanted.model_data, environment=wanted.environment
    )
    variant = shapes.ProductionVariant(
        variant_name=VARIANT,
        model_name=version,
        instance_type=wanted.instance_type,
        initial_instance_count=wanted.instance_count,
        initial_variant_weight=1.0,
    )
    model = {"model_name": version, "primary_container": container, "execution_role_arn": wanted.role}
    config = {"endpoint_config_name": version, "production_variants": [variant]}
    _unless_there(resources.Model.create, **model, **_common(cloud, tags))
    _unless_there(resources.EndpointConfig.create, **config, **_common(cloud, tags))


def _create_endpoint(cloud: Cloud, name: str, version: str, tags: dict[str, str]) -> None:
    from sagemaker.core import resources

    resources.Endpoint.create(endpoint_name=name, endpoint_config_name=version, **_common(cloud, tags))


def once_settled(cloud: Cloud, name: str, change: Callable[[], object]) -> None:
    """Make a change to an endpoint when no other is in progress; nothing where there is no endpoint.

    Where automatic scaling begins to act just before, the change waits for that too. Raises ``ClientError``.
    """
    while _settled(cloud, name) is not None:
        try:
            change()
            return
        except ClientError as error:
            if "in-progress" not in str(error):
                raise


def _common(cloud: Cloud, tags: dict[str, str]) -> dict[str, Any]:
    from sagemaker.core import shapes

    marks = [shapes.Tag(key=key, value=value) for key, value in tags.items()]
    return {"tags": marks, "session": cloud.session, "region": cloud.region}


def _unless_there(create: Any, **members: Any) -> None:
    """Create; one of this name is the same one, since the name says what it holds."""
    try:
        create(**members)
    except ClientError as error:
        if "already existing" not in str(error):
            raise


def _delete_versions(cloud: Cloud, name: str, but: str = "") -> None:
    sagemaker = cloud.client("sagemaker")
    for config in _versions(cloud, name, "list_endpoint_configs", "EndpointConfig"):
        if config != but:
            sagemaker.delete_endpoint_config(EndpointConfigName=config)
    for model in _versions(cloud, name, "list_models", "Model"):
        if model != but:
            sagemaker.delete_model(ModelName=model)


def _versions(cloud: Cloud, name: str, operation: str, kind: str) -> Iterator[str]:
    pages = cloud.client("sagemaker").get_paginator(operation).paginate(NameContains=f"{name}-")
    found = [one[f"{kind}Name"] for page in pages for one in page[f"{kind}s"]]
    return (one for one in found if re.fullmatch(f"{re.escape(name)}-[0-9a-f]{{8}}", one))


# ---- waiting ----


def _settled(cloud: Cloud, name: str) -> dict[str, Any] | None:
    """The endpoint when nothing is in progress any more, or None; prints what it waits for."""
    started = said_at = time.monotonic()
    said, pause = "", SHORTEST_POLL_SECONDS
    while True:
        seen = describe(cloud, name)
        status = seen["EndpointStatus"] if seen else "gone"
        in_progress = status.endswith("ing") or status == "RollingBack"
        now = time.monotonic()
        if (in_progress or said) and (status != said or now - said_at > SAY_AGAIN_SECONDS):
            print(f"{name}: {status} ({now - started:.0f} s)", flush=True)
            said, said_at = status, now
        if not in_progress:
            return seen
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
