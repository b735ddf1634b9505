"""What a run of the series on AWS is expected to take and to cost: the table of ``docs/on-aws.md``.

``python -m helpers.expected`` prints it, with ``--write`` it goes into the page. Nothing in it was measured on AWS. The
minutes are estimates: roughly the seconds of work that the drawn photos take on two cores of an embedded run, plus the
waits that AWS's documents and forums tell of; the prices are the snapshot's. What is billed is the time of instances,
not of you.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from . import compute, costs, notebook_instance
from .costs import Line
from .settings import ROOT, Settings

PAGE = ROOT / "docs" / "on-aws.md"
BEGIN, END = "<!-- expected: made by python -m helpers.expected --write -->", "<!-- /expected -->"
# Seconds that an instance is billed besides the training itself: fetching image and photos, saving the model.
AROUND_A_JOB = 150
# A bare machine boots and installs PyTorch first.
AROUND_AN_INSTANCE = 420
WORK = 90  # seconds of one training of the drawn photos


@dataclass(frozen=True)
class Expected:
    """One notebook: its minutes on AWS, what it waits for there, and what is billed."""

    notebook: str
    minutes: int
    waits: str
    lines: tuple[Line, ...] = ()

    @property
    def usd(self) -> float:
        """Together."""
        return costs.total(self.lines)


def plan(settings: Settings) -> list[Expected]:
    """The eight notebooks at the snapshot's prices, by the settings' instance types and counts."""
    training, spot = settings.training_instance_type, settings.spot_instance_count
    job = WORK + AROUND_A_JOB
    function = costs.function("1,500 calls", 1500, 1500 * 0.2, 256)
    ready = costs.provisioned("10 environments ready", 10, 0.25, 256)
    before = [
        Expected("01 Setup", 10, "the notebook instance, and its environment"),
        Expected("02 Data", 3, "4,961 real photos: 10 minutes"),
        Expected(
            "03 Single training",
            20,
            "each job's instance (2 to 5 minutes)",
            (
                costs.instance(f"{settings.tuning_trials} trials", training, settings.tuning_trials, job),
                costs.instance("training", training, 1, job),
            ),
        ),
    ]
    after = [
        Expected(
            "04 Spot training",
            25,
            "spot capacity, then the endpoint (5 to 10 minutes)",
            (
                costs.instance("two copies", training, spot, job),
                costs.instance("training", training, spot, job + 120, spot=True),
            ),
        ),
        Expected(
            "05 EC2 training",
            12,
            "the machine, which installs PyTorch",
            (costs.instance("EC2", compute.INSTANCE_TYPE, 1, WORK + AROUND_AN_INSTANCE, kind="ec2"),),
        ),
        Expected("06 Lambda", 4, "IAM, which is told of a new role within seconds", (function,)),
        Expected(
            "07 Scaling",
            40,
            "two more instances, and 15 quiet minutes to scale in",
            (ready, costs.instance("two more", settings.endpoint_instance_type, 2, 1500, kind="endpoint")),
        ),
        Expected("08 Teardown", 5, "the endpoint's and the notebook instance's end"),
    ]
    return [*before, *after, *_all_the_time(settings, before, after)]


def _all_the_time(settings: Settings, before: list[Expected], after: list[Expected]) -> list[Expected]:
    """What is billed while you work, and not by one notebook."""
    serving, working = sum(one.minutes for one in after) - 15, sum(one.minutes for one in [*before, *after])
    endpoint = costs.instance("endpoint", settings.endpoint_instance_type, 1, serving * 60, kind="endpoint")
    host = costs.instance("notebook", notebook_instance.INSTANCE_TYPE, 1, working * 60, kind="notebook")
    disk = costs.volume("its volume", notebook_instance.VOLUME_GB, working / 60)
    return [
        Expected(f"the endpoint, {serving} minutes from 04 to 08", 0, "", (endpoint,)),
        Expected(f"the notebook instance, {working} minutes", 0, "", (host, disk)),
    ]


def table(settings: Settings) -> str:
    """The plan as Markdown."""
    found = plan(settings)
    rows = [f"| {one.notebook} | {one.minutes or ''} | {one.waits} | {_billed(one)} | {one.usd:.3f} |" for one in found]
    minutes, usd = sum(one.minutes for one in found), sum(one.usd for one in found)
    head = "| notebook | minutes | of which it waits for | billed | USD |\n|---|--:|---|---|--:|"
    return "\n".join([head, *rows, f"| **together** | **{minutes}** | | | **{usd:.2f}** |"])


def _billed(one: Expected) -> str:
    return "; ".join(f"{line.what}: {line.quantity:.2g} {line.unit}" for line in one.lines)


def written(page: str, settings: Settings) -> str:
    """The page with today's table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{table(settings)}\n\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m helpers.expected", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write it into {PAGE.relative_to(ROOT)}")
    if not parser.parse_args(arguments).write:
        print(table(Settings.of()))
        return 0
    page = Path(PAGE)
    page.write_text(written(page.read_text(encoding="utf-8"), Settings.of()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
