"""IAM's policy language: AWS's documented rules as a table, what is malformed, and what holds of any policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.localaws.errors import NotImplementedHere
from helpers.localaws.policy import Context, Decision, Document, Policies, PolicyError, Principal, decide, parse

ACCOUNT = "111122223333"
ALICE = Principal(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/alice")
WHO = {
    "alice": (ALICE, {"aws:username": "alice", "aws:PrincipalArn": ALICE.arn}),
    "role": (
        Principal(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/trainer", f"arn:aws:sts::{ACCOUNT}:assumed-role/trainer/job"),
        {"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/trainer"},
    ),
    "service": (Principal(service="events.amazonaws.com"), {}),
    "anonymous": (Principal(), {}),
}
GROUPS = yaml.safe_load((Path(__file__).parent / "policy_cases.yaml").read_text())
CASES = [(group, ask) for group in GROUPS for ask in group["asks"]]


def document(statements: list[dict[str, Any]], kind: str = "identity", version: str = "2012-10-17") -> Document:
    return parse(json.dumps({"Version": version, "Statement": statements}), kind)


def documents(group: dict[str, Any], name: str, kind: str) -> tuple[Document, ...]:
    version = group.get("version", "2012-10-17")
    return (document(group[name], kind, version),) if group.get(name) else ()


def answer(decision: Decision) -> str:
    return "allowed" if decision.allowed else "explicit" if decision.explicit else "implicit"


@pytest.mark.parametrize(
    ("group", "ask"), CASES, ids=[f"{index}-{group['see']}-{ask[0]}" for index, (group, ask) in enumerate(CASES)]
)
def test_as_aws_documents_it(group: dict[str, Any], ask: list[Any]) -> None:
    action, resource, expected, context = (*ask, {})[:4]
    principal, keys = WHO[group.get("as", "alice")]
    policies = Policies(
        identity=documents(group, "identity", "identity"),
        boundary=documents(group, "boundary", "identity") or None,
        session=documents(group, "session", "identity") or None,
        resource=documents(group, "resource", "resource") + documents(group, "trust", "trust"),
        resource_must_allow="trust" in group,
    )
    try:
        found = answer(decide(principal, action, resource, Context(keys | context), policies))
    except NotImplementedHere as refusal:
        assert "aws:Nonsense" in refusal.message
        found = "unknown"
    assert found == expected


def test_the_table_is_not_shrinking() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize(
    ("statement", "kind", "why"),
    [
        ({"Effect": "Allow", "Action": "s3:*"}, "identity", "must contain resources"),
        ({"Effect": "Allow", "Resource": "*"}, "identity", "must contain actions"),
        ({"Effect": "allow", "Action": "s3:*", "Resource": "*"}, "identity", "Effect"),
        ({"Effect": "Allow", "Action": "GetObject", "Resource": "*"}, "identity", "prefaced by a vendor"),
        ({"Effect": "Allow", "Action": "s3:*", "NotAction": "s3:*", "Resource": "*"}, "identity", "exclude"),
        ({"Effect": "Allow", "Action": "s3:*", "Resource": "photos/*"}, "identity", "ARN format"),
        ({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}, "identity", "not specify a princ"),
        ({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, "resource", "Missing required field Principal"),
        ({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": {"Aws": "*"}}, "resource", "Invalid"),
        ({"Effect": "Allow", "Action": "sts:*", "Resource": "*", "Principal": "*"}, "trust", "prohibited field"),
        ({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Extra": 1}, "identity", "'Extra'"),
        *(
            ({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}, "identity", why)
            for condition, why in [
                ({"StringIs": {"aws:username": "a"}}, "operator: StringIs"),
                ({"ForSomeValues:StringEquals": {"aws:TagKeys": "a"}}, "operator: ForSomeValues"),
                ({"NullIfExists": {"aws:username": "true"}}, "operator: NullIfExists"),
                ({"IpAddress": {"aws:SourceIp": "localhost"}}, "IpAddress: localhost"),
                ({"NumericEquals": {"s3:max-keys": "ten"}}, "NumericEquals: ten"),
                ({"DateLessThan": {"aws:CurrentTime": "tomorrow"}}, "DateLessThan: tomorrow"),
                ({"Bool": {"aws:SecureTransport": "yes"}}, "Bool: yes"),
                ({"StringEquals": "aws:username"}, "an operator, a key and values"),
            ]
        ),
    ],
)
def test_what_iam_would_not_take_is_malformed(statement: dict[str, Any], kind: str, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        document([statement], kind)


@pytest.mark.parametrize("text", ["{", "[]", '{"Version": "2012-10-17"}', '{"Version": "2020-01-01", "Statement": []}'])
def test_what_is_no_policy_is_malformed(text: str) -> None:
    with pytest.raises(PolicyError):
        parse(text)


def test_a_statement_knows_where_it_is_written() -> None:
    text = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "a:b", "Resource": "*"}, '
    text += '{"Effect": "Deny", "Action": "c:d", "Resource": "*"}]}'
    first, second = parse(text).statements
    assert json.loads(text[first.start : first.end])["Effect"] == "Allow"
    assert json.loads(text[second.start : second.end])["Effect"] == "Deny"


# ---- what holds of any policies ----

NAMES = st.sampled_from(["Get", "GetObject", "Put", "List"])
ACTIONS = st.one_of(st.builds("s3:{}".format, NAMES), st.sampled_from(["s3:*", "*", "s3:Get*", "sns:Publish"]))
PARTS = st.sampled_from(["photos", "photos/a", "photos/b", "data"])
RESOURCES = st.one_of(
    st.builds("arn:aws:s3:::{}".format, PARTS),
    st.sampled_from(["*", "arn:aws:s3:::photos/*", "arn:aws:s3:::${aws:username}"]),
)
CONDITIONS = st.sampled_from(
    [
        {},
        {"StringEquals": {"aws:username": "alice"}},
        {"StringNotEquals": {"aws:username": "alice"}},
        {"StringLikeIfExists": {"s3:prefix": "a*"}},
        {"Null": {"s3:prefix": "true"}},
    ]
)


def statements(effect: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda effect, actions, resources, negated, condition: {
            "Effect": effect,
            "NotAction" if negated else "Action": actions,
            "Resource": resources,
            "Condition": condition,
        },
        effect,
        st.lists(ACTIONS, min_size=1, max_size=3),
        st.lists(RESOURCES, min_size=1, max_size=3),
        st.booleans(),
        CONDITIONS,
    )


ANY = st.lists(statements(st.sampled_from(["Allow", "Allow", "Deny"])), max_size=4)
ASKS = st.tuples(
    st.builds("s3:{}".format, NAMES),
    st.builds("arn:aws:s3:::{}".format, PARTS),
    st.sampled_from([{"aws:username": "alice"}, {"aws:username": "bob", "s3:prefix": "ab"}, {}]),
)
Ask = tuple[str, str, dict[str, str]]


def decided(ask: Ask, identity: list[dict[str, Any]], **others: list[dict[str, Any]]) -> Decision:
    def read(given: list[dict[str, Any]]) -> tuple[Document, ...]:
        return (document(given),) if given else ()

    limits = {name: read(given) for name, given in others.items()}
    return decide(ALICE, ask[0], ask[1], Context(ask[2]), Policies(read(identity), **limits))


@given(ANY, statements(st.just("Deny")), ASKS, st.data())
def test_adding_a_deny_never_allows(policy: list[dict[str, Any]], deny: dict[str, Any], ask: Ask, data: Any) -> None:
    at = data.draw(st.integers(0, len(policy)))
    assert not decided(ask, [*policy[:at], deny, *policy[at:]]).allowed or decided(ask, policy).allowed


@given(ANY, ASKS, st.data())
def test_removing_an_allow_never_allows(policy: list[dict[str, Any]], ask: Ask, data: Any) -> None:
    allows = [index for index, statement in enumerate(policy) if statement["Effect"] == "Allow"]
    if allows:
        gone = data.draw(st.sampled_from(allows))
        less = [statement for index, statement in enumerate(policy) if index != gone]
        assert not decided(ask, less).allowed or decided(ask, policy).allowed


@given(ANY, ASKS, st.randoms())
def test_order_never_matters(policy: list[dict[str, Any]], ask: Ask, random: Any) -> None:
    shuffled = [
        {
            name: random.sample(value, len(value)) if isinstance(value, list) else value
            for name, value in statement.items()
        }
        for statement in random.sample(policy, len(policy))
    ]
    assert answer(decided(ask, shuffled)) == answer(decided(ask, policy))


@given(ANY, ANY, ASKS)
def test_a_boundary_and_a_session_policy_only_take_away(
    policy: list[dict[str, Any]], limit: list[dict[str, Any]], ask: Ask
) -> None:
    for name in ("boundary", "session"):
        assert not decided(ask, policy, **{name: limit}).allowed or decided(ask, policy).allowed


TEXTS = st.text(alphabet="ab/-.é$", max_size=8)


@given(TEXTS, st.data())
def test_a_wildcard_allows_no_less_than_what_it_covers(name: str, data: Any) -> None:
    start = data.draw(st.integers(0, len(name)))
    end = data.draw(st.integers(start, len(name)))
    wide = name[:start] + "*" + name[end:]
    ask = ("s3:GetObject", f"arn:aws:s3:::x{name}", {})
    for written in (name, wide):
        assert decided(ask, [{"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::x{written}"}]).allowed
