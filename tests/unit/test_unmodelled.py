"""What requests say that the model does not have is found, in each of AWS's protocols; what it has is not."""

import json
from urllib.parse import urlencode

import pytest

from helpers.localaws.protocol import match
from helpers.localaws.unmodelled import names


def call(service, *, body=b"", target=None, path="/", query="", method="POST", kind=""):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "127.0.0.1",
        "CONTENT_TYPE": kind,
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/{service}/aws4_request",
    }
    return match(environ | ({"HTTP_X_AMZ_TARGET": target} if target else {}), body)


def form(service, version, **fields):
    body = urlencode({"Version": version, **fields}).encode()
    return call(service, body=body, kind="application/x-www-form-urlencoded")


def sagemaker(document):
    return call("sagemaker", body=json.dumps(document).encode(), target="SageMaker.CreateModel")


def run_instances(**fields):
    return form("ec2", "2016-11-15", Action="RunInstances", **fields)


@pytest.mark.parametrize(
    ("made", "unknown"),
    [
        (sagemaker({"ModelName": "m", "PrimaryContainer": {"Image": "i", "Environment": {"A": "b"}}}), []),
        (sagemaker({"Modelname": "m", "PrimaryContainer": {"Size": 1}}), ["Modelname", "PrimaryContainer.Size"]),
        (sagemaker({"Containers": [{"Image": "i"}, {"Size": 1}]}), ["Containers.Size"]),
        (run_instances(**{"TagSpecification.1.Tag.1.Key": "k", "MaxCount": "1", "SecurityGroupId.1": "sg"}), []),
        (run_instances(**{"TagSpecification.1.Tag.1.Name": "k"}), ["TagSpecification.1.Tag.1.Name"]),
        (form("iam", "2010-05-08", Action="CreateRole", **{"Tags.member.1.Key": "k", "RoleName": "r"}), []),
        (form("iam", "2010-05-08", Action="CreateRole", Colour="red"), ["Colour"]),
        (call("s3", path="/b", query="list-type=2&prefix=a&X-Amz-Expires=3", method="GET"), []),
        (call("s3", path="/b", query="list-type=2&suffix=a", method="GET"), ["suffix"]),
        (call("lambda", path="/2015-03-31/functions/f/aliases", body=b'{"Name": "live", "Colour": 1}'), ["Colour"]),
        (call("lambda", path="/2015-03-31/functions/f/invocations", query="Qualifier=live", body=b'{"any": 1}'), []),
    ],
)  # fmt: skip
def test_what_the_model_does_not_have_is_named(made, unknown):
    assert names(made) == unknown
