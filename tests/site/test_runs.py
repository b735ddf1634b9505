"""What the page that compares the runs is made of: printed tables, figures, results."""

import base64
import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def runs():
    spec = importlib.util.spec_from_file_location("site_runs", ROOT / "docs" / "site" / "runs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


PRINTED = """told before
run             wall s  why
--------------  ------  -----------
EC2, c5.large       93  a | b, $2
two on spot          7
and this says that the table has ended
status  seconds
------  -------
Starting  0.5
Done          1
"""


def test_a_printed_table_ends_where_a_line_leaves_its_columns(runs):
    first, second = runs.tables(PRINTED)
    assert first.headings == ["run", "wall s", "why"]
    assert first.rows == [["EC2, c5.large", "93", "a | b, $2"], ["two on spot", "7", ""]]
    assert second.rows == []


def test_a_table_as_markdown_escapes_what_markdown_would_read(runs):
    lines = next(iter(runs.tables(PRINTED))).markdown().splitlines()
    assert lines[1] == "| --- | --: | --- |"
    assert lines[2] == r"| EC2, c5.large | 93 | a \| b, \$2 |"


def test_what_is_missing_is_named(runs, tmp_path):
    with pytest.raises(runs.Missing, match=r"05_ec2_training\.ipynb is not in"):
        runs.pages(tmp_path, None)
    notebook = runs.Executed(Path("05_ec2_training.ipynb"), {"cells": []})
    with pytest.raises(runs.Missing, match="no table with the columns run, billable s"):
        notebook.table("run", "billable s")
    with pytest.raises(runs.Missing, match="no figure"):
        notebook.figure("dollars")
    with pytest.raises(runs.Missing, match="not been run to its summary"):
        notebook.summary()


def test_a_finished_run_is_told_with_its_times_and_its_bill(runs, tmp_path):
    """What ``make run`` leaves: the stored notebooks, with durations and summaries in them."""
    for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"):
        document = json.loads(path.read_text())
        document["metadata"]["series"] = {"seconds": 12.34, "failed": ""}
        line = {"what": f"endpoint of {path.stem}", "quantity": 0.5, "unit": "h", "usd": 0.102, "source": "list"}
        last = [cell for cell in document["cells"] if cell["cell_type"] == "code"][-1]
        last["outputs"][-1]["data"][runs.SUMMARY] = {"lines": [line]}
        (tmp_path / path.name).write_text(json.dumps(document))
    made = runs.pages(ROOT / "notebooks", tmp_path)
    stored, _, run = made["runs.md"].decode().partition("## In your run")
    assert "12 s" not in stored
    assert run.count("| 12 s |") == 8
    assert r"| 08\_teardown | endpoint of 08\_teardown | 0.5 | h | 0.102000 |" in run
    assert made["run/time-and-money.png"] == made["runs/time-and-money.png"]
    assert made["run/interruption.png"].startswith(base64.b64decode("iVBORw0KGgo="))


def test_a_run_that_failed_is_not_compared(runs):
    failed = {"cells": [], "metadata": {"series": {"seconds": 1.0, "failed": "cell 3: ValueError: no"}}}
    with pytest.raises(runs.Missing, match="has failed in that run: cell 3"):
        _ = runs.Executed(Path("05_ec2_training.ipynb"), failed).seconds
