import json
from types import SimpleNamespace

import IPython.display
import nbformat
import pytest

from helpers import costs, outcomes, prices, show, usage
from helpers.index_page import index
from helpers.outcomes import Outcome
from helpers.settings import ROOT, Settings
from helpers.usage import Used


@pytest.fixture
def cloud():
    settings = SimpleNamespace(project="dogs", budget_usd=1.0)
    return SimpleNamespace(settings=settings, prices=prices.snapshot(), region="us-east-1")


def test_an_instances_price_is_its_hours_times_its_count():
    line = costs.instance("training", "ml.c5.2xlarge", 2, 1800)
    assert line.usd == pytest.approx(0.408)
    assert (line.unit, line.source) == ("h ml.c5.2xlarge", "snapshot of 2026-11")


def test_spot_has_its_own_price_and_managed_spot_says_that_it_is_derived():
    assert costs.instance("training", "c5.2xlarge", 1, 3600, spot=True).usd == pytest.approx(0.174)
    managed = costs.instance("training", "ml.c5.2xlarge", 1, 3600, spot=True)
    assert managed.usd == pytest.approx(0.174)
    assert "derived" in managed.source


def test_kinds_of_use_have_their_own_prices():
    assert costs.instance("endpoint", "ml.t2.medium", 1, 3600, kind="endpoint").usd == pytest.approx(0.056)
    assert costs.instance("notebook", "ml.t3.medium", 1, 3600, kind="notebook").usd == pytest.approx(0.05)
    with pytest.raises(costs.UnknownPrice, match=r"Train:ml.t3.medium in us-east-1; .* has us-east-1 only"):
        costs.instance("training", "ml.t3.medium", 1, 3600)


def test_a_functions_price_is_gb_seconds_and_requests():
    assert costs.function("calls", 1_000_000, 0, 128).usd == pytest.approx(0.20)
    assert costs.function("calls", 0, 600, 1024).usd == pytest.approx(600 * 0.0000166667)


def test_storage_is_gb_months():
    assert costs.storage("photos", 2**30, 30).usd == pytest.approx(0.023)
    assert costs.volume("disk", 10, 24 * 30).usd == pytest.approx(0.8)


def test_an_unknown_type_is_named():
    with pytest.raises(costs.UnknownPrice, match="nonesuch"):
        costs.instance("training", "ml.nonesuch", 1, 60)


def test_the_budget_refuses():
    lines = [costs.instance("training", "ml.c5.2xlarge", 1, 3600)]
    assert costs.within_budget(lines, 1.0) == lines
    with pytest.raises(ValueError, match="nothing was started"):
        costs.within_budget(lines, 0.1)


def test_what_was_spent_counts(cloud, monkeypatch):
    monkeypatch.setattr(
        usage, "find", lambda *_: [Used("training a", "AmazonSageMaker", "Train:ml.c5.2xlarge", 2.0, "h")]
    )
    line = costs.instance("training", "ml.c5.2xlarge", 1, 1800)
    spent, wanted = costs.estimate(cloud, costs.instance("training", "ml.c5.2xlarge", 1, 1000))
    assert spent.usd == pytest.approx(0.816)
    assert wanted.usd == pytest.approx(0.408 * 1000 / 3600)
    with pytest.raises(costs.OverBudget, match=r"\$0.20, with \$0.82 spent already, above the budget of \$1.00"):
        costs.estimate(cloud, line)


def test_choices_mark_the_chosen_one_and_are_in_the_order_of_their_prices(cloud):
    rows = costs.choices(cloud, kind="training", chosen="ml.c5.2xlarge")
    assert [row.type for row in rows if row.marked] == ["ml.c5.2xlarge"]
    chosen = next(row for row in rows if row.marked)
    assert (chosen.vcpu, chosen.gib, chosen.usd_hour) == (8, 16, 0.408)
    assert [row.usd_hour for row in rows] == sorted(row.usd_hour for row in rows)
    assert {row.spot_usd_hour for row in costs.choices(cloud, "notebook", "ml.t3.medium")} == {"-"}
    with pytest.raises(costs.UnknownPrice, match="nonesuch"):
        costs.choices(cloud, "endpoint", "ml.nonesuch")


def test_every_choice_is_in_the_snapshot():
    for kind, names in costs.CHOICES.items():
        for name in names:
            assert prices.snapshot().instance(kind, name).usd > 0, (kind, name)


def test_the_page_shows_the_bill_item_by_item_and_it_adds_up():
    lines = [costs.Line("training <a>", 2.0, "h", 0.816, "here"), costs.Line("function", 1.0, "GB-s", 0.000017, "here")]
    ran = [
        Outcome(ROOT / "03.ipynb", "Train", lines=lines[:1]),
        Outcome(ROOT / "06.ipynb", "Function", lines=lines[1:]),
    ]
    page = index(ran, Settings.of(weights="none"), {})
    assert "training &lt;a&gt;" in page
    shown = [float(text.split("<")[0]) for text in page.partition("item by item")[2].split("$")[1:]]
    assert sum(shown[:-1]) == pytest.approx(shown[-1]) == pytest.approx(costs.total(lines))


def test_a_notebooks_last_word_carries_its_lines_to_the_page(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: shown.append(data))
    lines = [costs.instance("training", "ml.c5.2xlarge", 1, 60), costs.function("calls", 10, 1, 256)]
    show.summary("done", lines)
    (data,) = shown
    assert "(snapshot of 2026-11)" in data["text/plain"]
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
    result, read = outcomes.summary(nbformat.v4.new_notebook(cells=[cell]))
    assert (result, read) == ("done", lines)
    assert Outcome(ROOT / "03.ipynb", "Train", lines=read).usd == pytest.approx(data[show.SUMMARY]["usd"])


def test_the_snapshot_has_a_date_a_region_and_a_source():
    document = json.loads((ROOT / "helpers" / "prices.json").read_text())
    assert (document["region"], bool(document["source"])) == ("us-east-1", True)
    assert len({(row["service"], row["usagetype"]) for row in document["products"]}) == len(document["products"])
