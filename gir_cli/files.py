"""Files as an unattended program must treat them: regular ones read, whole ones written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gir_cli.errors import InputError, OutputError

_TEMPORARY = ".gir-"


def read(path: str, size: int = -1) -> bytes:
    """Return the bytes of the regular file at `path`, or the first `size`; raise InputError with the reason.

    Opening does not wait, so a FIFO cannot hang it, and a device is refused before anything is read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InputError("not a regular file")
            return file.read(size)
    except IsADirectoryError:
        raise InputError("a directory, not a file") from None
    except OSError as error:
        raise InputError(reason(error)) from None
    except ValueError:
        raise InputError("no file can have this name") from None


def size(path: str) -> int:
    """Return the bytes of the file at `path`; 0 where none is."""
    found = _status(path)
    return found.st_size if found else 0


def write(path: str, data: bytes) -> None:
    """Write `data` to `path`: all of it or nothing; raise OutputError with the reason.

    A temporary file in the same directory is renamed when it is whole, and removed whatever happens;
    its name is short, for `path` may use all 255 bytes. Missing directories are made. A file that is
    replaced hands on its mode. A device or FIFO is written to directly.
    """
    try:
        folder = os.path.dirname(path) or "."
        os.makedirs(folder, exist_ok=True)
        before = _status(path)
        if before and stat.S_ISDIR(before.st_mode):
            raise OutputError("is a directory")
        if before and not stat.S_ISREG(before.st_mode):
            with open(path, "wb") as file:
                file.write(data)
            return
        with _temporary(folder) as (handle, name):
            with open(handle, "wb") as file:
                file.write(data)
            if before:
                os.chmod(name, before.st_mode & 0o777)
            os.replace(name, path)
    except OSError as error:
        raise OutputError(reason(error)) from None
    except ValueError:
        raise OutputError("no file can have this name") from None


def check_place(path: str) -> None:
    """Raise OutputError if it shows, before anything is written, that no file can be written to `path`."""
    before = _status(path)
    if not os.path.basename(path) or (before and stat.S_ISDIR(before.st_mode)):
        raise OutputError("is a directory")
    if before and not stat.S_ISREG(before.st_mode):
        return
    folder = os.path.dirname(path) or "."
    while not os.path.exists(folder):
        folder = os.path.dirname(folder) or "."
    if not os.path.isdir(folder):
        raise OutputError("not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError("permission denied")


@contextmanager
def _temporary(folder: str) -> Iterator[tuple[int, str]]:
    """Yield a new file's handle and name; unless it was renamed, it is removed at the end."""
    name = os.path.join(folder, _TEMPORARY + os.urandom(8).hex())
    handle = None
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        yield handle, name
    except BaseException:
        if handle is not None:
            _forget(name)
        raise


def _forget(name: str) -> None:
    with suppress(OSError):  # renamed already, or the directory has gone
        os.unlink(name)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of what `path` leads to, or None where nothing is."""
    found = _status(path)
    return (found.st_dev, found.st_ino) if found else None


def reason(error: OSError) -> str:
    """Return what an OSError says, as the tail of a line."""
    return (error.strerror or str(error)).lower()


def shown(path: str) -> str:
    """Return `path` fit for a terminal or a list: one line, control characters and stray bytes escaped."""
    return "".join(_escaped(letter) for letter in path)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    if letter == "\\" or letter.isprintable():
        return letter
    return letter.encode("unicode_escape").decode("ascii")
