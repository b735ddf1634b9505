from datetime import UTC, datetime, timedelta

import pytest

from helpers.localaws.engines.clock import Clock
from helpers.localaws.errors import AwsError
from helpers.localaws.quotas import LAMBDA_CONCURRENCY, OTHER_INSTANCES, SETTING, Quotas, catalogue
from helpers.localaws.store import Store

REGION, ROOT_USER = "us-east-1", "arn:aws:iam::123456789012:root"
SPOT = "L-4581C083"  # ml.c5.2xlarge for spot training job usage


class Simulated(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self):
        super().__init__(10.0)
        self.moment = datetime(2026, 11, 1, tzinfo=UTC)

    def now(self):
        return self.moment


@pytest.fixture
def clock():
    return Simulated()


@pytest.fixture
def quotas(tmp_path, clock, monkeypatch):
    monkeypatch.setenv(SETTING, f'{{"{SPOT}": 1}}')
    return Quotas(Store(tmp_path / "store"), clock)


def test_the_catalogue_has_each_code_and_name_once():
    assert len({(quota.service, quota.name) for quota in catalogue().values()}) == len(catalogue()) > 10


def test_an_unknown_quota_in_the_setting_is_named(tmp_path, clock, monkeypatch):
    monkeypatch.setenv(SETTING, '{"L-NOBODY": 1}')
    with pytest.raises(ValueError, match="unknown quota L-NOBODY; there are L-"):
        Quotas(Store(tmp_path / "store"), clock)


@pytest.mark.parametrize(
    ("instance_type", "use", "limit"),
    [
        ("ml.c5.2xlarge", "spot training job", 1),
        ("ml.g5.xlarge", "training job", 0),
        ("ml.m7i.4xlarge", "training job", OTHER_INSTANCES),
    ],
)
def test_instances_above_the_quota_are_refused(quotas, instance_type, use, limit):
    quotas.check_instances(REGION, instance_type, use, limit, 0)
    quotas.check_instances(REGION, instance_type, use, 0, limit)
    with pytest.raises(AwsError) as refused:
        quotas.check_instances(REGION, instance_type, use, 1, limit)
    assert refused.value.code == "ResourceLimitExceeded"
    assert f"'{instance_type} for {use} usage' is {limit} Instances, with current utilization of {limit} Instances" in (
        refused.value.message
    )


def test_a_request_is_granted_after_its_time(quotas, clock):
    made = quotas.request(REGION, LAMBDA_CONCURRENCY, 1500.0, ROOT_USER)
    clock.moment += timedelta(seconds=5.9)
    assert quotas.requests(REGION)[0]["Status"] == "PENDING"
    clock.moment += timedelta(seconds=0.2)
    assert quotas.value(REGION, LAMBDA_CONCURRENCY) == 1500.0
    (request,) = quotas.requests(REGION)
    assert (request["Id"], request["Status"], request["LastUpdated"]) == (made["Id"], "APPROVED", clock.moment)
    with pytest.raises(AwsError, match="greater than the current"):
        quotas.request(REGION, LAMBDA_CONCURRENCY, 1500.0, ROOT_USER)
    assert quotas.value("eu-west-1", LAMBDA_CONCURRENCY) == 1000.0
