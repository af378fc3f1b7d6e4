"""Work in threads, with results in order and bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from gir_cli.errors import GirError

Given = TypeVar("Given")
Made = TypeVar("Made")


def ordered(
    work: Callable[[Given], Made],
    given: Iterable[Given],
    *,
    workers: int = 1,
    weight: Callable[[Given], int] = lambda thing: 0,
    most: int = 0,
    halt: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Given, Made | GirError]]:
    """Yield (thing, work(thing)) for each of `given`, in its order, worked on by `workers` threads.

    A GirError that `work` raises is yielded in the result's place; anything else is raised. At most
    twice as many things as workers are under way, and while there are several, they weigh no more than
    `most`: so memory grows neither with their number nor with their size. `given` is drawn from in the
    calling thread: a stage between two `ordered` calls runs there, beside both. `halt` is called before
    the threads are waited for at the end, to have those stop whose results are no longer wanted.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="gir")
    under_way: deque[tuple[Given, Future, int]] = deque()
    try:
        for thing in given:
            heavy = weight(thing)
            while under_way and heavy + sum(other for _, _, other in under_way) > most:
                yield _outcome(*under_way.popleft())
            under_way.append((thing, pool.submit(work, thing), heavy))
            if len(under_way) >= 2 * workers:
                yield _outcome(*under_way.popleft())
        while under_way:
            yield _outcome(*under_way.popleft())
    finally:
        halt()
        pool.shutdown(wait=True, cancel_futures=True)


def _outcome(thing: Given, future: Future, _: int) -> tuple[Given, Made | GirError]:
    try:
        return thing, future.result()
    except GirError as error:
        return thing, error
