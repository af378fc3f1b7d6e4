"""Weights files are untrusted: each kind of damage is one line, and nothing else happens."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors.torch import save as write_tensors

from gir_cli import records
from gir_cli.errors import UsageError, WeightsError
from gir_cli.weights import built, config_of, configured, load, padded, save

CONFIG = {"width": 8, "levels": 2, "blocks": 1}


@pytest.fixture
def network():
    return built("girnet", CONFIG)


@pytest.fixture
def good(tmp_path, network):
    path = tmp_path / "good.safetensors"
    save(path, network.state_dict(), {"name": "good", "model": "girnet", "config": config_of(network), "scale": 1})
    return path


def rewritten(path, network, *, record=None, **changed):
    tensors = {**network.state_dict(), **changed}
    found = records.record(path) if record is None else record
    path.write_bytes(write_tensors({k: v for k, v in tensors.items() if v is not None}, {"gir": json.dumps(found)}))
    return path


def test_the_record_is_read_without_the_tensors(good, network):
    assert records.record(good)["name"] == "good"
    assert records.parameters(good) == sum(value.numel() for value in network.state_dict().values())


def test_half_precision_loads_as_fp32(good, network):
    tensors = {name: value.half() for name, value in network.state_dict().items()}
    save(good, tensors, records.record(good))
    assert {value.dtype for value in load(good).network.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"[[[[",
        struct.pack("<Q", 200000) + b"[" * 200000,
    ],
    ids=["empty", "text", "huge header", "no record", "no JSON", "deep JSON"],
)
def test_what_is_no_weights_file_is_refused(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=str(path)):
        load(path)


def test_a_file_cut_short_is_refused(good):
    good.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="damaged"):
        load(good)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"stem.weight": None}, "misses tensor 'stem.weight'"),
        ({"extra": torch.zeros(1)}, "unknown tensor 'extra'"),
        ({"stem.bias": torch.zeros(3)}, r"shape \[3\], not \[8\]"),
        ({"stem.bias": torch.full((8,), float("nan"))}, "not finite"),
    ],
)
def test_wrong_tensors_are_named(good, network, changed, says):
    with pytest.raises(WeightsError, match=says):
        load(rewritten(good, network, **changed))


@pytest.mark.parametrize(
    "record",
    [
        {"format": 1},
        {"format": 2, "model": "girnet", "config": CONFIG},
        {"format": 1, "model": "os.system", "config": {}},
        {"format": 1, "model": "girnet", "config": {"width": 10**9}},
        {"format": 1, "model": "girnet", "config": {"depth": 1}},
        {"format": 1, "model": "girnet", "config": 7},
        {"format": 1, "model": ["girnet"], "config": {}},
    ],
    ids=lambda record: json.dumps(record),
)
def test_a_wrong_record_is_refused(good, network, record):
    with pytest.raises(WeightsError):
        load(rewritten(good, network, record=record))


def test_a_name_is_looked_up_in_order_and_all_places_are_named(tmp_path, good):
    empty = tmp_path / "empty"
    assert records.find("good", [empty, tmp_path]) == good
    assert records.find(str(good), []) == good
    with pytest.raises(WeightsError, match=r"no weights are called 'best' .*empty"):
        records.find("best", [empty, tmp_path])


def test_a_path_may_be_text(good):
    assert load(str(good)).record["name"] == "good"


def test_a_blind_network_is_told_no_noise(good):
    with pytest.raises(UsageError, match="blind"):
        load(good)(torch.rand(1, 3, 8, 8), sigma=0.1)


def test_our_files_take_no_settings(good):
    with pytest.raises(UsageError, match="its record says what it is"):
        load(good, {"width": "8"})


def test_a_record_of_a_giant_costs_nothing(good, network):
    record = {"format": 1, "model": "girnet", "config": {"width": 512, "growth": 4, "levels": 6, "blocks": 32}}
    with pytest.raises(WeightsError, match=r"has shape|misses tensor"):
        load(rewritten(good, network, record=record))


def test_an_unknown_setting_of_a_model_is_named():
    with pytest.raises(UsageError, match="girnet has no setting 'depth'"):
        configured("girnet", {"depth": 3})


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (17, 2)])
def test_padding_reflects_to_the_right_and_below(size, network):
    batch = torch.rand(1, 3, *size)
    out = padded(batch, network.description)
    assert out.shape[-2] % 4 == out.shape[-1] % 4 == 0
    assert torch.equal(out[..., : size[0], : size[1]], batch)
    if size[1] >= 9:
        assert torch.equal(out[..., : size[0], 9], batch[..., :, 7])
