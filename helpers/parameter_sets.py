"""Runs of the series with several sets of parameters, at the same time and side by side.

A set is a YAML file as papermill's ``-f`` takes it (``project: small``, ``epochs: 1``). Each runs in a process and a
folder of its own; on the embedded AWS they share one server, as they would share an account on AWS, where name, tag and
role keep them apart.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from . import cloud, outcomes
from .footprint import GIB, Held, MemoryWatch, everything
from .index_page import compare
from .settings import ROOT, Settings, SettingsError

Process = subprocess.Popen[str]


class PreparationError(RuntimeError):
    """What all sets need cannot be had; nothing was started."""


class ParameterSet(NamedTuple):
    """A file of parameters, and the settings that it makes."""

    file: Path
    settings: Settings

    @property
    def name(self) -> str:
        """What its folder is called, and its lines start with."""
        return self.file.stem


def read(file: Path) -> dict[str, Any]:
    """The parameters that a YAML file gives. Raises :class:`SettingsError` where it gives none."""
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise SettingsError(f"{file} is to give settings by name, as 'project: small'")
    return given


def read_all(files: list[Path], given: Mapping[str, Any]) -> list[ParameterSet]:
    """The sets, where what is ``given`` holds for each of them and wins over its file.

    Raises :class:`SettingsError` for a bad value, and for sets that would not be apart from each other.
    """
    sets = [ParameterSet(file, _settings(file, given)) for file in files]
    _differ("name of file", [one.name for one in sets])
    _differ("project", [one.settings.project for one in sets])
    if len({one.settings.time_scale for one in sets}) > 1:
        raise SettingsError("the sets share one embedded AWS: give all of them the same time_scale")
    return sets


def _settings(file: Path, given: Mapping[str, Any]) -> Settings:
    try:
        return Settings.of(**{**read(file), **given})
    except SettingsError as error:
        raise SettingsError(str(error) if str(file) in str(error) else f"{file}: {error}") from None


def _differ(what: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise SettingsError(f"two sets have the same {what}, {twice[0]!r}: each set needs its own")


def run(sets: list[ParameterSet], arguments: list[str], out: Path, max_memory: float | None = None) -> int:
    """Run the series once for each set, all at the same time; 0 if every notebook ran, else 1.

    ``arguments`` are those of ``helpers.series`` that hold for all sets. Raises :class:`PreparationError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LOCALAWS_STATE", str(out / "localaws"))
    _prepare(sets)
    for one in sets:  # before, since two that start it at the same time would be in each other's way
        cloud.start_embedded(one.settings)
    children = {one.name: _start(one, arguments, out) for one in sets}
    untold = list(children.values())
    limit = max_memory and max_memory * GIB
    watch = MemoryWatch(lambda: everything(cloud.embedded_pid()), limit, lambda: _end(untold))
    try:
        with watch, suppress(KeyboardInterrupt):
            _relay_all(children)
    finally:
        _end(untold)
        codes = [child.wait() for child in children.values()]
        cloud.stop_embedded()
        _compare(sets, out, watch.peak)
    print(f"\n{out / 'index.html'}")
    if watch.refusal:
        print(f"{_running(sets, out)} ended: {watch.refusal}", file=sys.stderr)
    return 1 if any(codes) or watch.refusal else 0


def _prepare(sets: list[ParameterSet]) -> None:
    """Fetch photos and weights before: the sets share them, and would otherwise fetch them at the same time."""
    from . import data as photos
    from . import weights

    try:
        for source in dict.fromkeys(one.settings.photos_source for one in sets):
            photos.fetch(source, ROOT / "data")
        for wanted in dict.fromkeys((one.settings.weights_file, one.settings.model_architecture) for one in sets):
            weights.fetch(*wanted, ROOT / "data")
    except (photos.DataError, weights.WeightsError) as error:
        raise PreparationError(str(error)) from error


def _start(one: ParameterSet, arguments: list[str], out: Path) -> Process:
    own = ["--parameters", str(one.file), "--out", str(out / one.name), "--leave-running"]
    return subprocess.Popen(
        [sys.executable, "-m", "helpers.series", *own, *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _relay_all(children: Mapping[str, Process]) -> None:
    """Pass the runs' lines on, each with the name of its set, until all have ended."""
    width = max(map(len, children))
    threads = [
        threading.Thread(target=_relay, args=(child, f"{name:{width}} | "), daemon=True)
        for name, child in children.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _relay(child: Process, prefix: str) -> None:
    for line in child.stdout or ():
        if line.strip():
            print(f"{prefix}{line}", end="", flush=True)


def _end(children: list[Process]) -> None:
    """Ask each to end, once: a second SIGTERM would interrupt what the first had it clear up."""
    with suppress(IndexError):  # that is all: the watch and the run itself may both be at it
        while True:
            children.pop().terminate()


def _compare(sets: list[ParameterSet], out: Path, peak: Held) -> None:
    runs = {one.name: (one.settings, outcomes.of_runs(out / one.name, one.settings)) for one in sets}
    note = f"Peak memory of everything together: {peak.bytes / GIB:.1f} GiB ({peak})."
    (out / "index.html").write_text(compare(runs, note), encoding="utf-8")


def _running(sets: list[ParameterSet], out: Path) -> str:
    """The notebooks that had not ended, of each set."""
    stopped = {one.name: [o for o in outcomes.of_runs(out / one.name, one.settings) if o.failed] for one in sets}
    return ", ".join(f"{name}/{one.notebook.name}" for name, failed in stopped.items() for one in failed) or "the runs"
