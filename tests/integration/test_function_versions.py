"""Versions, aliases, resource policies and tags of Lambda functions."""

import json

import pytest
from botocore.exceptions import ClientError

from tests.conftest import LocalAws
from tests.lambda_functions import Lambda, code_of, environments, package, until

ARN = "arn:aws:lambda:us-east-1:123456789012:function"
SOURCE = "import os\ndef handler(event, context): return [os.environ['WHICH'], context.function_version, {number}]"


@pytest.fixture(scope="module")
def functions(aws: LocalAws) -> Lambda:
    return Lambda(aws)


@pytest.fixture(scope="module")
def published(functions: Lambda) -> str:
    """A function with the versions 1 and 2, and a ``$LATEST`` that is newer than both."""
    name = functions.create(SOURCE.format(number=1), Environment={"Variables": {"WHICH": "a"}}, Publish=True)
    for value in ("b", "c"):
        functions.client.update_function_configuration(FunctionName=name, Environment={"Variables": {"WHICH": value}})
        functions.updated(name)
        if value == "b":
            functions.client.publish_version(FunctionName=name, Description="the second")
    return name


def refusal(call, **arguments) -> ClientError:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value


# ---- versions ----


def test_a_version_stays_as_it_was_published(functions, published):
    answers = [functions.call(published, **more).payload for more in ({}, {"Qualifier": "1"}, {"Qualifier": "2"})]
    assert answers == [["c", "$LATEST", 1], ["a", "1", 1], ["b", "2", 1]]
    assert functions.call(f"{ARN}:{published}:1").payload == ["a", "1", 1]
    shown = functions.client.get_function_configuration(FunctionName=published, Qualifier="2")
    assert (shown["FunctionArn"], shown["Version"]) == (f"{ARN}:{published}:2", "2")
    assert (shown["Description"], shown["State"]) == ("the second", "Active")


def test_nothing_new_is_no_new_version(functions):
    name = functions.create()
    first = functions.client.publish_version(FunctionName=name)
    assert functions.client.publish_version(FunctionName=name)["Version"] == first["Version"] == "1"
    code = functions.client.update_function_code(FunctionName=name, ZipFile=package("x = 1"), Publish=True)
    assert (code["Version"], code["FunctionArn"]) == ("2", f"{ARN}:{name}:2")


def test_versions_are_listed(functions, published):
    found = functions.client.list_versions_by_function(FunctionName=published)["Versions"]
    assert [one["Version"] for one in found] == ["$LATEST", "1", "2"]
    assert [one["FunctionArn"] for one in found] == [f"{ARN}:{published}:{one}" for one in ("$LATEST", "1", "2")]
    first = functions.client.list_versions_by_function(FunctionName=published, MaxItems=1)
    rest = functions.client.list_versions_by_function(FunctionName=published, Marker=first["NextMarker"])
    assert [one["Version"] for one in rest["Versions"]] == ["1", "2"]
    pages = functions.client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
    assert sum(one["FunctionName"] == published for page in pages for one in page["Functions"]) == 3


def test_what_cannot_be_published(functions):
    name, publish = functions.create(), functions.client.publish_version
    assert "different from current CodeSHA256" in str(refusal(publish, FunctionName=name, CodeSha256="abc"))
    assert code_of(refusal(publish, FunctionName=name, RevisionId="none")) == "PreconditionFailedException"
    assert code_of(refusal(publish, FunctionName="nowhere")) == "ResourceNotFoundException"
    assert code_of(refusal(functions.client.list_versions_by_function, FunctionName="nowhere")) == (
        "ResourceNotFoundException"
    )


def test_one_version_can_be_deleted(functions):
    name = functions.create(Publish=True)
    functions.call(name, Qualifier="1")
    functions.call(name)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    error = refusal(functions.client.delete_function, FunctionName=name, Qualifier="1")
    assert code_of(error) == "ResourceConflictException"
    functions.client.delete_alias(FunctionName=name, Name="live")
    functions.client.delete_function(FunctionName=name, Qualifier="1")
    left = until(lambda: environments(functions.aws, name), lambda found: len(found) == 1)
    assert left[0].environ()["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert code_of(refusal(functions.call, name=name, Qualifier="1")) == "ResourceNotFoundException"
    assert "cannot be deleted" in str(refusal(functions.client.delete_function, FunctionName=f"{name}:$LATEST"))


# ---- aliases ----


def test_an_alias_points_at_a_version_and_can_be_moved(functions, published):
    client = functions.client
    made = client.create_alias(FunctionName=published, Name="live", FunctionVersion="1", Description="now")
    assert (made["AliasArn"], made["FunctionVersion"]) == (f"{ARN}:{published}:live", "1")
    answered = functions.call(f"{published}:live")
    assert (answered.payload, answered.response["ExecutedVersion"]) == (["a", "1", 1], "1")
    shown = client.get_function(FunctionName=published, Qualifier="live")["Configuration"]
    assert (shown["FunctionArn"], shown["Version"]) == (f"{ARN}:{published}:live", "1")
    moved = client.update_alias(FunctionName=published, Name="live", FunctionVersion="2")
    assert moved["RevisionId"] != made["RevisionId"]
    assert functions.call(published, Qualifier="live").payload == ["b", "2", 1]
    assert client.get_alias(FunctionName=published, Name="live")["Description"] == "now"
    client.create_alias(FunctionName=published, Name="newest", FunctionVersion="$LATEST")
    assert functions.call(published, Qualifier="newest").payload[0] == "c"
    assert [one["Name"] for one in client.list_aliases(FunctionName=published)["Aliases"]] == ["live", "newest"]
    only = client.list_aliases(FunctionName=published, FunctionVersion="2")["Aliases"]
    assert [one["Name"] for one in only] == ["live"]
    for name in ("live", "newest", "newest"):  # the second time is no error, as on AWS
        client.delete_alias(FunctionName=published, Name=name)
    assert client.list_aliases(FunctionName=published)["Aliases"] == []


def test_the_arn_by_which_a_function_was_called(functions):
    name = functions.create("def handler(event, context): return context.invoked_function_arn", Publish=True)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert functions.call(name).payload == f"{ARN}:{name}"
    for qualifier in ("$LATEST", "1", "live"):
        assert functions.call(name, Qualifier=qualifier).payload == f"{ARN}:{name}:{qualifier}"


def test_what_is_no_alias(functions, published):
    client = functions.client
    client.create_alias(FunctionName=published, Name="once", FunctionVersion="1")
    cases = [
        (client.create_alias, {"Name": "once", "FunctionVersion": "1"}, "ResourceConflictException"),
        (client.create_alias, {"Name": "two", "FunctionVersion": "9"}, "ResourceNotFoundException"),
        (client.create_alias, {"Name": "12", "FunctionVersion": "1"}, "ValidationException"),
        (client.update_alias, {"Name": "none", "FunctionVersion": "1"}, "ResourceNotFoundException"),
        (client.update_alias, {"Name": "once", "FunctionVersion": "9"}, "ResourceNotFoundException"),
        (client.update_alias, {"Name": "once", "RevisionId": "none"}, "PreconditionFailedException"),
        (client.get_alias, {"Name": "none"}, "ResourceNotFoundException"),
    ]
    for call, more, code in cases:
        assert code_of(refusal(call, FunctionName=published, **more)) == code, more
    for call, more in (
        (client.create_alias, {"Name": "a", "FunctionVersion": "1"}),
        (client.get_alias, {"Name": "a"}),
        (client.list_aliases, {}),
        (client.update_alias, {"Name": "a"}),
        (client.delete_alias, {"Name": "a"}),
    ):
        assert code_of(refusal(call, FunctionName="nowhere", **more)) == "ResourceNotFoundException"


# ---- resource policies ----


def test_permissions_are_recorded_as_a_policy(functions):
    name, client = functions.create(Publish=True), functions.client
    added = client.add_permission(
        FunctionName=name,
        StatementId="bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::photos",
        SourceAccount="123456789012",
    )
    statement = json.loads(added["Statement"])
    assert statement == {
        "Sid": "bucket",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{ARN}:{name}",
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "123456789012"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"},
        },
    }
    client.add_permission(FunctionName=name, StatementId="account", Action="lambda:*", Principal="123456789012")
    policy = client.get_policy(FunctionName=name)
    document = json.loads(policy["Policy"])
    assert (document["Version"], document["Id"]) == ("2012-10-17", "default")
    assert [one["Sid"] for one in document["Statement"]] == ["bucket", "account"]
    assert document["Statement"][1]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    client.add_permission(
        FunctionName=name, Qualifier="1", StatementId="one", Action="lambda:InvokeFunction", Principal="*"
    )
    of_version = json.loads(client.get_policy(FunctionName=name, Qualifier="1")["Policy"])
    assert of_version["Statement"][0]["Resource"] == f"{ARN}:{name}:1"
    client.remove_permission(FunctionName=name, StatementId="bucket", RevisionId=policy["RevisionId"])
    client.remove_permission(FunctionName=name, StatementId="account")
    assert code_of(refusal(client.get_policy, FunctionName=name)) == "ResourceNotFoundException"


def test_what_is_no_permission(functions):
    name, client = functions.create(), functions.client
    good = {"StatementId": "one", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    assert "No policy is associated" in str(refusal(client.remove_permission, FunctionName=name, StatementId="one"))
    client.add_permission(FunctionName=name, **good)
    cases = [
        ({}, "ResourceConflictException"),
        ({"StatementId": "two", "Qualifier": "$LATEST"}, "InvalidParameterValueException"),
        ({"StatementId": "two", "Qualifier": "9"}, "ResourceNotFoundException"),
        ({"StatementId": "two", "Principal": "nobody"}, "InvalidParameterValueException"),
        ({"StatementId": "two", "RevisionId": "none"}, "PreconditionFailedException"),
        ({"StatementId": "two", "FunctionUrlAuthType": "NONE"}, "NotImplemented"),
        ({"StatementId": "with space"}, "ValidationException"),
    ]
    for more, code in cases:
        assert code_of(refusal(client.add_permission, FunctionName=name, **{**good, **more})) == code, more
    assert "Statement two is not found" in str(refusal(client.remove_permission, FunctionName=name, StatementId="two"))
    for call in (client.get_policy, client.add_permission, client.remove_permission):
        more = {} if call == client.get_policy else {"StatementId": "one"}
        more |= good if call == client.add_permission else {}
        assert code_of(refusal(call, FunctionName="nowhere", **more)) == "ResourceNotFoundException"


# ---- tags ----


def test_tags_are_kept_and_found(functions):
    name, client = functions.create(Tags={"a": "1", "b": "2"}), functions.client
    arn = f"{ARN}:{name}"
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "1", "b": "2"}
    client.tag_resource(Resource=arn, Tags={"b": "3", "c": "4"})
    client.untag_resource(Resource=arn, TagKeys=["a", "x"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "3", "c": "4"}
    assert client.get_function(FunctionName=name)["Tags"] == {"b": "3", "c": "4"}
    found = functions.aws.client("resourcegroupstaggingapi").get_resources(TagFilters=[{"Key": "c", "Values": ["4"]}])
    assert arn in {one["ResourceARN"] for one in found["ResourceTagMappingList"]}


def test_what_cannot_be_tagged(functions):
    name, client = functions.create(), functions.client
    for arn, code in (
        (f"{ARN}:nowhere", "ResourceNotFoundException"),
        (f"{ARN}:{name}:1", "InvalidParameterValueException"),
        ("arn:aws:s3:::bucket", "ValidationException"),
        (f"{ARN.removesuffix(':function')}:code-signing-config:csc-{'0' * 17}", "NotImplemented"),
    ):
        assert code_of(refusal(client.list_tags, Resource=arn)) == code
        assert code_of(refusal(client.tag_resource, Resource=arn, Tags={"a": "b"})) == code
        assert code_of(refusal(client.untag_resource, Resource=arn, TagKeys=["a"])) == code
    many = {f"key{number}": "x" for number in range(51)}
    assert "exceeds resource tag limit" in str(refusal(client.tag_resource, Resource=f"{ARN}:{name}", Tags=many))
