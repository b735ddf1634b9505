import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.errors import AwsError
from helpers.localaws.validation import validate, violations

SHAPE = botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateTrainingJob").input_shape
GOOD = {
    "TrainingJobName": "job-1",
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::123456789012:role/some-role",
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"VolumeSizeInGB": 1},
    "StoppingCondition": {},
}


def complaint(params, service="sagemaker"):
    with pytest.raises(AwsError) as raised:
        validate(service, SHAPE, params)
    return raised.value


def test_good_input_passes():
    validate("sagemaker", SHAPE, GOOD)


def test_missing_member_is_null_in_awss_words():
    error = complaint({key: value for key, value in GOOD.items() if key != "RoleArn"})
    assert error.code == "ValidationException"
    assert error.message == (
        "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null"
    )


def test_all_violations_are_reported_together():
    error = complaint({**GOOD, "TrainingJobName": "bad name", "RoleArn": "x"})
    assert error.message.startswith("3 validation errors detected: ")
    assert (
        "'bad name' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expr"
        in error.message
    )
    assert (
        "'x' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20"
        in error.message
    )


@pytest.mark.parametrize(
    ("change", "path", "constraint"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.huge"}}, "resourceConfig.instanceType", "enum value set"),
        ({"ResourceConfig": {"InstanceCount": -1}}, "resourceConfig.instanceCount", "value greater than or equal to 0"),
        (
            {"HyperParameters": {f"k{i}": "v" for i in range(101)}},
            "hyperParameters",
            "length less than or equal to 100",
        ),
        ({"InputDataConfig": [{"ChannelName": "c"}]}, "inputDataConfig.1.member.dataSource", "must not be null"),
        ({"Tags": [{"Key": "k", "Value": "v" * 257}]}, "tags.1.member.value", "less than or equal to 256"),
    ],
)
def test_every_constraint_is_checked(change, path, constraint):
    message = complaint({**GOOD, **change}).message
    assert f"at '{path}'" in message
    assert constraint in message


@pytest.mark.parametrize("value", ["two", True, 1.5, {}, []])
def test_wrong_json_types_do_not_deserialise(value):
    error = complaint({**GOOD, "ResourceConfig": {"InstanceCount": value, "VolumeSizeInGB": 1}})
    assert error.code == "SerializationException"
    assert "resourceConfig.instanceCount" in error.message


def test_the_code_is_the_services_own():
    assert complaint({}, service="logs").code == "InvalidParameterException"


@given(st.text(max_size=70))
def test_names_pass_exactly_when_they_match_the_model(name):
    import re

    pattern = SHAPE.members["TrainingJobName"].metadata["pattern"]
    fits = 1 <= len(name) <= 63 and re.fullmatch(pattern, name) is not None
    assert (not list(violations(SHAPE, {**GOOD, "TrainingJobName": name}, ""))) == fits


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(SHAPE.members)), json_values, max_size=5))
def test_no_input_makes_it_fail_otherwise_than_with_an_aws_error(params):
    try:
        validate("sagemaker", SHAPE, params)
    except AwsError as error:
        assert error.message
