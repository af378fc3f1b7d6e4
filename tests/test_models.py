"""Every backbone keeps the contract."""

from __future__ import annotations

import pytest
import torch

from gir_cli.models import MODELS
from gir_cli.weights import Model, built, config_of, load, save

SMALL = {"girnet": {"width": 8, "levels": 2, "blocks": 1}}


def network(name, seed=1):
    """Return a small network of model `name` with random weights, zeros included."""
    made = built(name, SMALL[name])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return made.eval()


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_keeps_the_shape_at_odd_sizes(self, name):
        model = Model(network(name), {})
        scale = model.description.scale
        for height, width in ((1, 1), (1, 7), (13, 5), (33, 47)):
            out = model(torch.rand(2, 3, height, width))
            assert out.shape == (2, 3, height * scale, width * scale)
            assert torch.isfinite(out).all()

    def test_has_a_finite_gradient_in_every_parameter(self, name):
        made = network(name)
        made(torch.rand(1, 3, 32, 32)).square().mean().backward()
        for key, parameter in made.named_parameters():
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.abs().max() > 0, key

    def test_survives_saving_and_loading_exactly(self, name, tmp_path):
        made = network(name)
        save(tmp_path / "w.safetensors", made.state_dict(), {"model": name, "config": config_of(made), "scale": 1})
        back = load(tmp_path / "w.safetensors")
        batch = torch.rand(1, 3, 32, 32)
        assert torch.equal(back.network(batch), made(batch))

    def test_says_how_far_a_pixel_reaches(self, name):
        made = network(name).double()
        reach = made.description.reach
        if reach is None:
            return
        side = 2 * (2 * reach // 16 + 2) * 8
        batch = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
        made(batch)[0, :, side // 2, side // 2].sum().backward()
        seen = batch.grad[0].abs().sum(0).nonzero()
        assert seen.numel()
        assert (seen - side // 2).abs().max() <= reach


def test_a_new_girnet_is_the_identity():
    batch = torch.rand(1, 3, 32, 32)
    assert torch.equal(built("girnet", {"width": 8})(batch), batch)


def test_bf16_stays_near_fp32():
    made = network("girnet")
    batch = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        exact = made(batch)
        with torch.autocast("cpu", torch.bfloat16):
            fast = made(batch)
    assert fast.dtype == torch.float32
    assert (exact - fast).abs().max() < 0.05 * (exact - batch).abs().max()
