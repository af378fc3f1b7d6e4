import os
import signal

import pytest

from gir_cli.cli.signals import Terminated, heed, raised


@pytest.fixture(autouse=True)
def heard():
    """Have SIGINT arrive even where the tests run in the background, which is to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Dying:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        os.kill(os.getpid(), self.number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("number", "meaning"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)], ids=["int", "term"]
)
def test_a_signal_whose_exception_a_finaliser_swallows_is_raised_later(number, meaning):
    reached = []
    with pytest.raises(meaning), raised():
        Dying(number)
        reached.append("after the finaliser")
        heed()
        reached.append("after heed")
    assert reached == ["after the finaliser"]
    with pytest.raises(meaning), raised():
        Dying(number)


def test_what_has_been_raised_is_forgotten_by_the_next_run():
    with pytest.raises(KeyboardInterrupt), raised():
        os.kill(os.getpid(), signal.SIGINT)
    with raised():
        heed()


def test_an_ignored_interruption_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with raised():
        os.kill(os.getpid(), signal.SIGINT)
        heed()
