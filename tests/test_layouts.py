"""Layouts say what the networks of torch have, and files are compared with them without torch."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from safetensors.torch import save_file
from test_models import SMALL, network

from gir_cli import records
from gir_cli.errors import UsageError, WeightsError
from gir_cli.layouts import LAYOUTS, configured
from gir_cli.models import MODELS
from gir_cli.weights import save

PUBLISHED = [name for name in LAYOUTS if name != "girnet"]


def variants(**settings):
    """Return a configuration for each combination of `settings`."""
    return [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]


TRANSPOSED = [*variants(norm=["with-bias", "bias-free"], bias=["no", "yes"]), {"factor": 2.0, "channels": 1}]
TRANSPOSED += [{"width": 6, "heads": "2-3-4-6", "blocks": "2-1-3-1", "refinement": 2}, {"refinement": 0}]
VARIANTS = {
    "girnet": [
        *variants(levels=[1, 3, 6], blocks=[1, 2]),
        {"width": 13, "growth": 1.3, "levels": 4},
        {"width": 4},
        *variants(levels=[1, 3], middle=[3]),
        {"toner": 6},
        {"ends": 1},
        {"ends": 1, "experts": 2},
    ],
    "srresnet": variants(scale=[1, 2, 3, 4], channels=[1, 3]),
    "rrdbnet": [*variants(scale=[1, 2, 4, 8]), {"scale": 2, "unshuffle": 2}, {"scale": 1, "unshuffle": 4, "growth": 3}],
    "dncnn": variants(depth=[2, 5], channels=[1, 3]),
    "fdncnn": variants(depth=[2, 5], channels=[1, 3]),
    "ffdnet": variants(depth=[2, 5], channels=[1, 3]),
    "srvgg": variants(depth=[0, 3], scale=[1, 2, 3, 4], channels=[1, 3]),
    "nafnet": [
        *variants(encoder=["1-2"], decoder=["0-1"], spread=[2, 3], feed=[2, 4], channels=[1, 3]),
        *({"encoder": depths, "decoder": depths, "middle": 3, "width": 5} for depths in ("2", "0-0-1", "1-1-1-2")),
        {"local": 64},
    ],
    "restormer": [
        *TRANSPOSED,
        *variants(ending=["residual", "direct"]),
        *variants(ending=["dual-pixel"], channels=[6], bias=["no", "yes"]),
    ],
    "promptir": [*TRANSPOSED[:-2], {"length": 3, "narrow": 6, "medium": 2, "wide": 8, "sides": "3-5-7"}],
    "xrestormer": [
        *TRANSPOSED[:-2],
        {"scale": 4, "head": 3, "spatial": "1-3-1-2"},
        {"window": 4, "span": 4, "blocks": "2-1-1-2", "refinement": 0},
    ],
    "swinir": [
        *variants(upsampler=["none"], scale=[1], resi=["1conv", "3conv"], channels=[1, 3]),
        *variants(upsampler=["pixelshuffle"], scale=[1, 2, 3, 4, 8], channels=[1, 3]),
        *variants(upsampler=["pixelshuffledirect"], scale=[1, 2, 3, 4], channels=[1, 3]),
        *variants(upsampler=["nearest+conv"], scale=[2, 4]),
        {"width": 9, "depths": "1-0-3", "heads": "1-3-9", "window": 7, "hidden": 11, "shift": "no"},
    ],
    "scunet": [{"blocks": "1-2-0-1-2-0-1", "channels": 1}, {"width": 128, "blocks": "0-0-0-0-1-0-0"}],
    "uformer": [*variants(modulator=[0, 1], expand=[2, 3], channels=[1, 3]), {"window": 7, "width": 5}],
}


@pytest.mark.parametrize(
    ("name", "config"),
    [(name, config) for name, all_of_it in VARIANTS.items() for config in ({}, *all_of_it)],
    ids=lambda value: value if isinstance(value, str) else "-".join(str(part) for part in value.values()),
)
def test_a_layout_is_what_the_network_has(name, config):
    layout = configured(name, SMALL[name] | config)
    with torch.device("meta"):
        made = MODELS[name](layout)
    found = {key: tuple(value.shape) for key, value in made.state_dict().items()}
    assert layout.tensors() == found
    assert layout.name == name


def test_every_network_has_a_layout_and_is_made_from_it():
    assert set(LAYOUTS) == set(MODELS) == set(VARIANTS)
    assert all(MODELS[name].Config is LAYOUTS[name] for name in MODELS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_sizes_of_published_networks_make_a_layout_at_once(name):
    layout = LAYOUTS[name]()
    with torch.device("meta"):
        assert layout.tensors() == {key: tuple(value.shape) for key, value in MODELS[name]().state_dict().items()}
    assert configured(name, dataclasses.asdict(layout)) == layout


@pytest.mark.parametrize(
    ("name", "config", "says"),
    [
        ("nafnet", {"encoder": "1-1", "decoder": "1"}, "holds 1 numbers, not 2"),
        ("nafnet", {"encoder": "1-1-1-1-1-1-1-1-1", "decoder": "1"}, "more than 8 levels"),
        ("restormer", {"heads": "3-3-3-3"}, "4 channels do not divide among 3 heads"),
        ("promptir", {"sides": "8-4"}, "holds 2 numbers, not 3"),
        ("xrestormer", {"span": 7}, "does not lie evenly around window=4"),
        ("swinir", {"scale": 5}, "neither 3 nor a power of 2"),
        ("swinir", {"upsampler": "none"}, "does not go with the upsampler none"),
        ("swinir", {"heads": "3-4"}, "8 channels do not divide among 3 heads"),
        ("scunet", {"width": 96}, "no multiple of 64"),
        ("uformer", {"heads": "3-1-1-1-1-1-1-1-1"}, "4 channels do not divide among 3 heads"),
        ("rrdbnet", {"scale": 3}, "no power of 2"),
        ("srresnet", {"width": 10**400}, "out of range"),
        ("srresnet", {"depth": 1}, "no setting 'depth'"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(name, config, says):
    with pytest.raises(UsageError, match=says):
        configured(name, SMALL[name] | config)


# ---- files that are not what they should be


def one(tensors):
    """Return the name of a tensor that no size is read from."""
    return min((name for name in reversed(tensors) if tensors[name].ndim == 1), key=lambda name: ".0." in name)


def wider(tensors):
    return {**tensors, one(tensors): torch.zeros(len(tensors[one(tensors)]) + 1)}, one(tensors)


def fewer(tensors):
    return {name: value for name, value in tensors.items() if name != one(tensors)}, one(tensors)


def more(tensors):
    return {**tensors, "model.0.extra": torch.zeros(2)}, "model.0.extra"


@pytest.mark.parametrize("damage", [wider, fewer, more], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_file_with_a_wrong_tensor_is_refused_by_its_header(tmp_path, name, damage, prefix):
    path = tmp_path / "net.safetensors"
    made = network(name).state_dict()
    save_file({prefix + key: value for key, value in made.items()}, path)
    records.check(path)
    tensors, wrong = damage(made)
    save_file({prefix + key: value for key, value in tensors.items()}, path)
    with pytest.raises(WeightsError, match=str(path)) as raised:
        records.check(path)
    assert len(str(raised.value).splitlines()) == 1
    assert f"{wrong}'" in str(raised.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_gives_the_same_with_and_without_torch(tmp_path, name):
    made = network(name)
    save_file(made.state_dict(), tmp_path / "net.safetensors")
    config, names = records.understood(
        tmp_path / "net.safetensors", records.shapes(records.tensors(tmp_path / "net.safetensors"))
    )
    told = {"side": made.config.side} if name == "uformer" else {}
    assert dataclasses.replace(config, **told) == made.config
    assert names == {key: key for key in made.state_dict()}
    save(tmp_path / "ours.safetensors", made.state_dict(), {"model": name, "config": dataclasses.asdict(made.config)})
    records.check(tmp_path / "ours.safetensors")
