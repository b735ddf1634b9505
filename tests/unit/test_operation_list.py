"""The list of what the embedded AWS answers is the code's, and the page shows it."""

from pathlib import Path

import pytest

from helpers.localaws.gateway import OPERATIONS
from helpers.localaws.operation_list import markdown, services, text

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def listed():
    return {one.name: one for one in services()}


def test_the_page_is_current():
    told = "docs/operations.md is old; write it anew: python -m helpers.localaws operations --markdown"
    assert PAGE.read_text() == markdown(), told


def test_everything_that_is_executed_is_listed(listed):
    for service, operation in OPERATIONS:
        assert operation in listed[service].executed


def test_records_are_what_moto_really_answers(listed):
    assert {"CreateRole", "PutRolePolicy", "ListRoles"} <= set(listed["iam"].recorded)
    assert {"PutBucketTagging", "PutObject", "CompleteMultipartUpload"} <= set(listed["s3"].recorded)
    assert "CreateVpc" in listed["ec2"].recorded
    # moto has no such method: it is refused when it is asked for.
    assert "ListPoliciesGrantingServiceAccess" not in listed["iam"].recorded
    # What executes is never a mere record.
    assert "RunInstances" not in listed["ec2"].recorded
    assert "DeleteBucketAnalyticsConfiguration" not in listed["s3"].recorded


def test_the_text_has_a_line_a_service_and_way():
    lines = dict(line.split(": ", 1) for line in text().splitlines())
    assert "CreateTrainingJob" in lines["sagemaker executed"].split()
    assert "sagemaker records" not in lines
