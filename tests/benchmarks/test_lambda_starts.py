"""How long a cold start of a Lambda function takes here, a warm one, and the first one of a provisioned environment."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from helpers.functions import deploy, ensure_alias, ensure_provisioned, invoke, publish
from tests.conftest import ROOT, LocalAws
from tests.lambda_functions import Lambda

SOURCES = {
    "bare": "def handler(event, context): return 1",
    "with boto3": "import boto3\nclient = boto3.client('s3')\ndef handler(event, context): return 1",
}
COLD, WARM = 3, 100


@pytest.mark.parametrize("kind", SOURCES)
def test_cold_and_warm(aws: LocalAws, kind: str) -> None:
    functions = Lambda(aws)
    cold_ms, init_ms, warm_ms = [], [], []
    for _ in range(COLD):
        name = functions.create(SOURCES[kind])
        started = time.perf_counter()
        answered = invoke(functions.client, name, {})
        cold_ms.append((time.perf_counter() - started) * 1000)
        assert answered.report is not None
        assert answered.report.init_ms is not None
        init_ms.append(answered.report.init_ms)
    for _ in range(WARM):
        started = time.perf_counter()
        assert not invoke(functions.client, name, {}).cold
        warm_ms.append((time.perf_counter() - started) * 1000)
    cold, warm = statistics.median(cold_ms), statistics.median(warm_ms)
    p95 = statistics.quantiles(warm_ms, n=20)[-1]
    print(
        f"\n{kind}: cold {cold:.0f} ms (of it init {statistics.median(init_ms):.0f} ms), "
        f"warm {warm:.2f} ms (p95 {p95:.2f} ms), cold/warm {cold / warm:.0f}"
    )


AT_ONCE, ROUNDS = 10, 3


def test_the_first_calls_with_provisioned_concurrency_and_without(aws: LocalAws) -> None:
    """The series' own function: ten calls at once, that have ten environments waiting for them, or none."""
    client = Lambda(aws).client
    role = aws.role("functions-tests", "lambda.amazonaws.com")
    cold: list[float] = []
    provisioned: list[float] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(ROUNDS):
            name = f"first-calls-{number}"
            settings = {"handler": "lambda_function.lambda_handler", "environment": {"ENDPOINT_NAME": "none"}}
            deploy(client, name, ROOT / "lambda", role=role, memory=256, **settings)
            ensure_alias(client, name, "live", publish(client, name))
            ensure_provisioned(client, name, "live", AT_ONCE)
            list(pool.map(lambda _: client.get_account_settings(), range(AT_ONCE)))  # opens the connections
            provisioned += at_once(pool, lambda name=name: invoke(client, name, {}, qualifier="live"), cold=False)
            cold += at_once(pool, lambda name=name: invoke(client, name, {}), cold=True)
            client.delete_function(FunctionName=name)
    for kind, seconds in (("cold", cold), ("provisioned", provisioned)):
        p50, p99 = (1000 * np.percentile(seconds, percent) for percent in (50, 99))
        print(f"\nfirst {AT_ONCE} calls at once, {ROUNDS} times, {kind}: p50 {p50:.0f} ms, p99 {p99:.0f} ms", end="")
    # The medians: one call of thirty that the machine kept waiting says nothing of the environments.
    assert np.median(provisioned) < np.median(cold)


def at_once(pool: ThreadPoolExecutor, call: Callable[[], Any], cold: bool) -> list[float]:
    """The latencies of ten calls, in seconds; every one must be what it is to be."""

    def timed(_: int) -> float:
        started = time.perf_counter()
        answered = call()
        assert answered.cold is cold
        return time.perf_counter() - started

    return list(pool.map(timed, range(AT_ONCE)))
