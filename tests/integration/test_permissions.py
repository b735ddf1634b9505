"""Who may do what, through boto3: policies decide, and every service refuses in its own words."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request

import pytest
from botocore.config import Config

from tests.actors import ACCOUNT, NUMBERS, allow, deny, policy, refusal, role, session, user

ANY_ENDPOINT = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint"


@pytest.fixture
def bucket(aws):
    name = f"permissions-{next(NUMBERS)}"
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_object(Bucket=name, Key="k", Body=b"hello")
    return name


# ---- every service's refusal ----


@pytest.mark.parametrize(
    ("service", "call", "arguments", "code", "status", "action", "resource"),
    [
        ("sagemaker", "describe_endpoint", {"EndpointName": "Dogs"}, "AccessDeniedException", 400,
         "sagemaker:DescribeEndpoint", f"{ANY_ENDPOINT}/dogs"),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "dogs", "Body": b"x"}, "AccessDeniedException", 403,
         "sagemaker:InvokeEndpoint", f"{ANY_ENDPOINT}/dogs"),
        ("lambda", "invoke", {"FunctionName": "f", "Qualifier": "live"}, "AccessDeniedException", 403,
         "lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:live"),
        ("iam", "create_user", {"UserName": "u"}, "AccessDenied", 403,
         "iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/u"),
        ("sts", "assume_role", {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/none", "RoleSessionName": "me"},
         "AccessDenied", 403, "sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/none"),
        ("logs", "create_log_group", {"logGroupName": "/g"}, "AccessDeniedException", 400,
         "logs:CreateLogGroup", f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/g:log-stream:"),
        ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/16"}, "UnauthorizedOperation", 403,
         "ec2:CreateVpc", f"arn:aws:ec2:us-east-1:{ACCOUNT}:vpc/*"),
        ("resourcegroupstaggingapi", "get_resources", {}, "AccessDeniedException", 400, "tag:GetResources", "*"),
        ("s3", "list_buckets", {}, "AccessDenied", 403, "s3:ListAllMyBuckets", '"*"'),
    ],
)  # fmt: skip
def test_each_service_refuses_in_its_own_shape(aws, service, call, arguments, code, status, action, resource):
    nobody = user(aws)
    found, http, message = refusal(getattr(nobody.client(service), call), **arguments)
    assert (found, http) == (code, status)
    assert f"User: {nobody.arn} is not authorized to perform: {action} on resource: {resource} because no " in message
    assert message.endswith(f"policy allows the {action} action")


def test_who_one_is_needs_no_permission(aws):
    nobody = user(aws, deny("*"))
    assert nobody.client("sts").get_caller_identity()["Arn"] == nobody.arn


def test_the_reason_of_a_refusal(aws, bucket):
    arn = f"arn:aws:s3:::{bucket}"
    denied = user(aws, allow("s3:*"), deny("s3:GetObject", on=f"{arn}/*"))
    assert (
        "with an explicit deny in an identity-based policy"
        in refusal(denied.client("s3").get_object, Bucket=bucket, Key="k")[2]
    )
    bounded = aws.client("iam").create_policy(PolicyName=bucket, PolicyDocument=policy(allow("sns:*")))["Policy"]["Arn"]
    limited = session(aws, role(aws, allow("s3:*"), PermissionsBoundary=bounded))
    assert (
        "because no permissions boundary allows the s3:GetObject action"
        in refusal(limited.client("s3").get_object, Bucket=bucket, Key="k")[2]
    )
    narrow = session(aws, role(aws, allow("s3:*")), Policy=policy(allow("s3:ListBucket")))
    assert narrow.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert (
        "because no session policy allows the s3:GetObject action"
        in refusal(narrow.client("s3").get_object, Bucket=bucket, Key="k")[2]
    )


# ---- S3 ----


def test_objects_and_buckets_have_permissions_of_their_own(aws, bucket):
    arn = f"arn:aws:s3:::{bucket}"
    reader = user(aws, allow("s3:GetObject", on=f"{arn}/k*")).client("s3")
    assert reader.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    assert reader.head_object(Bucket=bucket, Key="k")["ContentLength"] == 5
    assert refusal(reader.list_objects_v2, Bucket=bucket)[:2] == ("AccessDenied", 403)
    assert refusal(reader.put_object, Bucket=bucket, Key="k", Body=b"")[:2] == ("AccessDenied", 403)
    assert refusal(reader.get_object, Bucket=bucket, Key="other")[:2] == ("AccessDenied", 403)
    # Whether an object is there is for those to know who may list.
    code, _, message = refusal(reader.get_object, Bucket=bucket, Key="kk")
    assert code == "AccessDenied"
    assert "s3:ListBucket" in message
    knowing = user(aws, allow("s3:GetObject", "s3:ListBucket")).client("s3")
    assert refusal(knowing.get_object, Bucket=bucket, Key="kk")[0] == "NoSuchKey"
    lister = user(aws, allow("s3:ListBucket", on=arn, StringLike={"s3:prefix": "k*"})).client("s3")
    assert lister.list_objects_v2(Bucket=bucket, Prefix="k")["KeyCount"] == 1
    assert refusal(lister.list_objects_v2, Bucket=bucket)[:2] == ("AccessDenied", 403)
    assert refusal(lister.head_object, Bucket=bucket, Key="k")[1] == 403


def test_copies_and_bulk_deletes_need_every_part(aws, bucket):
    arn = f"arn:aws:s3:::{bucket}"
    copier = user(aws, allow("s3:PutObject", on=f"{arn}/to/*"), allow("s3:GetObject", on=f"{arn}/k")).client("s3")
    copier.copy_object(Bucket=bucket, Key="to/k", CopySource={"Bucket": bucket, "Key": "k"})
    code, _, message = refusal(
        copier.copy_object, Bucket=bucket, Key="to/x", CopySource={"Bucket": bucket, "Key": "to/k"}
    )
    assert code == "AccessDenied"
    assert "s3:GetObject" in message
    deleter = user(aws, allow("s3:DeleteObject", on=f"{arn}/to/*")).client("s3")
    both = {"Objects": [{"Key": "to/k"}, {"Key": "k"}]}
    assert refusal(deleter.delete_objects, Bucket=bucket, Delete=both)[0] == "AccessDenied"
    deleter.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "to/k"}]})


def test_a_large_upload_needs_only_put_object(aws, bucket):
    writer = user(aws, allow("s3:PutObject", on=f"arn:aws:s3:::{bucket}/*")).client("s3")
    writer.upload_fileobj(io.BytesIO(bytes(9 << 20)), bucket, "large")
    assert aws.client("s3").head_object(Bucket=bucket, Key="large")["ContentLength"] == 9 << 20


def test_a_bucket_policy_opens_and_closes(aws, bucket):
    arn, guest = f"arn:aws:s3:::{bucket}", user(aws)
    statements = [
        {**allow("s3:GetObject", on=f"{arn}/*"), "Principal": {"AWS": guest.arn}},
        {**deny("s3:DeleteObject", on=f"{arn}/*"), "Principal": "*"},
        {**deny("s3:*", on=[arn, f"{arn}/*"], Bool={"aws:SecureTransport": "false"}), "Principal": "*"},
    ]
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy(*statements))
    assert guest.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    assert refusal(guest.client("s3").put_object, Bucket=bucket, Key="k", Body=b"")[0] == "AccessDenied"
    message = refusal(aws.client("s3").delete_object, Bucket=bucket, Key="k")[2]
    assert "with an explicit deny in a resource-based policy" in message


def test_nobody_in_particular_reads_only_what_is_public(aws, bucket):
    url = f"{aws.url}/{bucket}/k"
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url)
    assert raised.value.code == 403
    assert b"<Code>AccessDenied</Code>" in raised.value.read()
    statement = {**allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/*"), "Principal": "*"}
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy(statement))
    assert urllib.request.urlopen(url).read() == b"hello"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_presigned_url_is_its_signers_and_ends(aws, bucket, version):
    reader = user(aws, allow("s3:GetObject", on=f"arn:aws:s3:::{bucket}/*"))
    s3 = reader.client("s3", signature_version=version)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    assert urllib.request.urlopen(url).read() == b"hello"
    ended = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=-5)
    forged = url.replace("/k?", "/k2?")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    for made, method, code in [
        (ended, "GET", b"" if version == "s3v4" else b"Request has expired"),
        (forged, "GET", b"SignatureDoesNotMatch"),
        (url, "DELETE", b"SignatureDoesNotMatch"),
        (put, "PUT", b"is not authorized to perform: s3:PutObject"),
    ]:
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(urllib.request.Request(made, method=method))
        assert raised.value.code in (400, 403)
        assert code in raised.value.read()


# ---- users, groups, managed policies ----


def test_groups_and_attached_policies_count(aws, bucket):
    member, iam = user(aws), aws.client("iam")
    name, group = member.arn.rpartition("/")[2], f"group-{next(NUMBERS)}"
    iam.create_group(GroupName=group)
    iam.add_user_to_group(GroupName=group, UserName=name)
    s3 = member.client("s3")
    assert refusal(s3.list_objects_v2, Bucket=bucket)[0] == "AccessDenied"
    iam.put_group_policy(GroupName=group, PolicyName="list", PolicyDocument=policy(allow("s3:ListBucket")))
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    iam.detach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    iam.remove_user_from_group(GroupName=group, UserName=name)
    assert refusal(s3.list_objects_v2, Bucket=bucket)[0] == "AccessDenied"


def test_the_administrator_is_no_exception(aws):
    iam = aws.client("iam")
    iam.put_user_policy(UserName="administrator", PolicyName="no-sns", PolicyDocument=policy(deny("sns:*")))
    try:
        assert refusal(aws.client("sns").list_topics)[0] in ("AuthorizationError", "AccessDenied")
    finally:
        iam.delete_user_policy(UserName="administrator", PolicyName="no-sns")


def test_ones_own_home_and_keys(aws, bucket):
    own = allow("s3:PutObject", on=f"arn:aws:s3:::{bucket}/home/${{aws:username}}/*")
    keys = allow("iam:ListAccessKeys", on=f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}")
    somebody = user(aws, own, keys)
    name = somebody.arn.rpartition("/")[2]
    somebody.client("s3").put_object(Bucket=bucket, Key=f"home/{name}/x", Body=b"")
    assert refusal(somebody.client("s3").put_object, Bucket=bucket, Key="home/other/x", Body=b"")[0] == "AccessDenied"
    assert len(somebody.client("iam").list_access_keys()["AccessKeyMetadata"]) == 1
    assert refusal(somebody.client("iam").list_access_keys, UserName="administrator")[0] == "AccessDenied"


def test_conditions_on_regions_and_tags(aws):
    east = user(aws, allow("logs:*", StringEquals={"aws:RequestedRegion": "us-east-1"}))
    east.client("logs").describe_log_groups()
    assert refusal(east.client("logs", "eu-west-1").describe_log_groups)[0] == "AccessDeniedException"
    tagger = user(aws, allow("logs:*", StringEquals={"aws:RequestTag/project": "dogs"}))
    name = f"/tagged-{next(NUMBERS)}"
    assert refusal(tagger.client("logs").create_log_group, logGroupName=name)[0] == "AccessDeniedException"
    tagger.client("logs").create_log_group(logGroupName=name, tags={"project": "dogs"})


# ---- roles ----


def test_a_role_is_taken_only_by_whom_it_trusts(aws):
    alice, bob = user(aws), user(aws, allow("sts:AssumeRole"))
    for_alice = role(aws, trust={"AWS": alice.arn})
    assert session(aws, for_alice, alice).client("sts").get_caller_identity()["Arn"].endswith("/tests")
    asked = {"RoleArn": for_alice, "RoleSessionName": "me"}
    assert refusal(bob.client("sts").assume_role, **asked)[0] == "AccessDenied"
    for_account = role(aws)
    assert refusal(alice.client("sts").assume_role, RoleArn=for_account, RoleSessionName="me")[0] == "AccessDenied"
    session(aws, for_account, bob)


def test_an_external_id_is_asked_for(aws):
    document = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": ACCOUNT},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "unique"}},
        }
    )
    arn = role(aws, document=document)
    asked = {"RoleArn": arn, "RoleSessionName": "me"}
    assert refusal(aws.client("sts").assume_role, **asked)[0] == "AccessDenied"
    aws.client("sts").assume_role(**asked, ExternalId="unique")


def test_passing_a_role_is_a_permission(aws):
    trainer = role(aws, trust={"Service": "sagemaker.amazonaws.com"})
    model = {"ModelName": "passed", "ExecutionRoleArn": trainer}
    create = allow("sagemaker:CreateModel")
    assert "iam:PassRole" in refusal(user(aws, create).client("sagemaker").create_model, **model)[2]
    to_lambda = allow("iam:PassRole", on=trainer, StringEquals={"iam:PassedToService": "lambda.amazonaws.com"})
    refused = refusal(user(aws, create, to_lambda).client("sagemaker").create_model, **model)
    assert f"iam:PassRole on resource: {trainer}" in refused[2]
    to_sagemaker = allow("iam:PassRole", on=trainer, StringEquals={"iam:PassedToService": "sagemaker.amazonaws.com"})
    code, _, message = refusal(user(aws, create, to_sagemaker).client("sagemaker").create_model, **model)
    assert "AccessDenied" not in code, message


def test_instance_types_can_be_limited(aws):
    cheap = allow(
        "sagemaker:CreateEndpointConfig", **{"ForAllValues:StringEquals": {"sagemaker:InstanceTypes": ["ml.t2.medium"]}}
    )
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.p3.2xlarge"}
    refused = refusal(
        user(aws, cheap).client("sagemaker").create_endpoint_config,
        EndpointConfigName="dear",
        ProductionVariants=[variant],
    )
    assert refused[0] == "AccessDeniedException"


# ---- bad credentials ----


@pytest.mark.parametrize(
    ("service", "call", "unknown", "mismatch"),
    [
        ("sagemaker", "list_models", "UnrecognizedClientException", "InvalidSignatureException"),
        ("lambda", "list_functions", "UnrecognizedClientException", "InvalidSignatureException"),
        ("iam", "list_users", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("ec2", "describe_vpcs", "AuthFailure", "AuthFailure"),
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    ],
)
def test_bad_keys_are_refused_in_each_services_words(aws, service, call, unknown, mismatch):
    somebody = user(aws, allow("*"))
    stranger = type(somebody)(aws.url, "", "AKIAIOSFODNN7EXAMPLE", somebody.secret)
    liar = type(somebody)(aws.url, "", somebody.key, "wrong")
    assert refusal(getattr(stranger.client(service), call))[0] == unknown
    assert refusal(getattr(liar.client(service), call))[0] == mismatch
    aws.client("iam").update_access_key(
        UserName=somebody.arn.rpartition("/")[2], AccessKeyId=somebody.key, Status="Inactive"
    )
    assert refusal(getattr(somebody.client(service), call))[0] == unknown


def test_a_session_needs_its_token(aws):
    taken = session(aws, role(aws, allow("*")))
    taken.client("iam").list_users()
    without = type(taken)(aws.url, "", taken.key, taken.secret)
    assert refusal(without.client("iam").list_users)[0] == "InvalidClientTokenId"
    wrong = type(taken)(aws.url, "", taken.key, taken.secret, "wrong")
    assert refusal(wrong.client("s3").list_buckets)[0] == "InvalidToken"


# ---- policies that cannot be ----


def test_an_unknown_operator_is_malformed_and_an_unknown_key_is_named(aws):
    iam, name = aws.client("iam"), user(aws).arn.rpartition("/")[2]
    wrong = policy(allow("s3:*", StringSounds={"aws:username": "x"}))
    assert refusal(iam.put_user_policy, UserName=name, PolicyName="p", PolicyDocument=wrong)[:2] == (
        "MalformedPolicyDocument",
        400,
    )
    strange = user(aws, allow("s3:*", StringEquals={"aws:Nonsense": "x"}))
    code, status, message = refusal(strange.client("s3").list_buckets)
    assert (code, status) == ("NotImplemented", 501)
    assert "aws:Nonsense" in message
    tagged = user(aws, allow("s3:*", StringEquals={"aws:ResourceTag/project": "dogs"}))
    assert refusal(tagged.client("s3").get_object, Bucket="whatever", Key="k")[0] == "NotImplemented"


def test_tags_of_models_decide(aws):
    admin, name = aws.client("sagemaker"), f"tagged-{next(NUMBERS)}"
    own = user(aws, allow("sagemaker:DescribeModel", StringEquals={"aws:ResourceTag/project": "dogs"}))
    arn = role(aws, allow("s3:*"), trust={"Service": "sagemaker.amazonaws.com"})
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/ray:serve-ml-sagemaker-cpu-v1.4"
    admin.create_model(
        ModelName=name,
        ExecutionRoleArn=arn,
        PrimaryContainer={"Image": image, "Environment": {"SM_RAYSERVE_APP": "app:application"}},
        Tags=[{"Key": "project", "Value": "dogs"}],
    )
    assert own.client("sagemaker").describe_model(ModelName=name)["ModelName"] == name
    admin.delete_tags(ResourceArn=admin.describe_model(ModelName=name)["ModelArn"], TagKeys=["project"])
    assert refusal(own.client("sagemaker").describe_model, ModelName=name)[0] == "AccessDeniedException"


# ---- the simulator ----


def test_the_simulator_says_what_would_happen(aws, bucket):
    arn = f"arn:aws:s3:::{bucket}"
    simulated = role(aws, allow("s3:GetObject", on=f"{arn}/*"), deny("s3:GetObject", on=f"{arn}/secret"))
    answer = aws.client("iam").simulate_principal_policy(
        PolicySourceArn=simulated,
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=[f"{arn}/k", f"{arn}/secret"],
    )
    found = {(one["EvalActionName"], one["EvalResourceName"]): one for one in answer["EvaluationResults"]}
    assert {key: one["EvalDecision"] for key, one in found.items()} == {
        ("s3:GetObject", f"{arn}/k"): "allowed",
        ("s3:GetObject", f"{arn}/secret"): "explicitDeny",
        ("s3:PutObject", f"{arn}/k"): "implicitDeny",
        ("s3:PutObject", f"{arn}/secret"): "implicitDeny",
    }
    assert found["s3:GetObject", f"{arn}/k"]["MatchedStatements"][0]["StartPosition"]["Line"] == 1
    assert found["s3:PutObject", f"{arn}/k"]["MatchedStatements"] == []


def test_the_simulator_reads_policies_that_nobody_has(aws):
    iam = aws.client("iam")
    own = policy(allow("s3:*", StringEquals={"aws:PrincipalTag/team": "dogs"}))
    asked = {"PolicyInputList": [own], "ActionNames": ["s3:GetObject"]}
    (without,) = iam.simulate_custom_policy(**asked)["EvaluationResults"]
    assert (without["EvalDecision"], without["MissingContextValues"]) == ("implicitDeny", ["aws:PrincipalTag/team"])
    entry = {
        "ContextKeyName": "aws:PrincipalTag/team",
        "ContextKeyType": "string",
        "ContextKeyValues": ["dogs"],
    }
    (found,) = iam.simulate_custom_policy(**asked, ContextEntries=[entry])["EvaluationResults"]
    assert found["EvalDecision"] == "allowed"
    bad = refusal(iam.simulate_custom_policy, PolicyInputList=["{}"], ActionNames=["s3:GetObject"])
    assert bad[0] == "InvalidInput"


# ---- who may talk to the server at all ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:5000"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/_localaws/health"])
def test_a_web_page_cannot_drive_it(aws, headers, path):
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(aws.url + path, headers=headers))
    assert raised.value.code == 403
    assert b"embedded AWS" in raised.value.read()


def test_a_page_of_this_machine_may(aws):
    request = urllib.request.Request(f"{aws.url}/_localaws/health", headers={"Origin": "http://localhost:8888"})
    assert "id" in json.load(urllib.request.urlopen(request))


def test_unsigned_requests_are_nobodys(aws):
    request = urllib.request.Request(aws.url, data=b"Action=ListUsers&Version=2010-05-08", method="POST")
    request.add_header("X-Amz-Target", "SageMaker.ListModels")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)
    assert raised.value.code in (403, 404)


def test_signatures_are_of_the_whole_request(aws):
    """A signed request whose body, query or path is changed on the way is refused."""
    import botocore.auth
    import botocore.awsrequest
    from botocore.credentials import Credentials

    somebody = user(aws, allow("*"))
    body = "Action=ListUsers&Version=2010-05-08"
    request = botocore.awsrequest.AWSRequest("POST", aws.url + "/", data=body)
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    botocore.auth.SigV4Auth(Credentials(somebody.key, somebody.secret), "iam", "us-east-1").add_auth(request)
    headers = dict(request.headers.items())

    def send(text: str, **changes: str) -> int:
        changed = headers | changes
        try:
            return urllib.request.urlopen(urllib.request.Request(aws.url, text.encode(), changed)).status
        except urllib.error.HTTPError as error:
            return error.code

    assert send(body) == 200
    assert send(body.replace("ListUsers", "ListRoles")) == 403
    assert send(body, **{"X-Amz-Date": headers["X-Amz-Date"].replace("T", "T")[:-3] + "01Z"}) in (200, 403)
    assert send(body, Authorization=headers["Authorization"].replace("us-east-1", "us-west-2")) == 403


def test_a_clock_that_is_wrong_is_told(aws, monkeypatch):
    import datetime

    import botocore.auth

    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: then)
    assert refusal(aws.client("iam").list_users)[0] == "SignatureDoesNotMatch"
    s3 = user_client(aws)
    assert refusal(s3.list_buckets)[0] == "RequestTimeTooSkewed"


def user_client(aws):
    import boto3

    return boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=aws.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}),
    )
