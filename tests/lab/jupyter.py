"""JupyterLab on a reader's checkout, and one notebook of it in a browser: what a person does there, and sees."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import nbformat
import urllib3

from tests.conftest import ROOT

SHIPPED = ("helpers", "lambda", "notebooks", "train_src")
# Nothing is fetched from outside, and every cell is in the page, also those that are scrolled out of sight.
USER_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
ERROR = '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]'
SLOW = 400_000  # milliseconds: for what takes seconds on a machine that has nothing else to do

ENDED = r"""([cell, before]) => {
    const prompt = cell.querySelector(".jp-InputPrompt").innerText.replace(/[\[\]:\s]/g, "");
    return /^\d+$/.test(prompt) && prompt !== before;
}"""
PICTURE_WIDTHS = "pictures => Promise.all(pictures.map(one => one.decode().then(() => one.naturalWidth, () => 0)))"
WATCH_BAR = """cell => {
    const seen = cell.seen = [], old = cell.querySelector(".progress-bar");
    const look = () => {
        const bar = cell.querySelector(".progress-bar");
        const percent = bar && bar !== old ? parseFloat(bar.style.width) : NaN;
        if (!isNaN(percent) && percent !== seen.at(-1)) seen.push(percent);
    };
    new MutationObserver(look).observe(cell, {subtree: true, childList: true, attributes: true});
}"""
BAR_REACHED = "([cell, percent]) => cell.seen.some(one => one >= percent)"


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab, the checkout that it shows, and the state folder of its embedded AWS."""

    url: str
    token: str
    checkout: Path
    state: Path


def copy_checkout(to: Path) -> Path:
    """What a reader has after ``git clone``, as far as notebooks use it; without data and results of earlier runs."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *SHIPPED]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, to / name)
    return to


@contextmanager
def running_lab(home: Path, checkout: Path) -> Iterator[Lab]:
    """JupyterLab on a free port of this machine, behind a random token, with no setting of this machine's user."""
    token, state = secrets.token_hex(16), home / "localaws"
    for name, values in USER_SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    folders |= {"IPYTHONDIR": "ipython", "LOCALAWS_STATE": "localaws"}
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "DOGS_", "JUPYTER", "PYTEST_"))
    }
    environment = kept | {name: str(home / folder) for name, folder in folders.items()} | {"JUPYTER_TOKEN": token}
    options = ["--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root", f"--ServerApp.root_dir={checkout}"]
    options += ["--LabApp.extension_manager=readonly", "--KernelManager.transport=ipc"]
    argv = [sys.executable, "-m", "jupyterlab", *options]
    server = subprocess.Popen(argv, cwd=checkout, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield Lab(_address(server), token, checkout, state)
    finally:
        server.terminate()
        server.wait()


def _address(server: subprocess.Popen[str]) -> str:
    """Where the server says that it is; what it says after that is read too, or its pipe would fill."""
    assert server.stderr
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=", line):
            Thread(target=server.stderr.read, daemon=True).start()
            # It tells its address before it listens there.
            urllib3.request("GET", f"{found[1]}/api", retries=urllib3.Retry(100, backoff_factor=0.1, backoff_max=1))
            return found[1]
    raise RuntimeError(f"JupyterLab did not start:\n{''.join(said)}")


class Cell:
    """One code cell of an open notebook."""

    def __init__(self, notebook: NotebookPage, locator: Any, source: str) -> None:
        self.notebook, self.locator, self.source = notebook, locator, source

    @property
    def prompt(self) -> str:
        """The text in the brackets before the cell."""
        return str(self.locator.locator(".jp-InputPrompt").inner_text()).strip("[]: \n")

    @property
    def output(self) -> Any:
        """The area below it."""
        return self.locator.locator(".jp-Cell-outputArea")

    @property
    def errors(self) -> list[str]:
        """The texts of its tracebacks, and of all else that is shown in red."""
        return [text.strip() for text in self.output.locator(ERROR).all_inner_texts()]

    @property
    def bar(self) -> Any:
        """Its progress bar: what is around it, with the words left and right."""
        return self.output.locator(".widget-hbox:has(.widget-hprogress)")

    @property
    def pictures(self) -> list[int]:
        """The widths in pixels of its pictures, 0 of one that cannot be seen."""
        widths: list[int] = self.output.locator("img").evaluate_all(PICTURE_WIDTHS)
        return widths

    def watch_bar(self) -> None:
        """Write down from now on how far its progress bar is, whenever that changes."""
        self.locator.evaluate(WATCH_BAR)

    def bar_reached(self, percent: float) -> None:
        """Wait until the bar that is watched is at least there."""
        self.notebook.page.wait_for_function(BAR_REACHED, arg=[self.locator.element_handle(), percent], timeout=SLOW)

    def bar_seen(self) -> list[float]:
        """How far the bar that is watched was, in percent, one after the other."""
        seen: list[float] = self.locator.evaluate("cell => cell.seen")
        return seen

    def write(self, source: str) -> None:
        """Replace what is written in it, by keyboard."""
        self.locator.locator(".cm-content").click()
        self.notebook.page.keyboard.press("Control+A")
        self.notebook.page.keyboard.insert_text(source)
        self.notebook.page.keyboard.press("Escape")

    def start(self) -> None:
        """Select it and press Shift+Enter."""
        self.locator.locator(".jp-InputPrompt").click()
        self.notebook.page.keyboard.press("Shift+Enter")

    def run(self) -> Cell:
        """Run it to its end."""
        before = self.prompt
        self.start()
        self.ended(before)
        return self

    def ended(self, before: str = "") -> None:
        """Wait until it has a number, and another one than before."""
        self.notebook.page.wait_for_function(ENDED, arg=[self.locator.element_handle(), before], timeout=SLOW)


class NotebookPage:
    """A notebook in a tab of its own, with a new kernel."""

    def __init__(self, page: Any, lab: Lab, name: str) -> None:
        self.page, self.lab, self.name = page, lab, name
        document = nbformat.read(lab.checkout / "notebooks" / name, as_version=4)
        sources = [cell.source for cell in document.cells if cell.cell_type == "code"]
        page.goto(f"{lab.url}/doc/tree/notebooks/{name}?token={lab.token}", timeout=SLOW)
        self.idle()
        found = page.locator(".jp-Notebook .jp-CodeCell")
        found.nth(len(sources) - 1).wait_for(timeout=SLOW)
        self.cells = [Cell(self, found.nth(number), source) for number, source in enumerate(sources)]
        self.choose("Edit", "Clear Outputs of All Cells")

    def idle(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=SLOW)

    def cell(self, containing: str) -> Cell:
        """The first code cell that has this text."""
        return next(cell for cell in self.cells if containing in cell.source)

    def set_parameters(self, **values: str | int) -> None:
        """Write other values into the cell of parameters, and run it."""
        cell = self.cells[0]
        source = cell.source
        for name, value in values.items():
            source, count = re.subn(rf"(?m)^({name}: \w+ =) \S+", rf"\1 {json.dumps(value)}", source)
            assert count == 1, f"{self.name} has no parameter {name}"
        cell.write(source)
        cell.run()

    def run_between(self, start: Cell, end: Cell | None) -> None:
        """Run the cells after ``start`` and before ``end`` (or all the rest), one by one; none may fail."""
        stop = self.cells.index(end) if end else None
        for cell in self.cells[self.cells.index(start) + 1 : stop]:
            errors = cell.run().errors
            assert errors == [], f"{cell.source}\n\n{errors[0]}"

    @property
    def pictures(self) -> list[int]:
        """The widths in pixels of all its pictures."""
        return [width for cell in self.cells for width in cell.pictures]

    def choose(self, menu: str, entry: str) -> None:
        """Choose an entry of a menu."""
        self.page.locator(".lm-MenuBar-item", has_text=menu).click()
        self.page.locator(".lm-Menu-item", has_text=entry).click()

    def interrupt(self) -> None:
        """Press the button with the square, and wait until the kernel has been sent the signal."""
        with self.page.expect_response(lambda response: response.url.partition("?")[0].endswith("/interrupt")):
            self.page.locator('[data-command="notebook:interrupt-kernel"]').first.click()
