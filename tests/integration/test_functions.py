"""Lambda functions are made, described, changed and deleted as on AWS."""

import base64
import hashlib
import io
import json
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.lambda_functions import QUICKLY, SERVICE, SOURCE, Lambda, code_of, ended, environments, package, until


@pytest.fixture(scope="module")
def functions(aws: LocalAws) -> Lambda:
    return Lambda(aws)


# ---- create ----


def test_a_new_function_is_pending_then_active_and_described_as_it_was_made(functions):
    archive = package()
    name = "described"
    made = functions.client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="app.handler",
        Role=functions.role,
        Code={"ZipFile": archive},
        Description="a test",
        Timeout=7,
        MemorySize=256,
        Environment={"Variables": {"COLOUR": "brown"}},
        Architectures=["arm64"],
        EphemeralStorage={"Size": 1024},
        Tags={"project": "tests"},
    )
    assert (made["State"], made["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in made
    functions.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=QUICKLY)
    found = functions.client.get_function(FunctionName=name)
    shown = found["Configuration"]
    expected = {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:us-east-1:123456789012:function:{name}",
        "Runtime": "python3.11",
        "Role": functions.role,
        "Handler": "app.handler",
        "CodeSize": len(archive),
        "CodeSha256": base64.b64encode(hashlib.sha256(archive).digest()).decode(),
        "Description": "a test",
        "Timeout": 7,
        "MemorySize": 256,
        "Version": "$LATEST",
        "Environment": {"Variables": {"COLOUR": "brown"}},
        "Architectures": ["arm64"],
        "EphemeralStorage": {"Size": 1024},
        "PackageType": "Zip",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "TracingConfig": {"Mode": "PassThrough"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
    }
    assert {member: shown[member] for member in expected} == expected
    assert found["Tags"] == {"project": "tests"}
    assert functions.client.get_function_configuration(FunctionName=name) | {"ResponseMetadata": None} == shown | {
        "ResponseMetadata": None
    }


def test_defaults_are_aws_s(functions):
    name = functions.create(Timeout=3)
    shown = functions.client.get_function_configuration(FunctionName=name)
    assert (shown["Timeout"], shown["MemorySize"], shown["EphemeralStorage"]) == (3, 128, {"Size": 512})
    assert shown["Architectures"] == ["x86_64"]
    assert "Environment" not in shown
    assert "VpcConfig" not in shown


def test_the_package_can_be_fetched_from_its_location(functions):
    name = functions.create()
    location = functions.client.get_function(FunctionName=name)["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:
        assert answer.read() == package()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(location[:-3] + "xyz")
    assert refused.value.code == 403


def test_a_package_may_come_from_s3(functions):
    s3 = functions.aws.client("s3")
    s3.create_bucket(Bucket="function-packages")
    s3.put_object(Bucket="function-packages", Key="deep/code.zip", Body=package())
    name = functions.create(Code={"S3Bucket": "function-packages", "S3Key": "deep/code.zip"})
    assert functions.call(name, {"do": "echo", "a": 1}).payload == {"do": "echo", "a": 1}


def test_a_network_is_recorded(functions):
    network = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    name = functions.create(VpcConfig=network)
    shown = functions.client.get_function_configuration(FunctionName=name)["VpcConfig"]
    assert {member: shown[member] for member in network} == network


ARN = "arn:aws:lambda:us-east-1:123456789012:function"
BAD = {
    "Lambda may not take the role": ({"Role": "{other}"}, "InvalidParameterValueException", "cannot be assumed"),
    "no such role": (
        {"Role": "arn:aws:iam::123456789012:role/nobody"},
        "InvalidParameterValueException",
        "The role defined for the function cannot be assumed by Lambda.",
    ),
    "not a zip file": (
        {"Code": {"ZipFile": b"no zip"}},
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    "an empty zip file": ({"Code": {"ZipFile": "{empty}"}}, "InvalidParameterValueException", "non-empty zip"),
    "a zip file that climbs out": (
        {"Code": {"ZipFile": "{slip}"}},
        "InvalidParameterValueException",
        "Could not unzip",
    ),
    "too large, unzipped": (
        {"Code": {"ZipFile": "{bomb}"}},
        "InvalidParameterValueException",
        "Unzipped size must be smaller than 262144000 bytes",
    ),
    "no package at all": ({"Code": {}}, "InvalidParameterValueException", "source for function code"),
    "no such object": (
        {"Code": {"S3Bucket": "no-such-bucket-here", "S3Key": "x"}},
        "InvalidParameterValueException",
        "Error occurred while GetObject. S3 Error Code: NoSuchBucket",
    ),
    "an image": ({"PackageType": "Image"}, "NotImplemented", "PackageType Image"),
    "layers": ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"]}, "NotImplemented", "Layers"),
    "a dead-letter queue": (
        {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"}},
        "NotImplemented",
        "DeadLetterConfig",
    ),
    "a file system": (
        {"FileSystemConfigs": [{"Arn": "{efs}", "LocalMountPath": "/mnt/x"}]},
        "NotImplemented",
        "FileSystemConfigs",
    ),
    "SnapStart": ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "NotImplemented", "SnapStart"),
    "tracing": ({"TracingConfig": {"Mode": "Active"}}, "NotImplemented", "TracingConfig"),
    "logs in JSON": ({"LoggingConfig": {"LogFormat": "JSON"}}, "NotImplemented", "LogFormat"),
    "another language": ({"Runtime": "nodejs22.x"}, "NotImplemented", "the runtime nodejs22.x"),
    "a runtime of the past": ({"Runtime": "python3.6"}, "InvalidParameterValueException", "no longer supported"),
    "a runtime that is none": ({"Runtime": "cobol85"}, "ValidationException", "enum value set"),
    "a handler with a space": ({"Handler": "app handler"}, "ValidationException", "regular expression pattern"),
    "no time": ({"Timeout": 0}, "ValidationException", "greater than or equal to 1"),
    "too much time": ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
    "too little memory": ({"MemorySize": 127}, "ValidationException", "greater than or equal to 128"),
    "too much memory": ({"MemorySize": 10241}, "ValidationException", "less than or equal to 10240"),
    "a long name": ({"FunctionName": "n" * 65}, "ValidationException", "less than or equal to 64"),
    "a name with a dot": ({"FunctionName": "a.b"}, "ValidationException", "functionName"),
    "reserved variables": (
        {"Environment": {"Variables": {"AWS_REGION": "mars", "AWS_SESSION_TOKEN": "x"}}},
        "InvalidParameterValueException",
        "Reserved keys used in this request: AWS_REGION, AWS_SESSION_TOKEN",
    ),
    "a variable's name": ({"Environment": {"Variables": {"1A": "x"}}}, "ValidationException", "1A"),
    "too much environment": (
        {"Environment": {"Variables": {"LONG": "x" * 4097}}},
        "InvalidParameterValueException",
        "exceeded the 4KB limit",
    ),
    "little storage": ({"EphemeralStorage": {"Size": 100}}, "ValidationException", "ephemeralStorage"),
}


def made_archive(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("case", BAD)
def test_what_aws_would_not_make_is_not_made(functions, case):
    changes, code, words = BAD[case]
    filled = {
        "{other}": functions.aws.role("not-for-functions", "sagemaker.amazonaws.com"),
        "{empty}": made_archive({}),
        "{slip}": made_archive({"../outside.py": b"x"}),
        "{efs}": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
    }
    if case == "too large, unzipped":
        filled["{bomb}"] = made_archive({f"{number}.bin": bytes(50 << 20) for number in range(6)})

    def fill(value):
        if isinstance(value, dict):
            return {key: fill(one) for key, one in value.items()}
        if isinstance(value, list):
            return [fill(one) for one in value]
        return filled.get(value, value) if isinstance(value, str) else value

    with pytest.raises(ClientError) as refused:
        functions.create(wait=False, **fill(changes))
    assert code_of(refused.value) == code
    assert words in str(refused.value)


def test_runtime_and_handler_must_be_given(functions):
    with pytest.raises(ClientError, match="Runtime and Handler are mandatory"):
        functions.client.create_function(FunctionName="bare", Role=functions.role, Code={"ZipFile": package()})


def test_a_name_is_taken_once(functions):
    name = functions.create()
    with pytest.raises(ClientError) as refused:
        functions.create(FunctionName=name)
    assert code_of(refused.value) == "ResourceConflictException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert f"Function already exist: {name}" in str(refused.value)


def test_the_model_is_checked_by_the_server_too(functions):
    with pytest.raises(ClientError) as refused:
        functions.client.create_function(FunctionName="x")
    assert code_of(refused.value) == "ValidationException"
    assert "2 validation errors detected" in str(refused.value)


# ---- names ----


def test_every_way_to_name_a_function_is_understood(functions):
    name = functions.create()
    arn = functions.client.get_function_configuration(FunctionName=name)["FunctionArn"]
    for given in (name, arn, f"123456789012:function:{name}", f"{name}:$LATEST", f"{arn}:$LATEST"):
        assert functions.client.get_function(FunctionName=given)["Configuration"]["FunctionName"] == name
    assert functions.client.get_function(FunctionName=name, Qualifier="$LATEST")["Configuration"]["FunctionArn"] == (
        f"{arn}:$LATEST"
    )


@pytest.mark.parametrize(
    ("given", "more", "code", "words"),
    [
        ("nowhere", {}, "ResourceNotFoundException", f"Function not found: {ARN}:nowhere"),
        ("{name}", {"Qualifier": "7"}, "ResourceNotFoundException", "{name}:7"),
        ("{name}:1", {"Qualifier": "2"}, "InvalidParameterValueException", "derived qualifier"),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:{name}",
            {},
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        ("arn:aws:lambda:us-east-1:999999999999:function:{name}", {}, "AccessDeniedException", "999999999999"),
        ("not a name", {}, "ValidationException", "functionName"),
    ],
)
@pytest.mark.parametrize("operation", ["get_function", "get_function_configuration", "delete_function", "invoke"])
def test_a_function_that_is_not_there(functions, operation, given, more, code, words):
    name = "always-there"
    if not any(one["FunctionName"] == name for one in functions.client.list_functions()["Functions"]):
        functions.create(FunctionName=name)
    with pytest.raises(ClientError) as refused:
        getattr(functions.client, operation)(FunctionName=given.format(name=name), **more)
    assert code_of(refused.value) == code
    assert words.format(name=name) in str(refused.value)
    assert refused.value.response.get("Type", "User") == "User"


# ---- list ----


def test_functions_are_listed_page_by_page_without_their_states(functions):
    names = {functions.create(FunctionName=f"listed-{number}", wait=False) for number in range(3)}
    pages = list(functions.client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    found = [one for page in pages for one in page["Functions"]]
    assert len(pages) > 1
    assert names <= {one["FunctionName"] for one in found}
    assert not any("State" in one or "LastUpdateStatus" in one for one in found)


# ---- update ----


def test_new_code_takes_effect_when_the_update_has(functions):
    name = functions.create()
    before = functions.call(name).payload["pid"]
    changed = package("def handler(event, context):\n    return 'new'\n")
    updated = functions.client.update_function_code(FunctionName=name, ZipFile=changed)
    assert (updated["LastUpdateStatus"], updated["State"]) == ("InProgress", "Active")
    assert updated["CodeSize"] == len(changed)
    functions.updated(name)
    assert functions.call(name).payload == "new"
    until(lambda: environments(functions.aws, name), lambda found: before not in {one.pid for one in found})


def test_an_update_replaces_environments_after_their_event(functions, tmp_path):
    name = functions.create()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(functions.call, name, {"do": "wait_for", "folder": str(tmp_path)})
        until((tmp_path / "arrived").exists, bool)
        functions.client.update_function_code(FunctionName=name, ZipFile=package("def handler(e, c): return 'new'"))
        functions.updated(name)
        assert functions.call(name).payload == "new"
        (tmp_path / "go").touch()
        assert running.result().payload == "went"
    assert functions.call(name).payload == "new"


def test_a_dry_run_changes_nothing(functions):
    name = functions.create()
    before = functions.client.get_function_configuration(FunctionName=name)
    shown = functions.client.update_function_code(FunctionName=name, ZipFile=package("x = 1"), DryRun=True)
    assert shown["CodeSha256"] != before["CodeSha256"]
    assert functions.client.get_function_configuration(FunctionName=name)["CodeSha256"] == before["CodeSha256"]


def test_a_new_configuration_keeps_what_is_not_given(functions):
    name = functions.create(Description="first", Environment={"Variables": {"COLOUR": "red"}})
    first = functions.call(name, {"do": "environment"}).payload
    updated = functions.client.update_function_configuration(
        FunctionName=name, MemorySize=192, Environment={"Variables": {"COLOUR": "blue"}}
    )
    assert (updated["MemorySize"], updated["Description"], updated["LastUpdateStatus"]) == (192, "first", "InProgress")
    functions.updated(name)
    second = functions.call(name, {"do": "environment"}).payload
    assert (first["COLOUR"], second["COLOUR"]) == ("red", "blue")
    assert second["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "192"


def test_a_revision_that_is_not_the_latest_is_refused(functions):
    name = functions.create()
    latest = functions.client.get_function_configuration(FunctionName=name)["RevisionId"]
    for call in (
        lambda revision: functions.client.update_function_code(
            FunctionName=name, ZipFile=package(), RevisionId=revision
        ),
        lambda revision: functions.client.update_function_configuration(FunctionName=name, RevisionId=revision),
    ):
        with pytest.raises(ClientError) as refused:
            call("00000000-0000-0000-0000-000000000000")
        assert code_of(refused.value) == "PreconditionFailedException"
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert functions.client.update_function_configuration(FunctionName=name, RevisionId=latest)["RevisionId"] != latest


@pytest.mark.parametrize("case", ["a dead-letter queue", "too much time", "another language", "reserved variables"])
def test_what_cannot_be_created_cannot_be_updated_to(functions, case):
    changes, code, words = BAD[case]
    name = "always-the-same"
    if not any(one["FunctionName"] == name for one in functions.client.list_functions()["Functions"]):
        functions.create(FunctionName=name)
    with pytest.raises(ClientError) as refused:
        functions.client.update_function_configuration(FunctionName=name, **changes)
    assert code_of(refused.value) == code
    assert words in str(refused.value)


def test_only_the_latest_can_be_updated(functions):
    name = functions.create()
    functions.client.publish_version(FunctionName=name)
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        functions.client.update_function_code(FunctionName=f"{name}:1", ZipFile=package())
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        functions.client.update_function_code(FunctionName="nowhere", ZipFile=package())
    with pytest.raises(ClientError, match="cannot be assumed"):
        functions.client.update_function_configuration(FunctionName=name, Role="arn:aws:iam::123456789012:role/nobody")
    with pytest.raises(ClientError, match="Could not unzip"):
        functions.client.update_function_code(FunctionName=name, ZipFile=b"no")


# ---- delete ----


def test_a_deleted_function_leaves_no_process_no_tags_and_no_files(functions):
    name = functions.create(f"{SOURCE}# a package of its own", Tags={"a": "b"})
    child = functions.call(name, {"do": "child"}).payload
    assert environments(functions.aws, name)
    sha = functions.client.get_function_configuration(FunctionName=name)["CodeSha256"]
    code = functions.aws.state / "functions" / "code" / base64.b64decode(sha).hex()
    assert code.exists()
    answered = functions.client.delete_function(FunctionName=name)
    assert answered["ResponseMetadata"]["HTTPStatusCode"] == 204
    until(lambda: environments(functions.aws, name), lambda found: not found)
    assert ended(child)
    assert not code.exists()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        functions.client.get_function(FunctionName=name)
    again = functions.create(FunctionName=name)
    assert "Tags" not in functions.client.get_function(FunctionName=again)


# ---- what is not there at all ----


def test_what_is_not_implemented_says_so(functions):
    with pytest.raises(ClientError) as refused:
        functions.client.list_layers()
    assert code_of(refused.value) == "NotImplemented"
    assert "ListLayers" in str(refused.value)


def test_a_trust_policy_is_what_counts(functions):
    iam = functions.aws.client("iam")
    role = functions.aws.role("trusts-later", "ec2.amazonaws.com")
    with pytest.raises(ClientError, match="cannot be assumed"):
        functions.create(wait=False, Role=role)
    statement = {"Effect": "Allow", "Principal": {"Service": SERVICE}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.update_assume_role_policy(RoleName="trusts-later", PolicyDocument=document)
    name = functions.create(Role=role)
    arn = functions.call(name, {"do": "environment"}).payload["AWS_ACCESS_KEY_ID"]
    assert arn.startswith("ASIA")
