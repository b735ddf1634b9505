"""pytest's configuration next to the notebooks that nbval runs; copied there as ``conftest.py``."""

import difflib
import functools
import tempfile
from pathlib import Path

import nbval.kernel
import pytest
from nbval.plugin import IPyNbFile

# Progress goes to stderr; the summary's record, for the index page of a run, is not stored.
NOT_COMPARED = ("stderr", "application/vnd.dog-breeds.summary+json")
OUTPUT_SECONDS = 120  # nbval waits 5 for an output that its kernel is sending


def pytest_configure(config):
    """Let kernels listen in a folder: a free port that is found for one may be another's when it starts."""
    folder = tempfile.TemporaryDirectory(prefix="kernel", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    sockets = str(Path(folder.name, "ipc"))
    nbval.kernel.KernelManager = functools.partial(nbval.kernel.KernelManager, transport="ipc", ip=sockets)


def pytest_collection_modifyitems(items):
    for item in items:
        item.output_timeout = OUTPUT_SECONDS


def pytest_collectstart(collector):
    if isinstance(collector, IPyNbFile):
        # nbval passes pictures over; here sanitize.cfg makes all of them equal, so that a missing one is seen.
        pictures = ("image/png", "image/jpeg")
        collector.skip_compare = tuple(key for key in collector.skip_compare if key not in pictures) + NOT_COMPARED


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """End a notebook at a cell that fails to run; after one that only shows something else, go on."""
    if call.excinfo and not str(call.excinfo.value).startswith("Cell outputs differ"):
        item.session.shouldstop = f"{item.name} failed"
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_assertrepr_compare(left, right):
    """The lines that differ, for nbval's message."""
    if isinstance(left, str) and isinstance(right, str):
        lines = (text.splitlines() for text in (left, right))
        return list(difflib.unified_diff(*lines, "stored", "of this run", lineterm="", n=1))
    return None
