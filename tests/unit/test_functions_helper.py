"""What the helper of functions says of concurrency, and reads from a report."""

from hypothesis import example, given
from hypothesis import strategies as st

from helpers import costs
from helpers.functions import account_concurrency, needed_concurrency, parse_report


@given(st.integers(1, 10_000), st.integers(1, 900_000))
@example(3, 100)  # 3 × 0.1 is more than 0.3 in floating point
def test_the_concurrency_needed_is_the_rate_times_the_duration(rate, milliseconds):
    assert needed_concurrency(rate, milliseconds / 1000) == -(-rate * milliseconds // 1000)


def test_an_account_of_ten_is_told_what_that_prevents():
    class Client:
        def get_account_settings(self):
            return {"AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}}

    found = account_concurrency(Client())
    assert (found["limit"], found["available"]) == (10, 0)
    assert "nothing more can be reserved or provisioned" in found["told"]
    assert "L-B99A9384" in found["told"]


def test_an_initialisation_that_nobody_waited_for_is_no_cold_start():
    line = (
        "REPORT RequestId: a\tDuration: 10.50 ms\tBilled Duration: {} ms\tMemory Size: 128 MB\tMax Memory Used: 40 MB"
    )
    init = "\tInit Duration: 300.20 ms"
    assert parse_report(line.format(311) + init).cold
    assert not parse_report(line.format(11) + init).cold
    assert not parse_report(line.format(11)).cold


def test_what_is_provisioned_costs_while_it_waits_and_more_at_work():
    idle = costs.provisioned("ten for an hour", 10, 1.0, 1024)
    assert round(idle.usd, 4) == 0.15
    busy = costs.provisioned("ten for an hour", 10, 1.0, 1024, busy_seconds=1000)
    assert round(busy.usd - idle.usd, 6) == round(1000 * 0.0000097222, 6)
