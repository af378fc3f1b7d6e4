"""Work shared out between processes, one for each device."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from gir_cli.batch import Item
from gir_cli.cli.work import Outcomes, Stage, Work
from gir_cli.errors import GirError


def shared_out(work: Work, items: Sequence[Item], stages: Sequence[Stage]) -> Outcomes:
    """Yield what `work.between` would, as it comes, from a process for each of `stages`, which all get as many items.

    Raises what is wrong with the command or the weights, and GirError where a process died.
    """
    context = multiprocessing.get_context("spawn")
    processes = {}
    try:
        for number, stage in enumerate(stages):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_serve, args=(theirs, work, items[number :: len(stages)], stage))
            process.start()
            theirs.close()  # so that its end is seen here when the process ends
            processes[ours] = process
        yield from _received(processes)
    finally:
        for process in processes.values():
            process.terminate()
            process.join()


def _received(processes: dict[Connection, Any]) -> Outcomes:
    running: dict[Any, Any] = dict(processes)
    while running:
        ready: list[Any] = wait(list(running))
        for connection in ready:
            try:
                message = connection.recv()
            except EOFError:
                process = running.pop(connection)
                process.join()
                if process.exitcode:
                    raise GirError(f"a worker process died (exit status {process.exitcode})") from None
                continue
            if isinstance(message, BaseException):
                raise message
            yield message


def _serve(connection: Connection, work: Work, items: Sequence[Item], stage: Stage) -> None:
    """Do `items` in a process of its own; what it says goes through `connection`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is told, too, and ends this one
    signal.signal(signal.SIGTERM, _leave)
    try:
        for outcome in work.between(items, stage):
            connection.send(outcome)
    except Exception as error:
        connection.send(error)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)
