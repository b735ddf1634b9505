"""Options of ``python -m helpers.localaws`` that need no server to be seen."""

from __future__ import annotations

import pytest

from helpers.localaws.__main__ import _parser


def test_the_time_scale_comes_from_the_option_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCALAWS_TIME_SCALE", raising=False)
    assert _parser().parse_args(["up"]).time_scale is None
    monkeypatch.setenv("LOCALAWS_TIME_SCALE", "30")
    assert _parser().parse_args(["up"]).time_scale == 30.0
    assert _parser().parse_args(["up", "--time-scale", "2"]).time_scale == 2.0
    monkeypatch.setenv("LOCALAWS_TIME_SCALE", "0")
    with pytest.raises(SystemExit):
        _parser().parse_args(["up"])
