import pytest

from helpers import costs


def test_an_instances_price_is_its_hours_times_its_count():
    line = costs.instance("training", "ml.c5.2xlarge", 2, 1800)
    assert line.usd == pytest.approx(0.408)
    assert line.unit == "h ml.c5.2xlarge"


def test_spot_has_its_own_price():
    assert costs.instance("training", "ml.c5.2xlarge", 1, 3600, spot=True).usd == pytest.approx(0.174)


def test_a_functions_price_is_gb_seconds_and_requests():
    assert costs.function("calls", 1_000_000, 0, 128).usd == pytest.approx(0.20)
    assert costs.function("calls", 0, 600, 1024).usd == pytest.approx(600 * 0.0000166667)


def test_an_unknown_type_is_named():
    with pytest.raises(costs.UnknownPrice, match="nonesuch"):
        costs.instance("training", "ml.nonesuch", 1, 60)


def test_the_budget_refuses():
    lines = [costs.instance("training", "ml.c5.2xlarge", 1, 3600)]
    assert costs.within_budget(lines, 1.0) == lines
    with pytest.raises(ValueError, match="nothing was started"):
        costs.within_budget(lines, 0.1)
