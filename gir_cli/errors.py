"""Everything that may go wrong for a reason the user can mend, each kind with its exit status."""

from __future__ import annotations


class GirError(Exception):
    """A fault with a one-line message: the thing, what is wrong with it, what would be right."""

    status = 1


class InputError(GirError):
    """An image, weights file or folder cannot be read, or is not what it claims to be."""


class OutputError(GirError):
    """A result cannot be written where it was asked for."""


class UsageError(GirError):
    """A command line, chain or setting is wrong, or its parts exclude each other."""

    status = 2


class WeightsError(GirError):
    """Weights are missing, damaged or of an unknown kind."""

    status = 3


class ThresholdError(GirError):
    """A score that was asked for was not reached."""

    status = 4


class Unfinished(GirError):
    """Work stopped early with its state saved; the same command goes on."""

    status = 75


def nearest(word: str, words: list[str] | tuple[str, ...]) -> str:
    """Return `"; did you mean 'X'?"` for the word closest to `word`, or an empty string."""
    from difflib import get_close_matches

    found = get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""
