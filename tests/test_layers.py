"""Who may import whom; kept by walking the imports of every module."""

from __future__ import annotations

import ast
import tomllib

import pytest
from pictures import ROOT

PACKAGE = ROOT / "gir_cli"

LAYERS = {
    0: {"errors", "rng"},
    1: {"catalog", "params", "color", "resize"},
    2: {
        "page",
        "estimate",
        "baselines",
        "remembered",
        "files",
        "image",
        "batch",
        "ops",
        "chain",
        "gallery",
        "curves",
        "metrics",
        "suite",
        "provenance",
        "report",
        "records",
        "layouts",
        "recognition",
        "exports",
    },
    3: {
        "export",
        "device_chain",
        "device_ops",
        "devices",
        "models",
        "checkpoints",
        "weights",
        "growth",
        "joining",
        "features",
        "lpips",
        "views",
        "restore",
        "data",
        "figures",
        "train",
    },
    4: {"lines", "verdicts", "evaluate"},
    5: {"cli", "__main__"},
    6: {"man"},
}
LEVEL = {module: level for level, modules in LAYERS.items() for module in modules}
FORBIDDEN = {("ops", "image"), ("metrics", "ops"), ("models", "ops"), ("models", "chain")}
ONLY_CLI = {"typer", "rich"}

FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path, *, top_only=False):
    """Yield the dotted names that a file imports; those inside functions too, unless `top_only`."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for child in ast.walk(node)
    }
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(path):
    """Return the top-level module that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
class TestEveryModule:
    def test_imports_only_from_its_layer_and_below(self, path):
        if own(path) == "__init__":
            return
        for name in imports(path):
            parts = name.split(".")
            if parts[0] != "gir_cli" or len(parts) < 2 or parts[1] not in LEVEL:
                continue
            assert LEVEL[parts[1]] <= LEVEL[own(path)], name
            assert (own(path), parts[1]) not in FORBIDDEN, name

    def test_has_torch_only_where_it_may(self, path):
        level = LEVEL.get(own(path), 0)
        found = {name.split(".")[0] for name in imports(path, top_only=level >= 5)}
        if level < 3 or level >= 5:
            assert "torch" not in found
            assert "safetensors" not in found
        if level < 5:
            assert not found & ONLY_CLI

    def test_does_not_print_or_read_the_environment_below_the_command_line(self, path):
        if LEVEL.get(own(path), 0) >= 5:
            return
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print")
            assert not (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"))

    def test_uses_no_global_randomness(self, path):
        for node in ast.walk(ast.parse(path.read_text())):
            whole = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if whole.startswith("np.random."):
                assert whole.split(".")[2] in ("RandomState", "Generator", "SFC64")
            assert whole not in ("torch.manual_seed", "random.seed")
        assert "random" not in {name.split(".")[0] for name in imports(path)}


def test_every_module_has_a_layer():
    assert {own(path) for path in FILES} - {"__init__"} <= set(LEVEL)


def test_run_time_dependencies_are_the_agreed_ones():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {line.split(">")[0] for line in project["dependencies"]}
    assert named == {"torch", "typer", "rich", "opencv-python", "numpy", "tifffile", "tqdm", "safetensors"}
