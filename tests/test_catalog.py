import sys

import pytest

from gir_cli.catalog import Catalog
from gir_cli.errors import UsageError


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A catalogue of toys whose package imports on demand."""
    package = tmp_path / "toybox"
    package.mkdir()
    (package / "__init__.py").write_text("from gir_cli.catalog import Catalog\nTOYS = Catalog('toy', __name__)\n")
    (package / "wheels.py").write_text(
        "from toybox import TOYS\n@TOYS.add('car')\nclass Car: pass\n@TOYS.add('train')\nclass Train: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("toybox").TOYS
    for name in [name for name in sys.modules if name.startswith("toybox")]:
        del sys.modules[name]


def test_a_catalogue_imports_its_package_at_the_first_look_up(toys):
    assert "toybox.wheels" not in sys.modules
    assert list(toys) == ["car", "train"]
    assert "toybox.wheels" in sys.modules


def test_a_thing_knows_its_name(toys):
    assert toys["train"].name == "train"
    assert toys.find("train") is toys["train"]
    assert len(toys) == 2


def test_an_unknown_name_is_refused_with_the_nearest_there_is(toys):
    with pytest.raises(UsageError, match=r"^no toy is called 'trian'; did you mean 'train'\?$"):
        toys.find("trian")


def test_a_name_like_none_is_refused_with_all_there_are(toys):
    with pytest.raises(UsageError, match=r"^no toy is called 'xyz' \(there are: car, train\)$"):
        toys.find("xyz")
    with pytest.raises(KeyError):
        toys["xyz"]


def test_two_things_cannot_have_one_name():
    catalog = Catalog("toy", "toybox")
    catalog.add("car")(type("Car", (), {}))
    with pytest.raises(ValueError, match="two toys are called 'car'"):
        catalog.add("car")(type("Other", (), {}))
