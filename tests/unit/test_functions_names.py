"""The names of functions are read as AWS writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.engines.functions.names import FunctionReference, function_arn, is_version, parse, resolve
from helpers.localaws.errors import AwsError

NAMES = st.text("abcXYZ019-_", min_size=1, max_size=64)
QUALIFIERS = (
    st.none() | st.just("$LATEST") | st.integers(1, 10**6).map(str) | st.text("abcXYZ-_", min_size=1, max_size=20)
)
REGIONS = st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1", "ap-southeast-2"])
ACCOUNTS = st.from_regex(r"[0-9]{12}", fullmatch=True)


@given(REGIONS, ACCOUNTS, NAMES, QUALIFIERS)
def test_an_arn_is_read_back(region, account, name, qualifier):
    expected = FunctionReference(name, qualifier, region, account)
    assert parse(function_arn(region, account, name, qualifier)) == expected
    assert parse(function_arn(region, account, name), qualifier) == expected
    assert parse(function_arn(region, account, name, qualifier), qualifier) == expected


@given(ACCOUNTS, NAMES, QUALIFIERS)
def test_a_partial_arn_and_a_bare_name_are_read(account, name, qualifier):
    tail = f":{qualifier}" if qualifier else ""
    assert parse(f"{account}:function:{name}{tail}") == FunctionReference(name, qualifier, None, account)
    # A name of twelve digits before a qualifier could be an account; AWS reads it so too.
    if not (len(name) == 12 and name.isdecimal()) and name != "function":
        assert parse(f"{name}{tail}") == FunctionReference(name, qualifier)


@given(NAMES, QUALIFIERS.filter(bool), QUALIFIERS.filter(bool))
def test_two_qualifiers_must_agree(name, first, second):
    if (len(name) == 12 and name.isdecimal()) or name == "function":
        return
    if first == second:
        assert parse(f"{name}:{first}", second).qualifier == first
    else:
        with pytest.raises(AwsError, match="InvalidParameterValueException"):
            parse(f"{name}:{first}", second)


@given(st.text(max_size=80))
def test_anything_else_is_refused_and_never_misread(text):
    try:
        found = parse(text)
    except AwsError as error:
        assert error.code in ("ValidationException", "InvalidParameterValueException")
    else:
        assert found.name in text
        assert len(found.name) <= 64


@pytest.mark.parametrize("text", ["", "a b", "a.b", "a:b:c", "arn:aws:s3:::bucket", "name:", ":name", "n" * 65])
def test_what_is_no_name(text):
    with pytest.raises(AwsError, match="ValidationException"):
        parse(text)


def test_elsewhere_is_not_here():
    with pytest.raises(AwsError, match="not reachable in this region"):
        resolve("arn:aws:lambda:eu-west-1:123456789012:function:f", None, "us-east-1", "123456789012")
    with pytest.raises(AwsError, match="AccessDenied"):
        resolve("999999999999:function:f", None, "us-east-1", "123456789012")


def test_versions_are_numbers():
    assert is_version("12")
    assert not any(map(is_version, ("$LATEST", "live", None, "")))
