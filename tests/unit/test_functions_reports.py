"""The REPORT line: what the embedded AWS writes is what the helper reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.functions import parse_report
from helpers.localaws.engines.functions import report
from helpers.localaws.engines.functions.report import Report

MILLISECONDS = st.floats(0, 900_000).map(lambda value: round(value, 2))
REPORTS = st.builds(
    Report,
    request_id=st.uuids().map(str),
    duration_ms=MILLISECONDS,
    memory_mb=st.integers(128, 10240),
    max_memory_mb=st.integers(1, 10240),
    init_ms=st.none() | MILLISECONDS,
    error_type=st.none() | st.sampled_from([report.TIMED_OUT, report.EXITED, report.OUT_OF_MEMORY, "KeyError"]),
)


@given(REPORTS)
def test_a_report_is_read_back(written):
    found = parse_report(written.line())
    assert found is not None
    for member in ("request_id", "duration_ms", "billed_ms", "memory_mb", "max_memory_mb", "init_ms"):
        assert getattr(found, member) == getattr(written, member), member
    assert found.cold == (written.init_ms is not None)


@given(REPORTS)
def test_what_is_billed_is_at_least_what_it_took_and_less_than_a_millisecond_more(written):
    took = written.duration_ms + (written.init_ms or 0)
    assert max(took, 1) - 0.01 <= written.billed_ms < max(took, 1) + 1.01


@given(st.text())
def test_other_lines_are_no_reports(text):
    assert parse_report(text) is None


@pytest.mark.parametrize(
    ("line", "init"),
    [
        # As CloudWatch has it, and as the console shows it, with blanks for the tabs.
        (
            "REPORT RequestId: 8f5\tDuration: 3.51 ms\tBilled Duration: 288 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 85 MB\tInit Duration: 283.83 ms\t\n",
            283.83,
        ),
        (
            "REPORT RequestId: 8f5 Duration: 3.51 ms Billed Duration: 4 ms Memory Size: 128 MB Max Memory Used: 85 MB",
            None,
        ),
        (
            "REPORT RequestId: 8f5\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\t"
            "Max Memory Used: 85 MB\tStatus: timeout",
            None,
        ),
    ],
)
def test_aws_s_own_lines_are_read(line, init):
    found = parse_report(line)
    assert found is not None
    assert (found.request_id, found.max_memory_mb, found.init_ms) == ("8f5", 85, init)


def test_lambda_s_lines_are_in_aws_s_form():
    assert report.init_report(10.5, "init", report.TIMED_OUT) == (
        "INIT_REPORT Init Duration: 10.50 ms\tPhase: init\tStatus: timeout"
    )
    assert report.init_report(1.0, "invoke", "KeyError") == (
        "INIT_REPORT Init Duration: 1.00 ms\tPhase: invoke\tStatus: error\tError Type: KeyError"
    )
    assert report.init_start("python3.13", "eu-west-1").startswith(
        "INIT_START Runtime Version: python:3.13.v1\tRuntime Version ARN: arn:aws:lambda:eu-west-1::runtime:"
    )
    assert report.exit_reason(-9) == "Runtime exited with error: signal: killed"
    assert report.timeout_message(3) == "Task timed out after 3.00 seconds"
