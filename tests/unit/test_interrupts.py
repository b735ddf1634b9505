"""An interrupt is seen to, told in a sentence, and not disturbed by another one."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers.interrupts import Interrupted, interruptible


def press() -> None:
    """The keyboard's interrupt, as the system delivers it."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def hears_interrupts():
    """A test run in the background has them ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_becomes_the_sentence():
    with (
        pytest.raises(Interrupted, match=r"^The job is being stopped\.$"),
        interruptible(lambda: "The job is being stopped."),
    ):
        press()
    assert issubclass(Interrupted, KeyboardInterrupt), "who waits for an interrupt must still hear it"


def test_nothing_is_cleared_up_without_an_interrupt():
    with interruptible(lambda: pytest.fail("not interrupted")):
        pass
    with pytest.raises(ZeroDivisionError), interruptible(lambda: pytest.fail("not interrupted")):
        _ = 1 / 0


def test_who_knew_more_has_the_word():
    with pytest.raises(Interrupted, match="inner"), interruptible(lambda: "outer"), interruptible(lambda: "inner"):
        press()


def test_a_second_press_does_not_stop_the_clearing_up():
    cleared = []

    def clear() -> str:
        press()
        cleared.append("all of it")
        return "Done."

    with pytest.raises(Interrupted, match="Done"), interruptible(clear):
        press()
    assert cleared == ["all of it"]
    with pytest.raises(KeyboardInterrupt):  # and is heard again afterwards
        press()


def test_it_works_in_a_thread_too():
    told = []

    def work() -> None:
        try:
            with interruptible(lambda: "Done."):
                raise KeyboardInterrupt
        except Interrupted as error:
            told.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == ["Done."]


def test_a_notebook_shows_only_the_sentence(capsys):
    shell = InteractiveShell()
    shell.run_cell("from helpers.interrupts import Interrupted\nraise Interrupted('The job is being stopped.')")
    shown = capsys.readouterr()
    assert (shown.out + shown.err).strip() == "Interrupted. The job is being stopped."
