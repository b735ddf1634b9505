"""How long a cold start of a Lambda function takes here, and a warm one. Printed, not judged."""

import statistics
import time

import pytest

from helpers.functions import invoke
from tests.conftest import LocalAws
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
