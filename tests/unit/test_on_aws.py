"""The page that takes a reader to AWS: its quotas, amounts, commands and links are the code's."""

import re
from types import SimpleNamespace

import pytest

from helpers import costs, expected, notebook_instance, quotas, teardown
from helpers.localaws.quotas import catalogue
from helpers.prices import snapshot
from helpers.settings import ROOT, Settings

PAGE = (ROOT / "docs" / "on-aws.md").read_text()
SETTINGS = Settings.of()


def rows(heading):
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_the_quotas_are_those_that_the_series_needs_with_awss_codes():
    codes = {quota.name: quota.code for quota in catalogue().values()}
    needed = [
        [need.what, need.service, need.quota, codes[need.quota], f"{need.needed:g}", need.instead]
        for need in quotas.needs(SimpleNamespace(settings=SETTINGS))
    ]
    assert rows("2. Quotas") == needed


def test_the_table_of_time_and_costs_is_current():
    told = "docs/on-aws.md is old: python -m helpers.expected --write"
    assert expected.written(PAGE, SETTINGS) == PAGE, told


def test_the_table_adds_up_and_keeps_the_default_budget():
    found = expected.plan(SETTINGS)
    assert [one.notebook[:2] for one in found[:8]] == [f"0{number}" for number in range(1, 9)]
    together = float(re.search(r"\*\*together\*\*.*\*\*([0-9.]+)\*\* \|$", expected.table(SETTINGS), re.M)[1])
    assert together == pytest.approx(sum(costs.total(one.lines) for one in found), abs=0.005)
    assert together < SETTINGS.budget_usd


def test_other_settings_give_another_table_and_a_page_without_marks_is_refused():
    assert expected.table(Settings.of(tuning_trials=8)) != expected.table(SETTINGS)
    with pytest.raises(ValueError, match="the page has no"):
        expected.written("# no marks", SETTINGS)


def test_its_prices_are_the_snapshots():
    stated = {float(usd) for usd in re.findall(r"\$([0-9.]+[0-9]) an hour", PAGE)}
    kinds = {"endpoint": SETTINGS.endpoint_instance_type, "notebook": notebook_instance.INSTANCE_TYPE}
    assert stated == {snapshot().instance(kind, name).usd for kind, name in kinds.items()}


def test_what_it_says_of_the_notebook_instance_is_so():
    for fact in (notebook_instance.PLATFORM, notebook_instance.INSTANCE_TYPE, f"{notebook_instance.VOLUME_GB} GB"):
        assert fact in PAGE
    assert f"{SETTINGS.project}-notebook" in PAGE


def test_its_commands_and_modules_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z.][a-z/.]*)", PAGE, re.M):
        assert re.search(rf"^([a-z ]* )?{re.escape(target)}\b.*:", makefile, re.M), target
    for module in set(re.findall(r"-m (helpers\.\w+)", PAGE)):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    assert set(re.findall(r"(?:TARGET|ONLY|DATA|WEIGHTS|DRY)=", PAGE)) <= {
        f"{name}=" for name in re.findall(r"\b([A-Z]+)\b", makefile)
    }
    assert teardown.main.__module__ == "helpers.teardown"


def test_its_links_within_the_page_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", PAGE, re.M)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", PAGE):
        assert anchor in headings, anchor
