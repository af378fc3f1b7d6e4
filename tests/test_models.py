"""Every backbone keeps the contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gir_cli.errors import UsageError
from gir_cli.models import MODELS
from gir_cli.models.ends import ends
from gir_cli.models.toner import CELLS, Toner, extremes, means, rested, toned
from gir_cli.weights import Model, built, config_of, load, save

SMALL = {
    "girnet": {"width": 8, "levels": 2, "blocks": 1, "middle": 1},
    "srresnet": {"width": 8, "blocks": 2},
    "rrdbnet": {"width": 4, "growth": 2, "blocks": 1, "scale": 2},
    "dncnn": {"width": 8, "depth": 4},
    "fdncnn": {"width": 8, "depth": 4, "channels": 1},
    "ffdnet": {"width": 8, "depth": 4},
    "srvgg": {"width": 8, "depth": 2, "scale": 3},
    "nafnet": {"width": 4, "encoder": "1-2", "decoder": "1-1"},
    "restormer": {"width": 4, "blocks": "1-1-1-1", "refinement": 1, "heads": "1-1-2-2", "norm": "bias-free"},
    "promptir": {
        "width": 4,
        "blocks": "1-1-1-1",
        "refinement": 1,
        "heads": "1-1-2-2",
        "narrow": 4,
        "medium": 4,
        "wide": 6,
        "sides": "8-4-2",
    },
    "xrestormer": {
        "width": 4,
        "blocks": "1-1-1-1",
        "refinement": 1,
        "heads": "1-1-2-2",
        "spatial": "1-2-1-1",
        "head": 4,
        "window": 4,
        "span": 6,
    },
    "swinir": {
        "width": 8,
        "depths": "2-2",
        "heads": "2-4",
        "window": 4,
        "hidden": 12,
        "resi": "3conv",
        "upsampler": "pixelshuffle",
        "features": 4,
        "scale": 2,
    },
    "scunet": {"blocks": "2-0-0-1-0-0-1"},
    "uformer": {"width": 4, "depths": "2-1-1-1-1-1-1-1-2", "heads": "1-1-1-1-2-1-1-1-1", "window": 4, "side": 64},
}


def network(name, seed=1, **config):
    """Return a small network of model `name` with random weights, zeros included."""
    made = built(name, SMALL[name] | config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return made.eval()


def batch_for(made, side=32, number=1):
    """Return a random batch of a size that the network takes."""
    side = -(-side // made.description.multiple) * made.description.multiple
    return torch.rand(number, made.description.channels, side, side, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_keeps_the_shape_at_odd_sizes(self, name):
        model = Model(network(name), {})
        scale, channels = model.description.scale, model.description.channels
        for height, width in ((1, 1), (1, 7), (13, 5), (33, 47)):
            out = model(torch.rand(2, channels, height, width))
            assert out.shape == (2, channels, height * scale, width * scale)
            assert torch.isfinite(out).all()

    def test_gives_each_picture_of_a_batch_what_it_gives_it_alone(self, name):
        made = network(name)
        batch = batch_for(made, number=2)
        with torch.no_grad():
            alone = torch.cat([made(picture[None]) for picture in batch])
            assert (made(batch) - alone).abs().max() < 1e-4 * alone.abs().max()

    def test_has_a_finite_gradient_in_every_parameter(self, name):
        made = network(name)
        made(batch_for(made)).square().mean().backward()
        for key, parameter in made.named_parameters():
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.abs().max() > 0, key

    def test_survives_saving_and_loading_exactly(self, name, tmp_path):
        made = network(name)
        save(tmp_path / "w.safetensors", made.state_dict(), {"model": name, "config": config_of(made), "scale": 1})
        back = load(tmp_path / "w.safetensors")
        batch = batch_for(made)
        assert torch.equal(back.network(batch), made(batch))

    def test_says_how_far_a_pixel_reaches(self, name):
        made = network(name).double()
        reach, scale = made.description.reach, made.description.scale
        if reach is None:
            return
        side = 2 * (2 * reach // 16 + 2) * 8
        batch = batch_for(made, side).double().requires_grad_()
        made(batch)[0, :, scale * side // 2, scale * side // 2].sum().backward()
        seen = batch.grad[0].abs().sum(0).nonzero()
        assert seen.numel()
        assert (seen - side // 2).abs().max() <= reach

    def test_stays_near_fp32_in_bf16(self, name):
        made = network(name)
        batch = batch_for(made, 64)
        with torch.no_grad():
            exact = made(batch)
            with torch.autocast("cpu", torch.bfloat16):
                fast = made(batch)
        assert (exact - fast).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("name", [name for name in MODELS if "scale" in MODELS[name].Config.__dataclass_fields__])
def test_enlarges_by_any_scale_it_has(name, scale):
    if scale == 3 and name in ("rrdbnet",):
        with pytest.raises(UsageError, match="no power of 2"):
            network(name, scale=scale)
        return
    made = network(name, scale=scale)
    batch = batch_for(made)
    with torch.no_grad():
        assert made(batch).shape[-1] == scale * batch.shape[-1]


@pytest.mark.parametrize("name", [name for name in MODELS if "channels" in MODELS[name].Config.__dataclass_fields__])
def test_works_on_gray(name):
    made = network(name, channels=1)
    with torch.no_grad():
        assert made(batch_for(made)).shape[1] == 1


def test_a_new_girnet_is_the_identity():
    batch = torch.rand(1, 3, 32, 32)
    assert torch.equal(built("girnet", {"width": 8})(batch), batch)


def test_a_new_girnet_that_looks_at_the_whole_is_the_identity_too():
    batch = torch.rand(1, 3, 32, 32)
    assert torch.equal(built("girnet", {"width": 8, "toner": 6})(batch), batch)


@pytest.mark.parametrize(("level", "end"), [(255, 1), (254, 0), (1, 0), (0, -1)])
def test_ends_are_white_or_black_in_all_channels(level, end):
    pictures = torch.full((2, 3, 4, 6), level / 255)
    pictures[1, 1] = 0.5
    assert ends(pictures).shape == (2, 1, 4, 6)
    assert (ends(pictures)[0] == end).all() and (ends(pictures)[1] == 0).all()


def test_a_girnet_tells_white_from_nearly_white_where_ends_are_pointed_out():
    batch = torch.full((2, 3, 32, 32), 0.5)
    batch[:, :, 8:12] = torch.tensor([1, 254 / 255])[:, None, None, None]
    for pointed_out in (0, 1):
        with torch.no_grad():
            white, nearly = network("girnet", ends=pointed_out)(batch) - batch
        apart = (white - nearly).abs().max() / white.abs().max()
        assert (apart > 0.1) == pointed_out


@pytest.mark.parametrize(("height", "width"), [(32, 48), (5, 7), (33, 50)])
def test_a_toner_takes_the_means_of_equal_cells(height, width):
    maps = torch.rand(1, 2, height, width, dtype=torch.float64)
    fine = maps.repeat_interleave(CELLS, 2).repeat_interleave(CELLS, 3)
    assert (means(maps, CELLS) - functional.avg_pool2d(fine, (height, width))).abs().max() < 1e-6


def test_a_toner_sees_the_darkest_and_the_brightest_spot_of_each_cell():
    thumbnail = torch.rand(2, 3, 64, 64)
    spots = thumbnail.reshape(2, 3, CELLS, 4, CELLS, 4)
    assert (extremes(thumbnail) - torch.cat((spots.amin((3, 5)), spots.amax((3, 5))), 1)).abs().max() < 1e-6


def test_a_toner_makes_no_difference_between_sizes_of_a_picture():
    torch.manual_seed(0)
    toner = Toner(6)
    nn.init.normal_(toner.tone.weight)
    picture = torch.rand(1, 3, 64, 64)
    large = picture.repeat_interleave(3, 2).repeat_interleave(2, 3)
    small, large = (functional.adaptive_avg_pool2d(toner(size), CELLS) for size in (picture, large))
    assert small.abs().max() > 0.1
    assert (small - large).abs().max() < 0.02 * small.abs().max()


def test_of_a_tones_small_values_only_a_tenth_counts():
    values = torch.ones(2, 9, 5, 1)
    values[:, :, :, 0] = torch.tensor([0.0, 0.01, -0.03, 0.04, -0.5])
    assert rested(values)[1, 8, :, 0].tolist() == pytest.approx([0.0, 0.001, -0.003, 0.013, -0.473], abs=1e-7)


@pytest.mark.parametrize(
    ("size", "learning", "share"),
    [
        *((0.0, True, 0.1), (0.04, True, 0.1), (0.075, True, 0.55), (0.1, True, 1.0), (0.5, True, 1.0)),
        *((0.0, False, 0.0), (0.04, False, 0.0), (0.075, False, 0.5), (0.1, False, 1.0), (0.5, False, 1.0)),
    ],
)
def test_tones_that_are_small_together_count_only_in_learning_and_there_as_a_tenth(size, learning, share):
    values = torch.zeros(2, 9, 4, 4)
    values[0, :, ::2] = size * math.sqrt(2)
    values[1] = 1
    values.requires_grad_()
    found, alone = rested(values, learning=learning), size * math.sqrt(2)
    assert (found[0, :, ::2] - share * (max(alone - 0.03, 0) + 0.1 * min(alone, 0.03))).abs().max() < 1e-6
    assert (found[1] - 0.973).abs().max() < 1e-6
    found.sum().backward()
    assert values.grad.isfinite().all()


def test_tone_undoes_darkness_after_haze():
    scene = torch.rand(1, 3, 8, 8) * 0.8 + 0.1
    seen = (0.4 * scene + 0.6 * 0.9) ** 2
    exponent, gain, offset = torch.full((3, 1, 3, 8, 8), 0.0)
    exponent += math.log(1 / 2)
    gain += 1 / 0.4 - 1
    offset -= 0.6 * 0.9 / 0.4
    assert (toned(seen, torch.cat((exponent, gain, offset), 1)) - scene).abs().max() < 1e-5


def test_bf16_stays_near_fp32():
    made = network("girnet")
    batch = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        exact = made(batch)
        with torch.autocast("cpu", torch.bfloat16):
            fast = made(batch)
    assert fast.dtype == torch.float32
    assert (exact - fast).abs().max() < 0.05 * (exact - batch).abs().max()
