"""``python -m helpers.localaws`` as a user runs it: up, down, status, reset, env; and that nothing is left behind."""

import json
import os
import signal
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from helpers.localaws.engines.processes import MARK, Processes
from helpers.localaws.folder import identity
from tests.conftest import LocalAws, exported, localaws_cli


def status(state):
    return json.loads(localaws_cli("status", "--state", str(state), check=False).stdout)


def has_ended(pid):
    """Also if nobody has reaped it yet: that is up to whoever started the server."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def port_is_free(url):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def test_up_prints_the_url_last_and_twice_attaches(fresh_aws):
    running = fresh_aws()
    first = status(running.state)
    again = running.cli("up")
    assert again.stdout.splitlines()[-1] == running.url == first["url"]
    assert status(running.state)["pid"] == first["pid"]
    assert urllib.request.urlopen(f"{running.url}/_localaws/health").status == 200


def test_several_that_start_it_at_the_same_time_have_the_same_one(fresh_aws, tmp_path):
    state = str(tmp_path / "state")
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: localaws_cli("up", "--state", state), range(3)))
    assert {one.stdout.splitlines()[-1] for one in done} == {fresh_aws().url}


def test_it_listens_on_loopback_only(fresh_aws):
    running = fresh_aws()
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(status(running.state)["pid"]).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_down_ends_the_server_and_the_port_and_a_second_down_is_no_error(fresh_aws):
    running = fresh_aws()
    pid = status(running.state)["pid"]
    running.cli("down")
    assert has_ended(pid)
    assert port_is_free(running.url)
    assert running.cli("status", check=False).returncode == 3
    running.cli("down")


def test_down_ends_even_what_left_its_parent_and_ignores_sigterm(fresh_aws, tmp_path):
    running = fresh_aws()
    processes = Processes(identity(running.state))
    stubborn = "trap '' TERM; echo ready; while :; do sleep 1; done"
    lines: list[str] = []
    child = processes.spawn(
        ["sh", "-c", f'setsid sh -c "{stubborn}" & wait'],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        on_line=lines.append,
        name="stubborn",
    )
    while not lines:
        child.finish_output(0.05)
    child.signal(signal.SIGKILL)
    child.wait()
    assert status(running.state)["processes"] >= 1
    running.cli("down")
    assert status(running.state)["processes"] == 0


def test_the_port_survives_a_restart(fresh_aws):
    running = fresh_aws()
    running.cli("down")
    assert running.cli("up").stdout.splitlines()[-1] == running.url


def test_reset_forgets_everything(fresh_aws):
    running = fresh_aws()
    running.client("s3").create_bucket(Bucket="to-be-forgotten")
    running.cli("reset")
    assert not running.state.exists()
    again = fresh_aws()
    assert again.client("s3").list_buckets()["Buckets"] == []


def test_reset_and_up_leave_other_peoples_folders_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for command in ("reset", "up"):
        refused = localaws_cli(command, "--state", str(tmp_path), check=False)
        assert refused.returncode == 1
        assert str(tmp_path) in refused.stderr
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_taken_port_is_said(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = localaws_cli("up", "--state", str(tmp_path / "state"), "--port", port, check=False)
    assert refused.returncode == 1
    assert "--port" in refused.stderr


@pytest.mark.parametrize("scale", ["0", "-3"])
def test_a_time_scale_must_be_positive(tmp_path, scale):
    refused = localaws_cli("up", "--state", str(tmp_path / "state"), "--time-scale", scale, check=False)
    assert refused.returncode != 0
    assert "above 0" in refused.stderr


def test_env_says_how_to_start_when_nothing_runs(tmp_path):
    refused = localaws_cli("env", "--state", str(tmp_path / "none"), check=False)
    assert refused.returncode == 3
    assert "up" in refused.stderr
    assert refused.stdout == ""


def test_env_is_what_a_shell_evaluates(aws: LocalAws):
    variables = exported(aws.cli("env").stdout)
    assert variables["AWS_ENDPOINT_URL"] == aws.url
    as_json = json.loads(aws.cli("env", "--json").stdout)
    assert as_json.items() <= variables.items()
    assert MARK not in variables


def test_a_proxy_is_not_asked_for_what_is_on_loopback(fresh_aws, monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but nobody listens: whoever asks this proxy is refused
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "internal.example.com")
        running = fresh_aws()
        for name in ("NO_PROXY", "no_proxy"):
            assert running.environment[name] == "internal.example.com,127.0.0.1,localhost"
            monkeypatch.setenv(name, running.environment[name])
        assert running.client("s3").list_buckets()["Buckets"] == []
