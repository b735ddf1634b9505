import os
import threading
from types import SimpleNamespace

import psutil
import pytest

from helpers.footprint import GIB, Held, MemoryWatch, disk_bytes, everything, measure


class Process:
    def __init__(self, pid, command, gib):
        self.pid, self._command, self._bytes = pid, command.split(), int(gib * GIB)

    def cmdline(self):
        return self._command

    def memory_full_info(self):
        if self._bytes < 0:
            raise psutil.NoSuchProcess(self.pid)
        return SimpleNamespace(pss=self._bytes, rss=2 * self._bytes)


PROCESSES = [
    Process(1, "/venv/bin/python -m helpers.series --out o", 0.1),
    Process(2, "python -m ipykernel_launcher -f kernel.json", 0.25),
    Process(3, "python -m helpers.localaws up --foreground", 0.5),
    Process(4, "/jobs/a/algo-1/python -u train.py --epochs 3", 1),
    Process(5, "/jobs/a/algo-2/python -u train.py --epochs 3", 1),
    Process(5, "/jobs/a/algo-2/python -u train.py --epochs 3", 1),
    Process(6, "python -m torch.distributed.run --nnodes=2 train.py", 0.25),
    Process(7, "bash user-data", 0.01),
    Process(8, "python gone.py", -1),
]


def test_what_processes_hold_is_told_by_what_they_are_each_counted_once():
    held = measure(PROCESSES)
    assert {name: round(bytes_ / GIB, 2) for name, bytes_ in held.by.items()} == {
        "helpers.series": 0.1,
        "notebook kernel": 0.25,
        "embedded AWS": 0.5,
        "2 × train.py": 2.0,
        "torch.distributed.run": 0.25,
        "bash": 0.01,
    }
    assert str(held).startswith("2 × train.py 2.00 GiB, embedded AWS 0.50 GiB, ")


@pytest.mark.timeout(60)
def test_the_watch_keeps_the_most_and_tells_what_was_above_the_limit():
    exceeded = threading.Event()
    with MemoryWatch(lambda: PROCESSES, limit=2 * GIB, exceeded=exceeded.set) as watch:
        assert exceeded.wait(30)
    assert watch.peak.bytes == watch.excess.bytes > 3 * GIB
    assert watch.refusal.startswith("3.11 GiB of memory were held together, above the limit of 2 GiB: 2 × train.py")


def test_a_watch_without_excess_refuses_nothing():
    with MemoryWatch(lambda: PROCESSES, limit=4 * GIB, exceeded=lambda: pytest.fail("below")) as watch:
        pass
    assert (watch.refusal, watch.excess) == ("", None)
    assert Held().bytes == 0


def test_everything_is_this_process_and_a_server_that_runs():
    assert os.getpid() in {process.pid for process in everything(None)}
    assert {1} < {process.pid for process in everything(1)}
    assert everything(2**22 + 1)  # no such server


def test_a_file_with_two_names_takes_its_room_once(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one").write_bytes(os.urandom(50_000))
    once = disk_bytes(tmp_path)
    assert 50_000 <= once < 80_000
    (tmp_path / "two").hardlink_to(tmp_path / "deep" / "one")
    assert disk_bytes(tmp_path) == once
    assert disk_bytes(tmp_path / "nowhere") == 0
