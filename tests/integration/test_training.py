"""Training jobs execute: the contract of /opt/ml, logs, metrics, artefacts, endings."""

import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import LocalAws
from tests.training_jobs import BUCKET, LOGS, Gate, Jobs, channel, processes_of, statuses


@pytest.fixture(scope="module")
def jobs(aws: LocalAws) -> Jobs:
    return Jobs(aws)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


CONTRACT = """
import json, os, pathlib
ml = pathlib.Path("/opt/ml")
config = {path.stem: json.loads(path.read_text()) for path in (ml / "input/config").iterdir()}
data = {str(path.relative_to(ml)): path.read_text() for path in (ml / "input/data/train").rglob("*") if path.is_file()}
json.dump({"config": config, "data": data, "env": dict(os.environ)}, open("/opt/ml/model/seen.json", "w"))
(ml / "output/data/report.txt").write_text("fine")
print("a line\\n\\nafter an empty one")
"""


def test_a_job_runs_by_the_contract_and_describes_everything_it_was_given(jobs):
    jobs.put("photos/train/a.txt", "A")
    jobs.put("photos/train/deep/b.txt", "B")
    jobs.put("photos/train/", "")  # what a console makes of a "folder"
    more = {
        "HyperParameters": {"epochs": "2", "where": "/opt/ml/model"},
        "Environment": {"FOO": 'it\'s "quoted"', "CHECKPOINTS": "/opt/ml/checkpoints"},
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        "Tags": [{"Key": "project", "Value": "dogs"}],
    }
    began = datetime.now(UTC) - timedelta(seconds=1)
    job = jobs.end(jobs.start(CONTRACT, {"train": f"s3://{BUCKET}/photos/train"}, **more))

    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    times = [(one["StartTime"], one["EndTime"]) for one in job["SecondaryStatusTransitions"]]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(times))
    assert began < job["CreationTime"] <= job["TrainingStartTime"] < job["TrainingEndTime"] == job["LastModifiedTime"]
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] >= 1
    assert (
        job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/{job['TrainingJobName']}/output/model.tar.gz"
    )
    assert {name: job[name] for name in more if name != "Tags"} == {n: v for n, v in more.items() if n != "Tags"}
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 300}
    assert not job["EnableManagedSpotTraining"]
    assert "Tags" not in job
    assert "CheckpointConfig" not in job

    seen = json.loads(jobs.model(job)["seen.json"])
    assert seen["data"] == {"input/data/train/a.txt": "A", "input/data/train/deep/b.txt": "B"}
    assert seen["config"]["resourceconfig"]["hosts"] == ["algo-1"]
    assert seen["config"]["resourceconfig"]["current_instance_type"] == "ml.c5.2xlarge"
    assert seen["config"]["inputdataconfig"]["train"]["TrainingInputMode"] == "File"
    assert seen["config"]["hyperparameters"]["epochs"] == "2"
    # What the script saw were this machine's paths; what it left reads as it would on AWS.
    assert seen["config"]["hyperparameters"]["where"] == "/opt/ml/model"
    assert seen["env"]["CHECKPOINTS"] == "/opt/ml/checkpoints"
    assert seen["env"]["FOO"] == 'it\'s "quoted"'
    assert seen["env"]["TRAINING_JOB_NAME"] == job["TrainingJobName"]
    assert seen["env"]["TRAINING_JOB_ARN"] == job["TrainingJobArn"]
    assert not Path(seen["env"]["HOME"]).parent.exists(), "the job's folder is left behind"

    output = f"s3://{BUCKET}/out/{job['TrainingJobName']}/output/output.tar.gz"
    assert jobs.archive(output) == {"report.txt": "fine"}
    first, *lines = jobs.lines(job["TrainingJobName"])
    assert first.startswith("[localaws] algo-1: ")
    assert lines == ["a line", " ", "after an empty one"]
    assert not processes_of(job["TrainingJobName"])


def test_a_job_has_its_roles_credentials_and_no_administrators_key(jobs, gate):
    script = f"""
import boto3, os
print(boto3.client("sts").get_caller_identity()["Arn"], flush=True)
{gate.script}
"""
    name = jobs.start(script)
    gate.wait()
    key, secret = jobs.aws.environment["AWS_ACCESS_KEY_ID"], jobs.aws.environment["AWS_SECRET_ACCESS_KEY"]
    children = [(Path("/proc") / str(pid) / "environ").read_bytes() for pid in processes_of(name)]
    assert children
    for environment in children:
        assert key.encode() not in environment
        assert secret.encode() not in environment
        assert b"AWS_ACCESS_KEY_ID=" not in environment
        assert b"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1" in environment
    gate.open()
    jobs.end(name)
    assert f"arn:aws:sts::{jobs.role.split(':')[4]}:assumed-role/training-tests/SageMaker" in jobs.lines(name)


def test_logs_and_metrics_can_be_read_while_the_job_runs(jobs, gate):
    definitions = [{"Name": "loss", "Regex": r"loss=([0-9.]+)"}, {"Name": "never", "Regex": "(never)"}]
    request = jobs.request(f"print('loss=0.5 loss=9', flush=True)\n{gate.script}\nprint('loss=0.25')")
    request["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    jobs.sagemaker.create_training_job(**request)
    name = request["TrainingJobName"]
    gate.wait()
    while "loss=0.5 loss=9" not in jobs.lines(name):
        time.sleep(0.1)
    assert jobs.sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Training"
    gate.open()
    job = jobs.end(name)
    assert [(one["MetricName"], one["Value"]) for one in job["FinalMetricDataList"]] == [("loss", 0.25)]
    assert job["AlgorithmSpecification"]["MetricDefinitions"] == definitions
    points = jobs.cloudwatch.get_metric_statistics(
        Namespace=LOGS,
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": name}],
        StartTime=datetime.now(UTC) - timedelta(minutes=10),
        EndTime=datetime.now(UTC) + timedelta(minutes=1),
        Period=3600,
        Statistics=["Minimum", "Maximum"],
    )["Datapoints"]
    assert min(point["Minimum"] for point in points) == 0.25
    assert max(point["Maximum"] for point in points) == 0.5


HOSTS = """
import json, os, pathlib
config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
names = sorted(path.name for path in pathlib.Path("/opt/ml/input/data/train").iterdir())
me = config["current_host"]
json.dump([names, config["hosts"], os.environ["OMP_NUM_THREADS"]], open(f"/opt/ml/model/{me}.json", "w"))
open("/opt/ml/model/both", "w").write(me)
"""


def test_shards_go_to_hosts_whose_models_are_merged(jobs):
    for number in range(5):
        jobs.put(f"shards/part-{number}")
    request = jobs.request(HOSTS, instances=2)
    request["InputDataConfig"].append(channel("train", f"s3://{BUCKET}/shards/", distribution="ShardedByS3Key"))
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    model = jobs.model(job)
    shards = [set(json.loads(model[f"algo-{rank}.json"])[0]) for rank in (1, 2)]
    assert sorted(map(len, shards)) == [2, 3]
    assert shards[0] | shards[1] == {f"part-{number}" for number in range(5)}
    assert json.loads(model["algo-2.json"])[1] == ["algo-1", "algo-2"]
    assert model["both"] == "algo-1"
    lines = jobs.lines(job["TrainingJobName"])
    assert lines[0].endswith("cores for each of 2 instances")
    assert lines[0].split()[2] == json.loads(model["algo-1.json"])[2]
    assert lines[-1] == "[localaws] model/both was written by algo-1 and by algo-2; algo-1's is kept"
    assert len(jobs.lines(job["TrainingJobName"], host=2)) == 1


def test_hosts_share_one_copy_of_the_data_which_is_read_only(jobs, gate):
    jobs.put("big/file", "data")
    script = f"import os\nprint(os.stat('/opt/ml/input/data/train/file'), flush=True)\n{gate.script}"
    name = jobs.start(script, {"train": f"s3://{BUCKET}/big/file"})
    gate.wait()
    file = next(jobs.aws.state.glob("jobs/*/algo-1/opt/ml/input/data/train/file"))
    assert file.stat().st_nlink == 2
    assert file.stat().st_mode & 0o222 == 0
    gate.open()
    assert jobs.end(name)["TrainingJobStatus"] == "Completed"


def test_fast_file_channels_and_manifests(jobs):
    jobs.put("listed/a/1.txt", "one")
    jobs.put("listed/b.txt", "two")
    jobs.put("listed/not.txt", "three")
    manifest = jobs.put("my.manifest", json.dumps([{"prefix": f"s3://{BUCKET}/listed/"}, "a/1.txt", "b.txt"]))
    request = jobs.request(CONTRACT)
    request["InputDataConfig"].append({**channel("train", manifest, "ManifestFile"), "InputMode": "FastFile"})
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["InputDataConfig"][1]["InputMode"] == "FastFile"
    seen = json.loads(jobs.model(job)["seen.json"])
    assert seen["data"] == {"input/data/train/a/1.txt": "one", "input/data/train/b.txt": "two"}
    assert seen["config"]["inputdataconfig"]["train"]["TrainingInputMode"] == "File"


def test_output_that_is_not_compressed(jobs):
    script = (
        "import os\nos.makedirs('/opt/ml/model/sub')\nopen('/opt/ml/model/sub/w', 'w').write('weights')\n"
        "open('/opt/ml/output/data/r', 'w').write('report')"
    )
    job = jobs.run(script, OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/plain", "CompressionType": "NONE"})
    base = f"plain/{job['TrainingJobName']}/output"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/{base}/model/"
    keys = [one["Key"] for one in jobs.s3.list_objects_v2(Bucket=BUCKET, Prefix=base)["Contents"]]
    assert keys == [f"{base}/data/r", f"{base}/model/sub/w"]


def test_a_job_that_writes_no_model_has_no_artefacts(jobs):
    assert "ModelArtifacts" not in jobs.run("print('nothing')")


def test_hosts_know_each_other_by_their_names(jobs, tmp_path):
    script = f"""
import json, os, socket, time
config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
if config["current_host"] == "algo-1":
    server = socket.create_server(("127.0.0.1", 0))
    open({str(tmp_path / "part")!r}, "w").write(str(server.getsockname()[1]))
    os.rename({str(tmp_path / "part")!r}, {str(tmp_path / "port")!r})
    client, _ = server.accept()
    print(client.recv(100).decode())
else:
    while not os.path.exists({str(tmp_path / "port")!r}):
        time.sleep(0.05)
    client = socket.create_connection(("algo-1", int(open({str(tmp_path / "port")!r}).read())))
    client.sendall(socket.gethostbyname("algo-2").encode())
"""
    request = jobs.request(script, instances=2)
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed"
    assert jobs.lines(job["TrainingJobName"])[1:] == ["127.0.0.1"]


# ---- failures ----


def test_the_failure_file_is_the_reason(jobs):
    script = "open('/opt/ml/output/failure', 'w').write('x' * 2000)\nopen('/opt/ml/model/m', 'w')\nraise SystemExit(3)"
    job = jobs.run(script)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == f"AlgorithmError: {'x' * 1024}, exit code: 3"
    assert statuses(job)[-2:] == ["Uploading", "Failed"]


def test_without_one_the_reason_ends_with_the_log_and_names_the_contracts_paths(jobs):
    job = jobs.run("print('before')\nopen('/opt/ml/input/data/missing')")
    assert job["FailureReason"].startswith("AlgorithmError: the log ends with: ")
    assert "No such file or directory: '/opt/ml/input/data/missing'" in job["FailureReason"]
    assert job["FailureReason"].endswith(", exit code: 1")
    assert str(jobs.aws.state) not in job["FailureReason"] + "".join(jobs.lines(job["TrainingJobName"]))


def test_a_killed_process_has_a_container_engines_exit_code(jobs):
    job = jobs.run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert job["FailureReason"].endswith("exit code: 137")


def test_an_entry_point_that_cannot_be_run(jobs):
    request = jobs.request("")
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["no-such-program"]
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert "no-such-program: No such file or directory" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 127")


def test_one_failing_host_ends_the_others(jobs):
    script = """
import json, signal
if json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"] == "algo-2":
    open("/opt/ml/output/failure", "w").write("only here")
    raise SystemExit(5)
signal.pause()
"""
    request = jobs.request(script, instances=2)
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["FailureReason"] == "AlgorithmError: only here, exit code: 5"
    assert not processes_of(job["TrainingJobName"])


def test_what_a_script_leaves_running_ends_with_it(jobs):
    script = "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\nprint('left one')"
    job = jobs.run(script)
    assert job["TrainingJobStatus"] == "Completed"
    assert jobs.lines(job["TrainingJobName"])[-1] == "left one"
    assert not processes_of(job["TrainingJobName"])


def test_an_output_bucket_that_goes_while_the_job_runs(jobs, gate):
    jobs.s3.create_bucket(Bucket="short-lived")
    script = f"open('/opt/ml/model/m', 'w').write('x')\n{gate.script}"
    name = jobs.start(script, OutputDataConfig={"S3OutputPath": "s3://short-lived/"})
    gate.wait()
    jobs.s3.delete_bucket(Bucket="short-lived")
    gate.open()
    job = jobs.end(name)
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:")
    assert not list(jobs.aws.state.glob("jobs/*"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["odd//key"], "illegal char sub-sequence '//'"),
        (["../up"], "'..'"),
        (["a/../../up"], "'..'"),
        (["/etc/passwd"], "'//'"),
        (["./here"], "'.'"),
        (["cut\0here"], "'\0'"),
        (["x" * 300], "too long"),
        (["a", "a/b"], "below another key"),
    ],
)
def test_keys_that_cannot_be_files_fail_the_job(jobs, keys, said):
    prefix = f"odd-{abs(hash(tuple(keys)))}"
    for key in keys:
        jobs.put(f"{prefix}/{key}", "x")
    job = jobs.end(jobs.start("", {"train": f"s3://{BUCKET}/{prefix}/"}))
    assert job["FailureReason"].startswith("ClientError: Data download failed:")
    assert said in job["FailureReason"]
    assert statuses(job) == ["Starting", "Downloading", "Failed"]


def test_an_engines_own_failure_is_told_as_such(jobs, gate):
    """The state folder's disk cannot be filled in a test; a job folder that cannot be written is as good."""
    script = f"open('/opt/ml/model/m', 'w').write('x')\n{gate.script}"
    name = jobs.start(script)
    gate.wait()
    written = next(jobs.aws.state.glob("jobs/*/algo-1/opt/ml/model/m"))
    (written.parents[4] / "model.tar.gz").mkdir()
    gate.open()
    job = jobs.end(name)
    assert job["FailureReason"].startswith("InternalServerError: IsADirectoryError")
    assert not processes_of(name)
    assert not list(jobs.aws.state.glob("jobs/*"))


# ---- stopping ----

# As the SDK's: it does not pass signals on, and the script writes into a pipe that ends with it.
DRIVER = """
import subprocess, sys
script = subprocess.Popen([sys.executable, "/opt/ml/input/data/code/train.py"], stdout=subprocess.PIPE, text=True)
for line in script.stdout:
    print(line, end="", flush=True)
print("driver:", script.wait())
"""


def test_a_stopped_job_gets_sigterm_and_time_to_write_what_is_then_uploaded(jobs, gate):
    script = f"""
import signal, sys
def stop(*_):
    print("saving", flush=True)
    open("/opt/ml/model/half", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
{gate.arrive}
signal.pause()
"""
    request = jobs.request(script)
    jobs.put(f"code/{request['TrainingJobName']}/driver.py", DRIVER)
    command = ["bash", "-c", "python3 /opt/ml/input/data/code/driver.py; true"]
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = command
    jobs.sagemaker.create_training_job(**request)
    name = request["TrainingJobName"]
    gate.wait()
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.end(name)
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert statuses(job) == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    assert jobs.model(job) == {"half": "saved"}
    assert jobs.lines(name)[1:] == ["saving", "driver: 0"]
    assert "FailureReason" not in job
    assert job["BillableTimeInSeconds"] >= 1
    assert not processes_of(name)


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(jobs, gate):
    script = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("/opt/ml/model/half", "w").write("saved")
{gate.arrive}
while True: signal.pause()
"""
    name = jobs.start(script)
    gate.wait()
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.end(name)
    assert "Stopping" in statuses(job)
    assert (job["TrainingJobStatus"], jobs.model(job)) == ("Stopped", {"half": "saved"})
    assert not processes_of(name)


def test_a_job_whose_time_is_up(jobs):
    script = "import signal\nopen('/opt/ml/model/half', 'w').write('saved')\nsignal.pause()"
    job = jobs.run(script, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert statuses(job)[2:] == ["Training", "Stopping", "Uploading", "MaxRuntimeExceeded"]
    assert jobs.model(job) == {"half": "saved"}


def test_two_jobs_run_at_once(jobs, tmp_path):
    gates = [Gate(tmp_path / name) for name in ("first", "second")]
    names = [jobs.start(gate.script) for gate in gates]
    for gate in gates:
        gate.wait()
    for gate in reversed(gates):
        gate.open()
    assert [jobs.end(name)["TrainingJobStatus"] for name in names] == ["Completed", "Completed"]


# ---- checkpoints ----


def test_checkpoints_are_restored_to_every_host_and_kept_in_step(jobs, gate):
    jobs.put("restored/old/epoch-1", "one")
    script = f"""
import json, os, pathlib
folder = pathlib.Path("/opt/ml/checkpoints")
me = json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"]
print(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()), flush=True)
if me == "algo-1":
    (folder / "part.tmp").write_text("two")
    os.replace(folder / "part.tmp", folder / "epoch-2")
    {gate.script}
    (folder / "epoch-3").write_text("three")
"""
    checkpoints = {"S3Uri": f"s3://{BUCKET}/restored", "LocalPath": "/opt/ml/checkpoints"}
    request = jobs.request(script, instances=2, CheckpointConfig=checkpoints)
    jobs.sagemaker.create_training_job(**request)
    gate.wait()
    jobs.wait_for_object("restored/epoch-2")
    old = jobs.s3.head_object(Bucket=BUCKET, Key="restored/old/epoch-1")["LastModified"]
    gate.open()
    job = jobs.end(request["TrainingJobName"])
    assert job["CheckpointConfig"] == checkpoints
    for host in (1, 2):
        assert jobs.lines(job["TrainingJobName"], host)[1] == "['old/epoch-1']"
    listed = jobs.s3.list_objects_v2(Bucket=BUCKET, Prefix="restored/")["Contents"]
    assert [one["Key"] for one in listed] == [f"restored/{name}" for name in ("epoch-2", "epoch-3", "old/epoch-1")]
    assert listed[-1]["LastModified"] == old, "what has not changed was uploaded again"


def test_a_stopped_jobs_last_checkpoint_is_in_s3_before_it_is_stopped(jobs, gate):
    script = f"""
import signal, sys
def stop(*_):
    open("/opt/ml/checkpoints/last", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
{gate.arrive}
signal.pause()
"""
    spot = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/stopped/"},
    }
    name = jobs.start(script, **spot)
    gate.wait()
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.end(name)
    assert {member: job[member] for member in spot} == spot
    assert jobs.s3.get_object(Bucket=BUCKET, Key="stopped/last")["Body"].read() == b"saved"
