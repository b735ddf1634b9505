"""Log lines are searched by a process that may be killed over one, and the server goes on."""

import os
import signal
from collections.abc import Iterator

import pytest

from helpers.localaws.engines.line_search import LONGEST, LineSearch

HOPELESS = "(a+)+b"  # on thirty letters a, and no b


@pytest.fixture
def searches() -> Iterator[list[LineSearch]]:
    made: list[LineSearch] = []
    yield made
    for search in made:
        search.close()


def test_first_groups_by_expression(searches):
    searches.append(LineSearch(["x=(\\S+)", "y=(.*)", "(ü)"], on_slow=print))
    assert searches[0].search('x=1 y="two" 3') == {0: "1", 1: '"two" 3'}
    assert searches[0].search("für\tx=") == {2: "ü"}
    assert searches[0].search("") == {}


def test_a_hopeless_expression_is_given_up_and_the_others_go_on(searches):
    slow: list[int] = []
    searches.append(LineSearch(["x=(.)", HOPELESS, "y=(.)"], slow.append))
    line = "x=1 y=2 " + "a" * 40
    assert searches[0].search(line) == {0: "1", 2: "2"}
    assert searches[0].search(line) == {0: "1", 2: "2"}
    assert slow == [1]


def test_a_line_that_is_too_long_is_not_searched(searches):
    searches.append(LineSearch(["x=(.)"], on_slow=print))
    assert searches[0].search("x=1" + "." * LONGEST) == {}
    assert searches[0].search("x=1" + "." * (LONGEST - 3)) == {0: "1"}


def test_a_killed_process_is_replaced(searches):
    slow: list[int] = []
    searches.append(LineSearch(["x=(.)"], slow.append))
    assert searches[0].search("x=1") == {0: "1"}
    os.kill(searches[0]._worker._popen.pid, signal.SIGKILL)
    searches[0].search("x=2")
    assert searches[0].search("x=3") == {0: "3"}
    assert slow == []


def test_a_line_that_comes_after_the_end_starts_no_other_process():
    search = LineSearch(["x=(.)"], on_slow=print)
    assert search.search("x=1") == {0: "1"}
    search.close()
    assert search.search("x=2") == {}
    assert search._worker is None
