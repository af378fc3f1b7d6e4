"""Things of one kind, filed by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from gir_cli.errors import UsageError, nearest

T = TypeVar("T")
New = TypeVar("New")  # what is filed; it becomes a T only once it has its name


class Catalog(Mapping[str, T]):
    """A mapping from names to things of one `kind`, which the modules of `package` fill.

    The package's modules are imported at the first look-up, so that an empty catalogue costs
    nothing; a new member is one new file there with one `@CATALOG.add("name")`, which also
    becomes the thing's own `name`. A single module may be a whole catalogue.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._things: dict[str, T] = {}
        self._filled = False

    def add(self, name: str) -> Callable[[New], New]:
        """Return a decorator that files a thing under `name`."""

        def file(thing: New) -> New:
            if name in self._things:
                raise ValueError(f"two {self.kind}s are called {name!r}")
            thing.name = name  # type: ignore[attr-defined]
            self._things[name] = thing  # type: ignore[assignment]
            return thing

        return file

    def find(self, name: str) -> T:
        """Return the thing called `name`, or raise UsageError naming the nearest there is."""
        self._fill()
        if name not in self._things:
            hint = nearest(name, sorted(self._things)) or f" (there are: {', '.join(sorted(self._things))})"
            raise UsageError(f"no {self.kind} is called '{name}'{hint}")
        return self._things[name]

    def _fill(self) -> None:
        if self._filled:
            return
        self._filled = True
        package = importlib.import_module(self._package)
        modules = pkgutil.iter_modules(getattr(package, "__path__", ()))  # a plain module has none
        for module in sorted(modules, key=lambda m: m.name):
            importlib.import_module(f"{self._package}.{module.name}")

    def __getitem__(self, name: str) -> T:
        self._fill()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(self._things)

    def __len__(self) -> int:
        self._fill()
        return len(self._things)
