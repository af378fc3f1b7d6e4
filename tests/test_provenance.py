import json

import numpy as np
import pytest

from gir_cli import __version__, provenance
from gir_cli.image import FORMATS, Image, decode, encode

OPTIONS = {"strength": 0.5, "model": "<girnet> & ü", "tile": None}


def test_a_record_tells_program_weights_options_and_input():
    text = provenance.record(provenance.digest(b"input"), options=OPTIONS, model="girnet", weights="ab" * 32)
    assert text.isascii() and "\n" not in text
    assert provenance.parsed(text) == {
        "program": "gir",
        "version": __version__,
        "model": "girnet",
        "weights_sha256": "ab" * 32,
        "options": OPTIONS,
        "input_sha256": provenance.digest(b"input"),
    }


@pytest.mark.parametrize("text", ["[" * 100000, "{", "5", None])
def test_what_is_no_record_is_none(text):
    assert provenance.parsed(text) is None


def test_what_is_not_known_is_left_out():
    assert set(provenance.parsed(provenance.record("", options={}))) == {
        "program",
        "version",
        "options",
        "input_sha256",
    }


@pytest.mark.parametrize("name", [form.name for form in FORMATS.values() if form.record])
def test_a_record_is_found_in_the_file(name):
    if FORMATS[name].needs:
        pytest.importorskip(FORMATS[name].needs)
    text = provenance.record(provenance.digest(b"input"), options=OPTIONS)
    data = encode(Image(np.zeros((40, 40, 3), np.float32)), name, record=text).data
    assert provenance.read(data) == json.loads(text)


def test_a_newer_record_takes_the_place_of_the_older():
    first = encode(Image(np.zeros((8, 8, 3), np.float32)), "jpeg", record=provenance.record("1", options={})).data
    second = encode(decode(first), record=provenance.record("2", options={})).data
    assert provenance.read(second)["input_sha256"] == "2"
    assert second.count(b"gir:record>") == 2


@pytest.mark.parametrize("text", [None, "", "hello", "[1]", '{"program": "other"}', "{"])
def test_other_texts_are_no_record(text):
    assert provenance.parsed(text) is None


def test_formats_without_a_place_for_it_are_written_without():
    done = encode(Image(np.zeros((8, 8, 3), np.float32)), "pnm", record="{}")
    assert (provenance.read(done.data), done.notes) == (None, ())
