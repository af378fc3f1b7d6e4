import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pytest

from gir_cli.errors import UsageError
from gir_cli.params import Checked, Param, params_of


@dataclass(frozen=True)
class Lamp(Checked):
    watts: Annotated[float, Param("power", 0, 100, "W")] = 40.0
    bulbs: Annotated[int, Param("number of bulbs", 1)] = 1
    colour: Annotated[Literal["warm", "cold"], Param("tint")] = "warm"
    dimmed: Annotated[float | None, Param("share of the power", 0, 1)] = None
    maker: Annotated[str | None, Param("who made it")] = None
    note: str = ""


def test_declared_parameters_are_read_in_order_and_plain_fields_left_out():
    declared = params_of(Lamp)
    assert list(declared) == ["watts", "bulbs", "colour", "dimmed", "maker"]
    assert [field.type for field in declared.values()] == [float, int, str, float, str]
    assert [field.optional for field in declared.values()] == [False, False, False, True, True]
    assert declared["watts"].default == 40.0
    assert declared["colour"].choices == ("warm", "cold")


def test_ranges_read_as_text():
    ranges = {name: field.range for name, field in params_of(Lamp).items()}
    assert ranges == {
        "watts": "0 to 100",
        "bulbs": "at least 1",
        "colour": "one of warm, cold",
        "dimmed": "0 to 1",
        "maker": "",
    }


def test_values_come_in_the_declared_type():
    lamp = Lamp(watts=60, bulbs=2.0)
    assert isinstance(lamp.watts, float)
    assert isinstance(lamp.bulbs, int)


def test_numbers_of_numpy_are_numbers():
    lamp = Lamp(watts=np.float32(0.5), bulbs=np.int64(3))
    assert (lamp, type(lamp.watts), type(lamp.bulbs)) == (Lamp(0.5, 3), float, int)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"watts": -1}, "lamp: watts=-1 is out of range (0 to 100)"),
        ({"watts": math.nan}, "lamp: watts=nan is not a number"),
        ({"watts": math.inf}, "lamp: watts=inf is not a number"),
        ({"watts": "60"}, "lamp: watts=60 is not a number"),
        ({"watts": True}, "lamp: watts=True is not a number"),
        ({"watts": np.True_}, "lamp: watts=True is not a number"),
        ({"watts": np.float32("nan")}, "lamp: watts=nan is not a number"),
        ({"watts": None}, "lamp: watts=None is not a number"),
        ({"bulbs": 1.5}, "lamp: bulbs=1.5 is not a whole number"),
        ({"bulbs": 0}, "lamp: bulbs=0 is out of range (at least 1)"),
        ({"colour": "worm"}, "lamp: colour=worm is none of warm, cold; did you mean 'warm'?"),
        ({"dimmed": 2}, "lamp: dimmed=2 is out of range (0 to 1)"),
        ({"maker": 5}, "lamp: maker=5 is no str"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_with_the_range(values, message):
    with pytest.raises(UsageError) as error:
        Lamp(**values)
    assert str(error.value) == message


def test_the_ends_of_a_range_are_allowed():
    assert (Lamp(watts=0).watts, Lamp(watts=100).watts) == (0.0, 100.0)


@pytest.mark.parametrize(("text", "value"), [("7", 7), ("7.0", 7), ("1e1", 10)])
def test_text_reads_as_the_parameters_type(text, value):
    found = params_of(Lamp)["bulbs"].read(text, "lamp")
    assert found == value
    assert isinstance(found, int)


@pytest.mark.parametrize("text", ["", "seven", "nan", "inf", "1e999", "7.5", "0x10"])
def test_text_that_is_no_whole_number_is_refused(text):
    with pytest.raises(UsageError, match=r"^lamp: bulbs=.* is not a whole number$"):
        params_of(Lamp)["bulbs"].read(text, "lamp")
