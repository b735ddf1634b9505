"""The end of the embedded AWS: everything is closed, in order, whatever fails."""

from __future__ import annotations

import pytest

from helpers.localaws.cloud import Cloud

IN_ORDER = (
    *("alarms", "autoscaling", "instances", "functions", "hosting", "tuning", "training"),
    *("processes", "utilisation", "metrics", "records", "last_accessed", "store"),
)


def test_what_fails_to_close_keeps_nothing_else_from_it(tmp_path, monkeypatch):
    cloud, closed = Cloud(tmp_path, "http://127.0.0.1:1"), []

    def watched(name, close):
        def closing():
            closed.append(name)
            close()
            if name == "hosting":
                raise RuntimeError("an instance does not end")

        return closing

    for name in IN_ORDER:
        one = getattr(cloud, name)
        monkeypatch.setattr(one, "close", watched(name, one.close))
    with pytest.raises(RuntimeError, match="does not end"):
        cloud.close()
    assert closed == list(IN_ORDER)
