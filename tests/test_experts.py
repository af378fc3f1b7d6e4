"""Girnets of several experts, and what the toner counts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from test_checkpoints import girnets
from test_models import network

from gir_cli import records
from gir_cli.chain import apply, draw, parse
from gir_cli.errors import UsageError
from gir_cli.models.detail import Detail, Details
from gir_cli.models.gate import REACH, Gate, competition, measured, shares
from gir_cli.models.histogram import Levels, gaps
from gir_cli.rng import stream
from gir_cli.weights import built, load


def test_a_girnet_beside_another_is_an_expert_whose_share_is_that_of_doing_nothing(gir, tmp_path):
    a, b = girnets(tmp_path)
    done = gir("convert", a, "--beside", b, "-o", tmp_path / "c.safetensors")
    assert done.status == 0, done.err
    joined = load(tmp_path / "c.safetensors")
    batch = torch.rand(1, 3, 24, 32)
    with torch.no_grad():
        wanted = (load(a).network(batch) + load(b).network(batch) + batch) / 3
        assert (joined.network(batch) - wanted).abs().max() < 1e-6
    assert joined.record["parents"] == [records.digest(a), records.digest(b)]
    assert joined.record["config"]["experts"] == 2 and joined.record["license"] == "CC0-1.0"
    assert "train" not in joined.record and "scores" not in joined.record


def test_a_third_joins_two_and_the_first_ones_toner_stays(gir, tmp_path):
    a, b = girnets(tmp_path, toner=6, histogram=8, detail=8)
    c, d = (tmp_path / f"{name}.safetensors" for name in "cd")
    for one, other, out in ((b, a, c), (c, b, d)):
        done = gir("convert", one, "--beside", other, "-o", out)
        assert done.status == 0, done.err
    made, first, second = (load(path).network for path in (d, b, a))
    assert made.config.experts == 3 and made.gate.choice.out_channels == 4
    for name, value in first.toner.state_dict().items():
        assert torch.equal(made.toner.state_dict()[name], value), name
    for prefix, whose in (("", first), ("others.0.", second), ("others.1.", first)):
        assert torch.equal(made.state_dict()[prefix + "head.weight"], whose.head.weight)


def test_an_expert_is_taken_out_again(gir, tmp_path):
    a, b = girnets(tmp_path, toner=6)
    made, out = tmp_path / "c.safetensors", tmp_path / "d.safetensors"
    assert gir("convert", a, "--beside", b, "-o", made).status == 0
    for number, whose in ((1, a), (2, b)):
        done = gir("convert", made, "--expert", number, "-o", out)
        assert done.status == 0, done.err
        found, wanted = load(out), load(whose).network.state_dict()
        assert found.network.toner is None and found.network.gate is None
        assert all(torch.equal(value, wanted[name]) for name, value in found.network.state_dict().items())
        assert found.record["parents"] == [records.digest(made)] and found.record["expert"] == number
    assert gir("convert", out, "--blend", f"{a}=0.5", "-o", tmp_path / "e.safetensors").status == 0
    assert "expert" not in load(tmp_path / "e.safetensors").record  # a mean of two is neither
    done = gir("convert", made, "--expert", 3, "-o", out)
    assert done.status == 3 and "no expert 3 of 2" in done.err


@pytest.mark.parametrize(
    ("settings", "says"), [({"width": 16}, "experts must be of the same sizes"), (None, "only a girnet can have")]
)
def test_what_cannot_be_experts_is_refused(gir, tmp_path, settings, says):
    a, b = girnets(tmp_path, **settings or {})
    if settings is None:
        b = tmp_path / "b.pth"
        torch.save(network("dncnn").state_dict(), b)
    done = gir("convert", a, "--beside", b, "-o", tmp_path / "c.safetensors")
    assert done.status == 3 and says in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "c.safetensors").exists()


def test_ways_to_join_exclude_each_other(gir, tmp_path):
    a, b = girnets(tmp_path)
    done = gir("convert", a, "--beside", b, "--graft", f"{b}=head.*", "-o", tmp_path / "c.safetensors")
    assert done.status == 2 and "give one" in done.err


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_gate_says_which_expert_is_believed_or_none(number):
    made = network("girnet", experts=2)
    with torch.no_grad():
        made.gate.choice.weight.zero_()
        made.gate.choice.bias.copy_(50 * torch.eye(3)[number])
    batch = torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        tensors, alone = made.state_dict(), network("girnet")
        prefix = ["", "others.0.", None][number]
        if prefix is not None:
            alone.load_state_dict({name: tensors[prefix + name] for name in alone.state_dict()})
        wanted = batch if prefix is None else alone(batch)
        assert (made(batch) - wanted).abs().max() < 1e-6


def new_gate(experts):
    """A gate with random values all over."""
    torch.manual_seed(0)
    gate = Gate(experts)
    for tensor in gate.parameters():
        torch.nn.init.normal_(tensor, std=0.2)
    return gate


def test_a_gates_shares_are_local_and_make_one():
    gate = new_gate(3)
    batch = torch.rand(1, 3, 320, 320)
    with torch.no_grad():
        found = shares(gate(batch, [batch] * 3))
        batch[..., 160, 160] += 1
        moved = (shares(gate(batch, [batch] * 3)) - found).abs().amax((0, 1)) > 0
    assert found.shape == (1, 4, 320, 320)
    assert (found.sum(1) - 1).abs().max() < 1e-6 and found.std() > 0.01
    rows = moved.any(1).nonzero()
    # One pixel stands for all those of its cell, and a tile may begin at any cell.
    assert 160 - rows.min() <= REACH and rows.max() - 160 <= REACH
    assert rows.max() - rows.min() > REACH


def test_experts_compete_by_the_power_of_their_squared_errors():
    torch.manual_seed(1)
    picture, truth = torch.rand(2, 2, 3, 16, 24)
    residuals = [truth - picture + size * torch.randn_like(picture) for size in (0.02, 0.1)]
    logits = torch.randn(2, 3, 2, 3)
    errors = [(picture + residual - truth).square() for residual in (*residuals, 0 * picture)]
    errors = np.stack([e.numpy().reshape(2, 3, 2, 8, 3, 8).mean((1, 3, 5)) for e in errors], 1).astype(np.float64)
    powers = (errors + 1e-5) ** -4
    believed = np.exp(logits.double().numpy())
    believed /= believed.sum(1, keepdims=True)
    surprise = -np.log((believed * powers / powers.max(1, keepdims=True)).sum(1))
    stakes = np.ptp(errors, 1) / (errors.mean((1, 2, 3)) + 1e-4)[:, None, None]
    wanted = np.average(surprise, weights=stakes)
    assert float(competition(logits, picture, residuals, truth)) == pytest.approx(wanted, rel=1e-3)


def test_sizes_suit_the_gate_and_the_levels():
    assert [built("girnet", {"levels": levels, "experts": 2}).description.multiple for levels in (1, 4)] == [8, 16]


@pytest.mark.parametrize("name", ["histogram", "detail"])
def test_what_a_toner_would_learn_of_is_refused_without_one(name):
    with pytest.raises(UsageError, match=f"{name} needs a toner"):
        built("girnet", {name: 8})


def test_several_experts_train():
    made = built("girnet", {"width": 8, "levels": 2, "blocks": 1, "experts": 2})
    for unet in (made, *made.others):
        torch.nn.init.normal_(unet.head.weight, std=0.1)
    made(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert made.gate.choice.weight.grad.abs().max() > 0
    assert made.others[0].head.weight.grad.abs().max() > 0


def counted(pixels):
    return Levels()(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])


def test_levels_are_counted(pixels):
    values = np.rint(255 * pixels).astype(np.uint8)
    made = counted((values / 255).astype(np.float32))
    assert made.shape == (1, 256)
    np.testing.assert_array_equal(made[0], np.bincount(values.ravel(), minlength=256))


@pytest.mark.parametrize("gamma", [1.2, 1.5, 2.0, 2.8])
def test_gaps_are_where_a_curve_leaps_over_levels(gamma):
    even = np.random.RandomState(0).randint(0, 256, (200, 200, 3))
    curve = np.rint(255 * (np.arange(256) / 255) ** gamma).astype(int)
    found = gaps(counted((curve[even] / 255).astype(np.float32)))[0].numpy()
    never = np.setdiff1d(np.arange(256), curve)
    np.testing.assert_array_equal(np.flatnonzero(found[:256]), never)
    assert found[256:].sum() > 240  # of all 256 levels, where there are enough values


@pytest.mark.parametrize("spoiled", ["as it is", "noisy", "compressed", "paler"])
def test_pictures_without_a_leaping_curve_have_no_gaps(pixels, spoiled):
    import cv2

    generator = np.random.RandomState(0)
    values = np.rint(255 * pixels).astype(np.uint8)
    if spoiled == "noisy":
        values = np.clip(np.rint(255 * pixels**2 + generator.normal(0, 3, pixels.shape)), 0, 255).astype(np.uint8)
    if spoiled == "compressed":
        values = cv2.imdecode(cv2.imencode(".jpg", (255 * pixels**2).astype(np.uint8), [1, 30])[1], 1)
    if spoiled == "paler":
        values = np.rint(255 * (0.2 + 0.7 * pixels)).astype(np.uint8)
    assert gaps(counted((values / 255).astype(np.float32))).abs().max() == 0


@pytest.mark.parametrize(
    "curve",
    [
        lambda levels: levels**0.6,
        lambda levels: np.clip(1.2 * levels - 0.05, 0, 1),
        lambda levels: np.rint(100 * levels) / 100,
    ],
    ids=["brightened", "stretched", "few values"],
)
def test_gaps_among_dark_levels_are_of_no_darkening_curve(curve):
    even = np.random.RandomState(0).randint(0, 256, (200, 200, 3))
    levels = np.rint(255 * curve(np.arange(256) / 255)) / 255
    assert gaps(counted(levels[even].astype(np.float32))).abs().max() == 0


@pytest.mark.parametrize("missing", [4, 5])
def test_a_few_gaps_are_chance_and_no_comb(missing):
    counts = torch.full((1, 256), 100.0)
    counts[0, 60 : 60 + 20 * missing : 20] = 0
    found = gaps(counts)[0]
    assert found[:256].sum() == (missing if missing >= 5 else 0)
    assert (found[256:].sum() > 0) == (missing >= 5)


@pytest.mark.parametrize("chain", ["jpeg:10", "jpeg:40", "noise:15 jpeg:30"])
def test_a_gate_sees_where_the_blocks_of_jpeg_are_its_cells(pixels, chain):
    def blocked(picture):
        batch = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32))[None]
        return float(measured(batch, [torch.zeros_like(batch)])[:, -1].mean())

    worse = apply(draw(parse(chain), stream(1, "draw")), pixels, stream(1, "apply"))
    assert blocked(worse) > max(blocked(pixels), blocked(np.roll(worse, (3, 5), (0, 1)))) + 0.3


def details(pixels):
    counts = Details()(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])
    return counts[0].unflatten(0, (3, 64)).numpy()


def strengths(pixels):
    """The details of one channel, by the kernel itself."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    return np.abs(cv2.filter2D(pixels, -1, kernel)[1:-1, 1:-1])


def test_details_are_counted_by_strength():
    pixels = np.random.RandomState(0).rand(40, 56, 3).astype(np.float32)
    luma = pixels.mean(2)
    rows, columns = (np.isin(np.arange(1, size - 1) % 8, (7, 0)) for size in luma.shape)  # a block's first or last
    meeting = rows[:, None] | columns
    colour = np.mean([strengths(pixels[..., channel] - luma) for channel in range(3)], 0)
    edges = (np.arange(65) / 96) ** 2
    edges[-1] = np.inf
    for found, wanted in zip(
        details(pixels), (strengths(luma)[~meeting], strengths(luma)[meeting], colour), strict=True
    ):
        assert np.abs(found - np.histogram(wanted, edges)[0]).sum() <= 6  # rounding, at an edge
        assert found.sum() == wanted.size


def test_details_tell_how_strong_noise_is():
    flat = np.full((128, 128, 3), 0.5, np.float32)
    noise = np.random.RandomState(0).randn(128, 128, 1).astype(np.float32)
    middles = []
    for sigma in (5, 10, 20, 40):
        shares = details(flat + noise * np.float32(sigma / 255))[:2].sum(0).cumsum() / 126**2
        middles.append(((np.searchsorted(shares, 0.5) + 0.5) / 96) ** 2 * 255 / 0.6745)
    np.testing.assert_allclose(middles, (5, 10, 20, 40), rtol=0.15)


def test_what_is_learnt_of_details_is_for_each_picture():
    torch.manual_seed(0)
    learnt = Detail(8, 5)
    pictures = torch.rand(2, 3, 32, 32) * torch.tensor([1.0, 0.1])[:, None, None, None]
    assert (learnt(pictures) == 0).all()
    torch.nn.init.normal_(learnt.layers[-1].weight)
    both, apart = learnt(pictures), torch.cat([learnt(picture[None]) for picture in pictures])
    assert both.shape == (2, 5)
    torch.testing.assert_close(both, apart)
    assert (both[0] - both[1]).abs().max() > 0.01
