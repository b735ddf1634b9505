"""Run the numbered notebooks headless, in order, and write a page that says what came of each.

``python -m helpers.series --help``; ``make run`` calls it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from traitlets.config import Config

from . import cloud, outcomes, parameter_sets
from .footprint import GIB, MemoryWatch, disk_bytes, everything, tree
from .index_page import index
from .outcomes import Outcome
from .settings import ROOT, Settings, SettingsError
from .show import SUMMARY

NOTEBOOKS = ROOT / "notebooks"
# Of a cell's metadata: its tags, and why its outputs may differ from run to run.
KEPT = ("tags", "lax")


def run(
    settings: Settings, notebooks: list[Path], out: Path, max_memory: float | None = None, leave_running: bool = False
) -> list[Outcome]:
    """Execute the notebooks into ``out``, on whatever state a run before this one has left there.

    Stops after the first that fails; one fails, too, while which everything together holds more than ``max_memory``
    GiB. The page in ``out`` tells of all notebooks that are there. ``leave_running`` leaves the embedded AWS as it is.
    """
    out.mkdir(parents=True, exist_ok=True)
    prepare_environment(settings, out)
    for notebook in notebooks:
        for ending in (".ipynb", ".html"):
            (out / notebook.name).with_suffix(ending).unlink(missing_ok=True)
    done: list[Outcome] = []
    with ThreadPoolExecutor(1) as pool:
        packages = pool.submit(disk_bytes, Path(sys.prefix))  # many files: counted while the notebooks run
        try:
            cloud.resume_embedded(settings)
            for notebook in notebooks:
                print(f"{notebook.stem:20}", end=" ", flush=True)
                done.append(execute(notebook, settings, out, max_memory))
                print(_line(done[-1]), flush=True)
                if done[-1].failed:
                    break
        finally:
            if not leave_running:
                cloud.stop_embedded()
            every = outcomes.of_runs(out, settings)
            disk = {Path(sys.prefix).name: packages.result(), "data": disk_bytes(ROOT / "data"), "out": disk_bytes(out)}
            page = index(every, settings, disk, len(chosen([])))
            (out / "index.html").write_text(page, encoding="utf-8")
    return done


def prepare_environment(settings: Settings, out: Path) -> None:
    """What kernels inherit: the embedded AWS's state, the helpers, and what was set that no notebook declares."""
    os.environ.setdefault("LOCALAWS_STATE", str(out / "localaws"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ.update({f"DOGS_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set})


def chosen(only: list[str], start: str = "") -> list[Path]:
    """The notebooks to run, in order: those of ``only`` (empty: all), from number ``start`` on.

    Raises :class:`SettingsError` for a number that no notebook has.
    """
    found = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    known = [path.name[:2] for path in found]
    unknown = [number for number in (*only, *filter(None, [start])) if number not in known]
    if unknown:
        raise SettingsError(f"there is no notebook {', '.join(unknown)}; there are {', '.join(known)}")
    return [path for path in found if (not only or path.name[:2] in only) and path.name[:2] >= start]


def execute(notebook: Path, settings: Settings, out: Path, max_memory: float | None = None) -> Outcome:
    """Run one notebook; the executed copy and an HTML page of it go to ``out``."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    executed = out / notebook.name
    declared = papermill.inspect_notebook(str(notebook))
    parameters = {name: value for name, value in settings.model_dump().items() if name in declared}
    started, failed = time.monotonic(), ""
    limit = max_memory and max_memory * GIB
    watch = MemoryWatch(lambda: everything(cloud.embedded_pid()), limit, _end_kernels)
    with watch, TemporaryDirectory(prefix="kernel") as sockets:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(executed),
                parameters,
                cwd=str(NOTEBOOKS),
                progress_bar=False,
                kernel_name="python3",
                config=_kernel(Path(sockets)),
            )
        except PapermillExecutionError as error:
            failed = f"cell {error.exec_count}: {error.ename}: {error.evalue}"
        except RuntimeError as error:  # the kernel has died; so it does where the watch or the system has ended it
            failed = f"cell {outcomes.last_cell(nbformat.read(executed, as_version=4))}: {watch.refusal or error}"
    outcomes.note(executed, time.monotonic() - started, watch.peak, failed)
    _write_page(nbformat.read(executed, as_version=4), executed.with_suffix(".html"))
    return Outcome.read(executed)


def _kernel(sockets: Path) -> Config:
    """Its kernel is spoken to through sockets in a folder: no port, and nothing for anyone else to listen to.

    By default that folder would be the notebooks', where two runs at the same time would hear each other's kernels.
    """
    return Config({"KernelManager": {"transport": "ipc", "ip": str(sockets / "ipc")}})


def _end_kernels() -> None:
    for process in tree(psutil.Process())[1:]:
        try:
            process.kill()
        except psutil.Error:  # ended by itself
            continue


def store(outcomes: Iterable[Outcome]) -> None:
    """Put executed notebooks back into the repository, without what changes from run to run."""
    import nbformat

    for outcome in outcomes:
        document = nbformat.read(outcome.notebook, as_version=4)
        nbformat.write(clean(document), NOTEBOOKS / outcome.notebook.name)


def clean(document: Any) -> Any:
    """A notebook without injected parameters, timings, progress bars and machine-dependent metadata."""
    import nbformat

    document.cells = [cell for cell in document.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    executed = 0
    for number, cell in enumerate(document.cells, 1):
        cell.metadata = nbformat.from_dict({name: cell.metadata[name] for name in KEPT if cell.metadata.get(name)})
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            executed += 1
            _clean_outputs(cell, executed)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    document.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return document


def _clean_outputs(cell: Any, execution_count: int) -> None:
    """Number the cell as if nothing had been injected, and keep of its outputs what a reader is to see."""
    cell.execution_count = execution_count
    cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = execution_count
        output.get("data", {}).pop(SUMMARY, None)


def _line(outcome: Outcome) -> str:
    told = f"FAILED in {outcome.failed}" if outcome.failed else outcome.result.partition("\n")[0]
    return f"{outcome.seconds:6.1f} s  {told}"


def _write_page(document: Any, path: Path) -> None:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(exclude_input_prompt=True, exclude_output_prompt=True)  # type: ignore[no-untyped-call]
    page, _ = exporter.from_notebook_node(document)
    path.write_text(page, encoding="utf-8")


# ---- the command ----


def main(arguments: list[str] | None = None) -> int:
    """Run the series; 0 if every notebook ran, 1 if one failed, 2 if a setting is bad, 130 if it was interrupted."""
    options = vars(_parser().parse_args(arguments))
    given = {name: options.pop(name) for name in Settings.model_fields}
    given = {name: value for name, value in given.items() if value is not None}
    files = [Path(one) for group in options["parameters"] for one in group.split(",") if one]
    try:
        notebooks = chosen(_listed(options["only"]), options["start"])
        with _ends_by_signal():
            if len(files) > 1:
                return _run_sets(files, given, options)
            settings = Settings.of(**{**(parameter_sets.read(files[0]) if files else {}), **given})
            return _run_one(settings, notebooks, options, given)
    except (SettingsError, parameter_sets.PreparationError, cloud.CloudError) as error:
        print(error, file=sys.stderr)
        return 2


def _run_one(settings: Settings, notebooks: list[Path], options: Mapping[str, Any], given: Mapping[str, Any]) -> int:
    out, done = options["out"].resolve(), None
    with suppress(KeyboardInterrupt):
        done = run(settings, notebooks, out, options["max_memory"], options["leave_running"])
    print(f"\n{out / 'index.html'}")
    names = [notebook.name for notebook in notebooks]
    failed = next((one for one in outcomes.of_runs(out, settings) if one.failed and one.notebook.name in names), None)
    if failed:
        print(f"{failed.notebook.name} failed in {failed.failed}", file=sys.stderr)
        print(f"continue there with: {_resuming(failed.notebook.name[:2], options, given)}", file=sys.stderr)
    if failed or done is None:
        return 130 if done is None else 1
    if options["store"]:
        store(done)
    return 0


def _run_sets(files: list[Path], given: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    if options["store"]:
        raise SettingsError("--store is for one run: name one file of parameters")
    sets = parameter_sets.read_all(files, given)
    chosen_ones = {"only": options["only"], "from": options["start"]}
    passed = {**{name: value for name, value in chosen_ones.items() if value}, **given}
    command = [f"--{name.replace('_', '-')}={value}" for name, value in passed.items()]
    return parameter_sets.run(sets, command, options["out"].resolve(), options["max_memory"])


def _resuming(number: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """The shell command that goes on from a notebook, in the same folder, with the same settings."""
    python = os.path.relpath(sys.executable) if sys.executable.startswith(os.getcwd() + os.sep) else sys.executable
    state = os.environ["LOCALAWS_STATE"]
    own = state == str(options["out"].resolve() / "localaws")
    flags = [f"--parameters={group}" for group in options["parameters"]]
    flags += [
        f"--{name}={options[name.replace('-', '_')]}"
        for name in ("only", "max-memory")
        if options[name.replace("-", "_")]
    ]
    flags += [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    flags += [f"--{name.replace('_', '-')}" for name in ("store", "leave_running") if options[name]]
    command = [python, "-m", "helpers.series", f"--from={number}", f"--out={options['out']}", *flags]
    return ("" if own else f"LOCALAWS_STATE={shlex.quote(state)} ") + shlex.join(command)


@contextmanager
def _ends_by_signal() -> Iterator[None]:
    """Within it a SIGTERM ends the run as Ctrl-C does: kernels and the embedded AWS are ended first."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _listed(text: str) -> list[str]:
    return [one for one in re.split(r"[,\s]+", text) if one]


def _gib(text: str) -> float:
    gib = float(text)
    if not 0 < gib < float("inf"):
        raise argparse.ArgumentTypeError("a number of GiB above 0")
    return gib


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.series", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", default="", help="numbers of the notebooks to run: 03 or 03,04 (default: all)")
    parser.add_argument(
        "--from", default="", dest="start", help="number of the notebook to go on from, in the same --out"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for what the run writes (default: out)")
    parser.add_argument("--store", action="store_true", help="put the executed notebooks back into notebooks/")
    parser.add_argument(
        "--parameters",
        default=[],
        action="append",
        metavar="FILE",
        help="YAML file of settings, as papermill's -f; several (a.yaml,b.yaml) run side by side, in OUT/<name>",
    )
    parser.add_argument(
        "--max-memory", type=_gib, metavar="GIB", help="end the run where everything together holds more"
    )
    parser.add_argument("--leave-running", action="store_true", help="leave the embedded AWS running at the end")
    for name, setting in Settings.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"{setting.description} (default: {setting.default!r})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
