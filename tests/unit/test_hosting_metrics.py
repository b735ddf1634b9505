"""How an endpoint's requests become numbers."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.localaws.engines.hosting.metrics import Invocation, InvocationMetrics, Load


class Monitoring:
    """CloudWatch that remembers what was published."""

    def __init__(self) -> None:
        self.published: dict[str, Any] = {}

    def publish_many(
        self,
        region: str,
        namespace: str,
        metric: str,
        values: list[float],
        dimensions: dict[str, str],
        unit: str,
        resolution: int,
    ) -> None:
        assert resolution == (1 if metric == "ConcurrentRequestsPerModel" else 60)
        assert (region, namespace) == ("us-east-1", "AWS/SageMaker")
        assert dimensions == {"EndpointName": "dogs", "VariantName": "AllTraffic"}
        self.published[metric] = (values, unit)


def test_invocations_are_published_with_zeros_where_there_was_no_error() -> None:
    monitoring = Monitoring()
    noted = InvocationMetrics(monitoring, "us-east-1", "dogs", "AllTraffic")  # type: ignore[arg-type]
    for status in (200, 415, 503, 0):
        noted.note(Invocation(status, model_seconds=0.25, overhead_seconds=0.001, instances=2))
    noted.flush()
    assert monitoring.published == {
        "Invocations": ([1, 1, 1, 1], "None"),
        "InvocationsPerInstance": ([0.5] * 4, "None"),
        "Invocation4XXErrors": ([0, 1, 0, 0], "None"),
        "Invocation5XXErrors": ([0, 0, 1, 0], "None"),
        "InvocationModelErrors": ([0, 1, 1, 1], "None"),
        "ModelLatency": ([250_000.0] * 4, "Microseconds"),
        "OverheadLatency": ([1000.0] * 4, "Microseconds"),
    }
    monitoring.published.clear()
    noted.flush()
    assert monitoring.published == {}


def test_concurrency_is_the_mean_over_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    load = Load()
    load.change(+1)  # one request for 4 s, and a second for the last 2 of them
    now[0] += 2
    load.change(+1)
    now[0] += 2
    load.change(-1)
    load.change(-1)
    assert load.in_flight == 0
    now[0] += 6
    assert load.mean() == pytest.approx((4 + 2) / 10)
    load.change(+1)
    now[0] += 10
    assert load.mean() == pytest.approx(1.0)
    assert load.mean() == 1  # at the same moment there is no mean, only the count
