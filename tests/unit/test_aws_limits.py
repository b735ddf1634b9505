"""Every rule of AWS's documented limits can fail, says where it is from, and says more than AWS's models do."""

import pytest

from tests.aws_limits import CHECKS, rules
from tests.request_models import complaints, constraints, input_shape

RULES = rules()


def of_rules(*chosen):
    return pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.id) for rule in chosen])


@of_rules(*RULES)
def test_its_example_breaks_it(rule):
    assert rule.broken_by(rule.example()), rule.says


@of_rules(*(rule for rule in RULES if not rule.modelled))
def test_the_model_alone_would_let_it_pass(rule):
    entry = rule.example()
    shape = input_shape(entry["service"], entry["operation"])
    assert list(constraints(shape, rule.bad, "", required=False)) == []


def test_there_are_many_rules_of_many_services_each_from_a_document():
    assert len(RULES) >= 60
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert len({service for rule in RULES for service in rule.of}) >= 12
    for rule in RULES:
        assert rule.url.startswith("https://"), rule.id
        assert rule.read in ("page", "model", "unread"), rule.id
        assert rule.source, rule.id


def test_every_function_of_the_rules_is_used():
    assert {rule.limits["check"] for rule in RULES if "check" in rule.limits} == set(CHECKS)


def entry(service="sagemaker", operation="CreateModel", unknown=(), **parameters):
    return {"service": service, "operation": operation, "parameters": parameters, "unknown": list(unknown)}


@pytest.mark.parametrize(
    ("request_of", "says"),
    [
        (entry(ModelName="m"), ""),
        (entry(), "CreateModel.ModelName is required"),
        (entry(ModelName="a name"), "does not match"),
        (entry(ModelName="m" * 64), "is 64, above 63"),
        (entry(ModelName=1), "is no string"),
        (entry(ModelName="m", Colour="red"), "CreateModel.Colour is no member"),
        (entry(ModelName="m", unknown=["Colour"]), "Colour is no member"),
        (entry(ModelName="m", EnableNetworkIsolation="yes"), "is no boolean"),
        (entry(ModelName="m", Tags=[{"Key": "k"}]), "Tags[].Value is required"),
        (entry(ModelName="m", Containers=[{"Mode": "Both"}]), "none of the model's values"),
        (entry(operation="CreateMiracle"), "has no operation"),
        (entry(service="miracles"), "there is no service"),
        (entry("iam", "CreateRole", RoleName="r", AssumeRolePolicyDocument="{}", MaxSessionDuration=60), "below 3600"),
        (entry("lambda", "InvokeAsync", FunctionName="f", InvokeArgs={"$bytes": 1}), "is deprecated"),
    ],
)
def test_the_walk_over_the_models_finds(request_of, says):
    found = complaints(request_of)
    assert any(says in one for one in found) if says else found == []
