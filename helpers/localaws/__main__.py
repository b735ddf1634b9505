"""``python -m helpers.localaws up | down | status | reset | env``: the embedded AWS from the command line.

``requests FILE`` shows what was recorded of callers' requests, ``operations`` what the embedded AWS answers.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from . import request_table
from .engines import spot
from .engines.processes import MARK, end_marked, marked
from .folder import PART, identity, running, write_whole

START_SECONDS = 120
STOP_SECONDS = 60
TAKEN = 4  # exit code of ``up --foreground`` where another server has the folder
LOG = "server.log"
SDK_SETTINGS = """\
# The SageMaker SDK's own settings against the embedded AWS: no telemetry, which would leave this machine.
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 (failed), 3 (``status``, ``env``: not running) or :data:`TAKEN`."""
    options = _parser().parse_args(arguments)
    os.environ.update(past_proxies())
    folder: Path = options.state.resolve()
    command: int = options.run(folder, options)
    return command


def up(folder: Path, options: argparse.Namespace) -> int:
    """Start the server, or attach to the one that runs; its URL is the last line."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds the keys of all users
    _claim(folder)
    if options.spot_interruptions is not None:
        # Read at the start of each job: it counts for a running server, and stays.
        write_whole(folder / spot.FILE, options.spot_interruptions)
    found = running(folder)
    if options.record:
        from .recording import SETTING

        if found:
            print("already running, and recording only what it was started to; 'down' first", file=sys.stderr)
        os.environ[SETTING] = str(options.record.resolve())
    if found is None and options.foreground:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        return _serve_here(folder, options)
    if found is None:
        found = _start(folder, options)
        if found is None:
            return 1
    elif options.time_scale not in (None, found["time_scale"]):
        print(f"already running with time scale {found['time_scale']}; 'down' first to change it", file=sys.stderr)
    elif options.port and not found["url"].endswith(f":{options.port}"):
        print(f"already running at {found['url']}; 'down' first to change the port", file=sys.stderr)
    print(found["url"], flush=True)
    return 0


def down(folder: Path, _: argparse.Namespace) -> int:
    """End the server and every process that it started. State stays."""
    if not (folder / "id").exists():
        print(f"nothing runs: {folder} is no state folder", file=sys.stderr)
        return 0
    found = running(folder)
    if found:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself in the meantime
            _end(folder, found)
    # A server that was killed leaves its children behind; they carry the folder's id.
    end_marked(identity(folder))
    (folder / "server.json").unlink(missing_ok=True)
    return 0


def _end(folder: Path, found: dict[str, Any]) -> None:
    process = psutil.Process(found["pid"])
    process.terminate()
    # Not process.wait(): a process that has ended but that nobody has reaped yet would count as there.
    deadline = time.monotonic() + STOP_SECONDS
    while running(folder, announced=found):
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.02)


def status(folder: Path, _: argparse.Namespace) -> int:
    """Print, as JSON, what runs."""
    found = running(folder)
    children = marked(identity(folder)) if (folder / "id").exists() else []
    children = [process for process in children if process.pid != (found or {}).get("pid")]
    memory = sum(_memory(process) for process in children)
    shown = {"state": str(folder), "running": bool(found), **(found or {}), "processes": len(children)}
    print(json.dumps({**shown, "resident_mb": round(memory / 1e6)}, indent=2))
    return 0 if found else 3


def reset(folder: Path, options: argparse.Namespace) -> int:
    """Down, and forget everything: the state folder is removed."""
    if not folder.exists():
        return 0
    if not (folder / "id").exists():
        print(f"{folder} is no state folder of the embedded AWS; nothing was removed", file=sys.stderr)
        return 1
    code = down(folder, options)
    shutil.rmtree(folder)
    return code


def env(folder: Path, options: argparse.Namespace) -> int:
    """Print the shell lines (or, with --json, the variables) that point any AWS client at the running server."""
    found = running(folder)
    if found is None:
        print("the embedded AWS is not running; start it with: python -m helpers.localaws up", file=sys.stderr)
        return 3
    variables = environment(folder, found["url"])
    if options.json:
        print(json.dumps(variables))
        return 0
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def requests(_: Path, options: argparse.Namespace) -> int:
    """Print, as a table, what callers have asked of AWS: the requests in a file that ``up --record`` wrote."""
    try:
        print(request_table.table(request_table.read(options.file)))
    except (OSError, ValueError) as error:
        print(f"{options.file} cannot be read as a recording: {error}", file=sys.stderr)
        return 1
    return 0


def operations(_: Path, options: argparse.Namespace) -> int:
    """Print what the embedded AWS answers, service by service: what it executes, and what it keeps as records."""
    from . import operation_list

    print(operation_list.markdown() if options.markdown else operation_list.text(), end="")
    return 0


def environment(folder: Path, url: str) -> dict[str, str]:
    """The variables that any AWS client needs: address, region, the administrator's key, and the SDK's settings."""
    settings = folder / "sagemaker-sdk.yaml"
    if not settings.exists() or settings.read_text() != SDK_SETTINGS:
        write_whole(settings, SDK_SETTINGS)  # another notebook's SDK may be reading it
    key = json.loads((folder / "administrator.json").read_text())
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        **key,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "SAGEMAKER_VALIDATE_ROLE": "false",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
        **past_proxies(),
    }


def past_proxies() -> dict[str, str]:
    """The variables by which clients reach loopback also where HTTP_PROXY is set: a proxy's loopback is not ours."""
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = dict.fromkeys([*filter(None, given.split(",")), "127.0.0.1", "localhost"])
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(hosts))


def _serve_here(folder: Path, options: argparse.Namespace) -> int:
    from . import server

    try:
        server.serve(folder, options.port, options.time_scale or 1.0)
    except BlockingIOError:
        print(f"another server is starting or stopping on {folder}", file=sys.stderr)
        return TAKEN
    except OSError as error:
        print(f"cannot serve: {error}. Choose another port with --port, or none for a free one.", file=sys.stderr)
        return 1
    # Every child has ended and everything is on disk: to take the interpreter apart as well would only cost seconds.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _start(folder: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    """Start a server in the background and wait until it answers; None, its log's tail printed, where it did not."""
    argv = [sys.executable, "-m", __package__, "up", "--foreground", "--state", str(folder)]
    argv += ["--port", str(options.port)] if options.port else []
    argv += ["--time-scale", str(options.time_scale)] if options.time_scale else []
    process = _spawn(argv, folder)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = running(folder)
        if found and _answers(found["url"], folder):
            if found["pid"] != process.pid:
                process.terminate()
            return found
        # While another server has the folder, it is starting, too, and will be found, or it is stopping.
        if process.poll() is not None and not _is_taken(folder) and not running(folder):
            if process.returncode != TAKEN:
                break
            process = _spawn(argv, folder)
        time.sleep(0.05)
    log_path = folder / LOG
    tail = log_path.read_text(errors="replace")[-2000:]
    print(f"the embedded AWS did not start; the end of {log_path}:\n{tail}", file=sys.stderr)
    return None


def _spawn(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=Path(__file__).resolve().parents[2],
            # Marked like its children, so that 'down' also finds a server that never came to announce itself.
            env={**os.environ, MARK: identity(folder)},
        )


def _is_taken(folder: Path) -> bool:
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _answers(url: str, folder: Path) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_localaws/health", timeout=5) as response:
            answered: bool = json.load(response)["id"] == identity(folder)
            return answered
    except OSError:
        return False


def _claim(folder: Path) -> None:
    """Refuse a folder with other things in it: ``reset`` would remove them."""
    # In this order: the id may be made at this moment, by another that starts on the folder.
    found = [path.name for path in folder.iterdir()]
    strangers = [name for name in found if not (name == "id" or (name.startswith("id.") and name.endswith(PART)))]
    if strangers and not (folder / "id").exists():
        sys.exit(f"{folder} holds other files ({', '.join(strangers[:3])}); choose an empty folder with --state")
    identity(folder)


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _scale(text: str) -> float:
    scale = float(text)
    if scale <= 0:
        raise argparse.ArgumentTypeError("the time scale must be above 0")
    return scale


def _interruptions(text: str) -> str:
    try:
        spot.SpotMarket.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.localaws", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="up|down|status|reset|env|requests|operations")
    default = Path(os.environ.get("LOCALAWS_STATE", ".localaws"))
    for function in (up, down, status, reset, env, requests, operations):
        command = commands.add_parser(function.__name__, help=(function.__doc__ or "").split("\n")[0])
        command.add_argument(
            "--state", type=Path, default=default, help="folder that holds all state (default: %(default)s)"
        )
        command.set_defaults(run=function)
        if function is requests:
            command.add_argument("file", type=Path, help="a file that 'up --record FILE' wrote")
        if function is operations:
            command.add_argument("--markdown", action="store_true", help="as the page docs/operations.md")
        if function is env:
            command.add_argument("--json", action="store_true", help="as a JSON object")
        if function is up:
            command.add_argument("--port", type=int, help="port on 127.0.0.1 (default: the last one, or a free one)")
            command.add_argument(
                "--time-scale",
                type=_scale,
                default=os.environ.get("LOCALAWS_TIME_SCALE"),
                help="make AWS's own waiting this many times shorter (default: $LOCALAWS_TIME_SCALE, or 1)",
            )
            command.add_argument(
                "--spot-interruptions",
                type=_interruptions,
                metavar="N|none|random",
                help="how often each managed-spot training job is interrupted (default: the last setting, or 1)",
            )
            command.add_argument(
                "--record",
                type=Path,
                metavar="FILE",
                help="append every request to this file, a JSON line each (default: $LOCALAWS_RECORD, or nowhere)",
            )
            command.add_argument("--foreground", action="store_true", help="serve in this process, log on stderr")
    return parser


if __name__ == "__main__":
    sys.exit(main())
