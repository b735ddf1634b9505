"""What CreateTrainingJob refuses before a job exists: AWS's own checks, and what the embedded AWS does not do.

What has no observable meaning here (VPC, keys, volume size, encryption between hosts) is taken, kept and described.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..engines import channels
from ..engines.channels import DataError
from ..engines.container import ML
from ..engines.metrics import compiled
from ..engines.training import TABLE
from ..engines.training_host import CHECKPOINTS, has_toolkit
from ..engines.transitions import RUNNING
from ..errors import AwsError, NotImplementedHere, refuse
from ..gateway import Params, Request
from ..objects import S3Uri
from .not_done import member, refuse_not_done

MAX_INSTANCES = 20
LONGEST_RUN = 28 * 86_400
PRINCIPAL = "sagemaker.amazonaws.com"
REGISTRY = re.compile(r"(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?|public\.ecr\.aws/[a-z0-9-]+)/.+")
PYTORCH = re.compile(r".*/pytorch(-training)?(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})?")
RUNS = "It runs the SageMaker PyTorch training images, …/pytorch:… and …/pytorch-training:…, on this machine's Python."

# Members that change what a job does or answers, and are not done here; each with what to do instead.
NOT_DONE: dict[str, str] = {
    "AlgorithmSpecification.AlgorithmName": RUNS,
    "ResourceConfig.InstanceGroups": "Give one InstanceType and InstanceCount.",
    "ResourceConfig.InstancePreferences": "Give one InstanceType and InstanceCount.",
    "ResourceConfig.InstancePlacementConfig": "",
    "ResourceConfig.SelectedInstanceType": "",
    "ResourceConfig.SelectedInstanceCount": "",
    "ResourceConfig.TrainingPlanArn": "",
    "ResourceConfig.KeepAlivePeriodInSeconds": "There are no warm pools: a job starts in seconds anyway.",
    "EnableNetworkIsolation": "A job's processes have this machine's network.",
    "RetryStrategy": "A job is tried once.",
    "DebugRuleConfigurations": "No rule would be evaluated.",
    "ProfilerRuleConfigurations": "No rule would be evaluated.",
    "TensorBoardOutputConfig": "Write to /opt/ml/output/data, which is uploaded at the end.",
    "ExperimentConfig": "",
    "RemoteDebugConfig.EnableRemoteDebug": "The job's processes are on this machine: attach to them directly.",
    "SessionChainingConfig.EnableSessionTagChaining": "",
    "ServerlessJobConfig": "",
    "MlflowConfig": "",
    "ModelPackageConfig": "",
}
NOT_DONE_IN_CHANNEL: dict[str, str] = {
    "DataSource.FileSystemDataSource": "Put the data into S3.",
    "DataSource.DatasetSource": "Put the data into S3.",
    "DataSource.S3DataSource.AttributeNames": "They belong to augmented manifests.",
    "DataSource.S3DataSource.InstanceGroupNames": "There are no instance groups.",
    "DataSource.S3DataSource.ModelAccessConfig": "",
    "DataSource.S3DataSource.HubAccessConfig": "",
    "ShuffleConfig": "Shuffle in the training script.",
}


def check(request: Request, params: Params, parallel: int = 1) -> None:
    """Raise what AWS raises, or :class:`NotImplementedHere`, for the first thing that is wrong.

    ``parallel`` is how many such jobs are to run at once: a tuning job's trials.
    """
    refuse_not_done(params, NOT_DONE, "CreateTrainingJob")
    if params.get("ProfilerConfig") and not params["ProfilerConfig"].get("DisableProfiler"):
        raise NotImplementedHere("CreateTrainingJob with a ProfilerConfig", "Set its DisableProfiler.")
    _check_image(params)
    _check_resources(params)
    _check_times(params)
    _check_role(request, params)
    _check_metrics(params["AlgorithmSpecification"].get("MetricDefinitions", []))
    _check_output(request, params)
    _check_checkpoints(request, params)
    _check_channels(request, params)
    _check_quota(request, params, parallel)


def _check_image(params: Params) -> None:
    algorithm = params["AlgorithmSpecification"]
    image = algorithm.get("TrainingImage")
    if not image:
        refuse("ValidationException", "Either AlgorithmName or TrainingImage is required in AlgorithmSpecification.")
    if not REGISTRY.fullmatch(image):
        refuse(
            "ValidationException",
            f"Invalid image URI {image}. Please provide a valid Amazon Elastic Container Registry path of the Docker "
            "image to run.",
        )
    if not PYTORCH.fullmatch(image):
        raise NotImplementedHere(f"the training image {image}", RUNS)
    if not algorithm.get("ContainerEntrypoint") and not has_toolkit():
        raise NotImplementedHere(
            "a training job without ContainerEntrypoint in this installation",
            "Such a job is run by its image's 'train' command, which needs the sagemaker-training toolkit: install the "
            "Python package sagemaker-training, or give an entry point, as the SageMaker SDK's ModelTrainer does.",
        )


def _check_resources(params: Params) -> None:
    resources = params.get("ResourceConfig") or {}
    for name in ("InstanceType", "InstanceCount"):
        if not resources.get(name):
            refuse("ValidationException", f"ResourceConfig.{name} is required and must not be empty or 0.")
    count = resources["InstanceCount"]
    if count > MAX_INSTANCES:
        refuse(
            "ResourceLimitExceeded",
            f"The account-level service limit 'Maximum number of instances per training job' is {MAX_INSTANCES} "
            f"Instances, with current utilization of 0 Instances and a request delta of {count} Instances. Please use "
            "AWS Service Quotas to request an increase for this quota.",
        )


def _check_quota(request: Request, params: Params, parallel: int) -> None:
    """Instances of this type that train already, on demand or on spot, and these."""
    kind, spot = params["ResourceConfig"]["InstanceType"], bool(params.get("EnableManagedSpotTraining"))
    used = sum(
        job["ResourceConfig"]["InstanceCount"]
        for job in request.cloud.store.table(TABLE).list(request.region)
        if job["TrainingJobStatus"] in RUNNING
        and job["ResourceConfig"]["InstanceType"] == kind
        and bool(job.get("EnableManagedSpotTraining")) == spot
    )
    use, wanted = "spot training job" if spot else "training job", params["ResourceConfig"]["InstanceCount"] * parallel
    request.cloud.quotas.check_instances(request.region, kind, use, wanted, used)


def _check_times(params: Params) -> None:
    times, spot = params.get("StoppingCondition") or {}, params.get("EnableManagedSpotTraining")
    runtime, wait = times.get("MaxRuntimeInSeconds", 86_400), times.get("MaxWaitTimeInSeconds")
    if runtime > LONGEST_RUN:
        refuse("ValidationException", f"Invalid MaxRuntimeInSeconds. It must be at most {LONGEST_RUN} (28 days).")
    if wait is not None and not spot:
        refuse(
            "ValidationException",
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true",
        )
    if spot and (wait is None or wait < runtime):
        refuse(
            "ValidationException",
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds when "
            "EnableManagedSpotTraining is set to true",
        )


def _check_role(request: Request, params: Params) -> None:
    role, arn = params["RoleArn"], request.arn("sagemaker", f"training-job/{params['TrainingJobName']}")
    if request.cloud.credentials.check_trust(role, PRINCIPAL, arn):
        refuse(
            "ValidationException",
            f"Could not assume role {role}. Please ensure that the role exists and allows principal '{PRINCIPAL}' to "
            "assume the role.",
        )


def _check_metrics(definitions: list[dict[str, str]]) -> None:
    names = [definition["Name"] for definition in definitions]
    for definition in definitions:
        if names.count(definition["Name"]) > 1:
            refuse("ValidationException", f"Metric name '{definition['Name']}' is defined more than once.")
        try:
            compiled(definition)
        except ValueError as error:
            refuse(
                "ValidationException",
                f"Invalid regex '{definition['Regex']}' of metric '{definition['Name']}': {error}.",
            )


def _check_output(request: Request, params: Params) -> None:
    _check_bucket(request, params["OutputDataConfig"]["S3OutputPath"])


def _check_checkpoints(request: Request, params: Params) -> None:
    config = params.get("CheckpointConfig")
    if not config:
        return
    _check_bucket(request, config["S3Uri"])
    path = config.get("LocalPath", CHECKPOINTS)
    if not path.startswith(f"{ML}/") or ".." in path.split("/"):
        refuse("ValidationException", f"Invalid CheckpointConfig.LocalPath '{path}'. It must lie below {ML}/.")


def _check_bucket(request: Request, uri: str) -> None:
    bucket = S3Uri.parse(uri).bucket
    if not request.cloud.objects.bucket_exists(bucket):
        refuse(
            "ValidationException",
            f"Could not access S3 bucket {bucket} ({uri}). Please ensure that the bucket exists in the selected region "
            f"({request.region}).",
        )


def _check_channels(request: Request, params: Params) -> None:
    names = [channel["ChannelName"] for channel in params.get("InputDataConfig", [])]
    for channel in params.get("InputDataConfig", []):
        if names.count(channel["ChannelName"]) > 1:
            refuse("ValidationException", f"Channel name '{channel['ChannelName']}' is given more than once.")
        _check_channel(channel, params["AlgorithmSpecification"]["TrainingInputMode"])
        _check_objects(request, params, channel["DataSource"]["S3DataSource"])


def _check_channel(channel: Params, mode: str) -> None:
    where = f"the channel '{channel['ChannelName']}'"
    refuse_not_done(channel, NOT_DONE_IN_CHANNEL, where)
    for use in _unsupported_uses(channel, mode):
        raise NotImplementedHere(f"{where} with {use}", "Use a File or FastFile channel of whole S3 objects.")
    if "S3DataSource" not in channel["DataSource"]:
        refuse("ValidationException", f"The data source of {where} names no data.")
    if channel["DataSource"]["S3DataSource"]["S3DataType"] == "Converse":
        raise NotImplementedHere(f"{where} with S3DataType Converse")


def _unsupported_uses(channel: Params, mode: str) -> Iterator[str]:
    if channel.get("InputMode", mode) == "Pipe":
        yield "input mode Pipe"
    if member(channel, "DataSource.S3DataSource.S3DataType") == "AugmentedManifestFile":
        yield "S3DataType AugmentedManifestFile"
    if channel.get("CompressionType", "None") != "None":
        yield "CompressionType Gzip, which belongs to Pipe mode"
    if channel.get("RecordWrapperType", "None") != "None":
        yield "RecordWrapperType RecordIO, which belongs to Pipe mode"


def _check_objects(request: Request, params: Params, source: Params) -> None:
    try:
        found = channels.find(request.cloud.objects_of(params["RoleArn"]), source)
    except DataError:
        return  # keys that cannot be files, a broken manifest: AWS sees them only when the job downloads them
    except AwsError as error:
        if error.code != "AccessDenied":
            raise
        found = []  # what the role may not list, AWS does not find either
    if not found:
        refuse("ValidationException", channels.nothing_found(source["S3Uri"], request.region, params["RoleArn"]))
