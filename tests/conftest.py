"""What the tests share: an embedded AWS of their own, on a free port, with a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings

from tests import workers

# Here, and not where they are used: Playwright runs but once at a time in a process.
from tests.browser import browser, page, visits

__all__ = ["browser", "page", "visits"]

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data"
# Nothing that a busy machine decides (an example may take a fifth of a second, by default), and the same examples in
# each run. Whoever looks for new ones: `pytest --hypothesis-profile=default`.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
# AWS waits 120 s between SIGTERM and SIGKILL; the tests' server waits 6.
TIME_SCALE = 20.0
# What the tests' roles may: what their jobs, endpoints and functions call, but nothing of IAM.
BROAD = ["s3:*", "logs:*", "cloudwatch:*", "sagemaker:*", "lambda:*", "ecr:*"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give time to what makes something slow for all; under pytest-xdist put the longest first."""
    for item in items:
        if workers.group(item.path) in workers.TOGETHER and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: workers.rank(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share groups out, each to one worker: xdist's own, loadgroup, knows them by node ids, which pytest 9 fixes."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return workers.group(ROOT / nodeid.partition("::")[0])

    return Groups(config, log)


@dataclass(frozen=True)
class LocalAws:
    """A running embedded AWS, as a user's shell sees it."""

    state: Path
    url: str
    environment: dict[str, str]

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``python -m helpers.localaws …`` on this server's state folder."""
        return localaws_cli(arguments[0], "--state", str(self.state), *arguments[1:], check=check)

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """A boto3 client of the administrator."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def role(self, name: str, service: str) -> str:
        """The ARN of a role that trusts ``service`` and may do what jobs, endpoints and functions usually do.

        Made where it is not there.
        """
        iam = self.client("iam")
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        broad = {"Effect": "Allow", "Action": BROAD, "Resource": "*"}
        try:
            arn = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"])
            policy = json.dumps({"Version": "2012-10-17", "Statement": [broad]})
            iam.put_role_policy(RoleName=name, PolicyName="broad", PolicyDocument=policy)
            return arn
        except iam.exceptions.EntityAlreadyExistsException:
            return str(iam.get_role(RoleName=name)["Role"]["Arn"])


def localaws_cli(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run ``python -m helpers.localaws …`` as a user would."""
    argv = [sys.executable, "-m", "helpers.localaws", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAGEMAKER_"))}
    return subprocess.run(argv, cwd=ROOT, env=clean, check=check, capture_output=True, text=True, timeout=180)


def exported(lines: str) -> dict[str, str]:
    """The variables that the lines of ``localaws env`` set, read by a real shell."""
    script = f"{lines}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = subprocess.run(
        ["sh", "-c", script], check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    variables: dict[str, str] = json.loads(done.stdout)
    return variables


def start(state: Path, *options: str) -> LocalAws:
    """``up``, and what ``env`` then exports."""
    done = localaws_cli("up", "--state", str(state), *options)
    lines = localaws_cli("env", "--state", str(state)).stdout
    return LocalAws(state, done.stdout.splitlines()[-1], exported(lines))


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """The embedded AWS that most integration tests share. Use names of your own: nothing is cleared in between."""
    running = start(tmp_path_factory.mktemp("aws") / "state", "--time-scale", str(TIME_SCALE))
    yield running
    running.cli("down")


@pytest.fixture
def fresh_aws(tmp_path: Path) -> Iterator[Callable[..., LocalAws]]:
    """Start an embedded AWS of one's own (to stop, kill or fill): ``fresh_aws("--time-scale", "50")``."""
    state = tmp_path / "state"
    yield lambda *options: start(state, *options)
    localaws_cli("down", "--state", str(state), check=False)


@pytest.fixture
def user(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> LocalAws:
    """The shared embedded AWS, its variables exported: for code that reads the environment, such as the SDKs."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "SAGEMAKER_")):
            monkeypatch.delenv(name)
    for name, value in aws.environment.items():
        if name.startswith(("AWS_", "SAGEMAKER_")):
            monkeypatch.setenv(name, value)
    return aws
