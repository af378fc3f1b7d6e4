"""The pieces of the zoo that go wrong, each against its definition written out."""

from __future__ import annotations

import math

import pytest
import torch
from test_models import SMALL, batch_for, network
from torch.nn import functional

from gir_cli.layouts.official import counts
from gir_cli.layouts.transposed import expansion
from gir_cli.models import windows
from gir_cli.models.blocks import ChannelNorm, ChannelScale
from gir_cli.models.nafnet import Pool, sliding_mean
from gir_cli.models.swinir import Attention, SwinBlock, SwinirConfig
from gir_cli.models.transposed import ChannelAttention
from gir_cli.models.xrestormer import WindowAttention, XrestormerConfig
from gir_cli.weights import Model, built

CPU = torch.device("cpu")


def seeded(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomised(module, seed=3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module.eval()


# ---- windows


def test_windows_are_cut_row_by_row_and_joined_again():
    x = seeded(2, 8, 12, 3)
    cells = windows.cut(x, 4)
    assert cells.shape == (2, 6, 16, 3)
    for number in range(6):
        top, left = 4 * (number // 3), 4 * (number % 3)
        assert torch.equal(cells[:, number].reshape(2, 4, 4, 3), x[:, top : top + 4, left : left + 4])
    assert torch.equal(windows.joined(cells, 8, 12), x)


@pytest.mark.parametrize("side", [2, 3, 7])
def test_the_relative_index_is_that_of_each_pair_of_pixels(side):
    index = windows.relative_index(side, CPU)
    for query in range(side * side):
        for key in range(side * side):
            down, across = query // side - key // side, query % side - key % side
            assert index[query, key] == (down + side - 1) * (2 * side - 1) + across + side - 1


def neighbours_attended(block, x):
    """Return the shifted attention of a SwinBlock pixel by pixel, from where windows lie in the unrolled picture.

    With a shift, windows begin at -shift; each is cut at the border, so it holds what lies in the picture.
    """
    _, height, width, channels = x.shape
    attention, side, shift = block.attn, block.window, block.shift
    heads = attention.heads
    query, key, value = attention.qkv(x[0]).unflatten(-1, (3, heads, channels // heads)).unbind(2)
    out = torch.zeros(height, width, channels)
    for row in range(height):
        for column in range(width):
            top, left = ((place + shift) // side * side - shift for place in (row, column))
            if shift:  # the first and the last pieces are windows of their own
                top, left = top if top < height else top - side, left if left < width else left - side
            cells = [
                (i, j)
                for i in range(max(top, 0), min(top + side, height))
                for j in range(max(left, 0), min(left + side, width))
            ]
            for head in range(heads):
                scores = []
                for i, j in cells:
                    place = (row - i + side - 1) * (2 * side - 1) + column - j + side - 1
                    product = query[row, column, head] @ key[i, j, head] / math.sqrt(channels // heads)
                    scores.append(product + attention.relative_position_bias_table[place, head])
                shares = torch.softmax(torch.stack(scores), 0)
                mixed = sum(share * value[i, j, head] for share, (i, j) in zip(shares, cells, strict=True))
                size = channels // heads
                out[row, column, head * size : (head + 1) * size] = mixed
    return attention.proj(out)[None]


@pytest.mark.parametrize("shift", [0, 2])
def test_shifted_windows_see_their_neighbours_and_nothing_across_the_border(shift):
    config = SwinirConfig(width=4, depths="2", heads="2", window=4, hidden=4)
    block = randomised(SwinBlock(config, 2, shift))
    x = seeded(1, 8, 12, 4)
    with torch.no_grad():
        assert (block._attended(x) - neighbours_attended(block, x)).abs().max() < 1e-5


def test_scunet_masks_as_swinir_does():
    apart = windows.apart(8, 12, 4, 2, CPU)
    assert apart.shape == (6, 16, 16)
    assert not apart[0].any() and not apart[1].any()
    last = apart[5].reshape(4, 4, 4, 4)
    for i, j, k, m in torch.cartesian_prod(*[torch.arange(4)] * 4).tolist():
        assert last[i, j, k, m] == ((i < 2) != (k < 2) or (j < 2) != (m < 2))


def test_attention_of_a_batch_repeats_the_mask():
    attention = randomised(Attention(8, 2, 4))
    mask = -100.0 * windows.apart(8, 8, 4, 2, CPU)
    cells = windows.cut(seeded(3, 8, 8, 8), 4)
    with torch.no_grad():
        alone = torch.cat([attention(picture[None], mask) for picture in cells])
        assert (attention(cells, mask) - alone).abs().max() < 1e-5


# ---- attention between channels, and overlapping windows


def test_transposed_attention_is_the_equation_written_out():
    attention = randomised(ChannelAttention(6, 2, bias=True))
    x = seeded(2, 6, 4, 5)
    with torch.no_grad():
        query, key, value = attention.qkv_dwconv(attention.qkv(x)).chunk(3, 1)
        query, key, value = (part.reshape(2, 2, 3, 20) for part in (query, key, value))
        query, key = (part / part.square().sum(-1, keepdim=True).sqrt() for part in (query, key))
        shares = torch.einsum("nhcp,nhdp->nhcd", query, key) * attention.temperature
        shares = shares.exp() / shares.exp().sum(-1, keepdim=True)
        expected = attention.project_out(torch.einsum("nhcd,nhdp->nhcp", shares, value).reshape(2, 6, 4, 5))
        assert (attention(x) - expected).abs().max() < 1e-5


def test_overlapping_windows_are_the_definition_pixel_by_pixel():
    config = XrestormerConfig(window=2, span=4, head=3)
    attention = randomised(WindowAttention(5, 2, config))
    x = seeded(1, 5, 4, 6)
    with torch.no_grad():
        query, key, value = (part[0].unflatten(0, (2, 3)) for part in attention.qkv(x).chunk(3, 1))
        key, value = (functional.pad(part, (1, 1, 1, 1)) for part in (key, value))  # zeros around take part
        tables = attention.rel_pos_emb
        out = torch.zeros(2, 3, 4, 6)
        for head in range(2):
            for row in range(4):
                for column in range(6):
                    asked = query[head, :, row, column] * 3**-0.5
                    top, left = row // 2 * 2, column // 2 * 2
                    scores = torch.empty(4, 4)
                    for i in range(4):
                        for j in range(4):
                            down = tables.rel_height[i - row % 2 + 3]
                            across = tables.rel_width[j - column % 2 + 3]
                            scores[i, j] = asked @ (key[head, :, top + i, left + j] + down + across)
                    shares = torch.softmax(scores.flatten(), 0).reshape(4, 4)
                    out[head, :, row, column] = (shares * value[head, :, top : top + 4, left : left + 4]).sum((1, 2))
        assert (attention(x) - attention.project_out(out.flatten(0, 1)[None])).abs().max() < 1e-5


@pytest.mark.parametrize("factor", [2.66, 2.0, 2.5, 4.0])
@pytest.mark.parametrize("width", [8, 44, 48])
def test_the_factor_of_hidden_channels_gives_the_hidden_widths_back(width, factor):
    pairs = [(width << level, int((width << level) * factor)) for level in range(4)]
    found = expansion(pairs)
    assert all(int(wide * found) == hidden for wide, hidden in pairs)


def test_hidden_widths_that_no_factor_gives_are_refused():
    with pytest.raises(ValueError, match="no factor"):
        expansion([(8, 21), (16, 60)])


# ---- normalisation, pooling, folding


def test_channel_norm_is_its_definition():
    norm = randomised(ChannelNorm(6, 1e-6))
    x = seeded(2, 6, 3, 4)
    mean, spread = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    expected = (x - mean) / (spread + 1e-6).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    assert (norm(x) - expected).abs().max() < 1e-5


def test_norm_without_bias_keeps_the_mean():
    norm = randomised(ChannelScale(6))
    x = seeded(2, 6, 3, 4) + 5
    variance = ((x - x.mean(1, keepdim=True)) ** 2).mean(1, keepdim=True)
    assert (norm(x) - x / (variance + 1e-5).sqrt() * norm.weight[:, None, None]).abs().max() < 1e-4
    assert norm(x).mean(1).abs().mean() > 0.1


@pytest.mark.parametrize("side", [1, 2, 3, 5, 9])
def test_sliding_means_repeat_the_outermost(side):
    x = seeded(1, 2, 4, 9)
    out = sliding_mean(x, side, -1)
    means = torch.stack([x[..., i : i + side].mean(-1) for i in range(9 - side + 1)], -1)
    before = (9 - means.shape[-1]) // 2
    for i in range(9):
        assert (out[..., i] - means[..., min(max(i - before, 0), means.shape[-1] - 1)]).abs().max() < 1e-6


def test_local_pooling_is_global_on_pictures_no_larger_than_the_window():
    x = seeded(1, 2, 6, 9)
    assert torch.equal(Pool(9)(x), Pool()(x))
    assert Pool(8)(x).shape == x.shape
    whole = built("nafnet", SMALL["nafnet"])
    local = built("nafnet", SMALL["nafnet"] | {"local": 16})
    assert [block.side for block in local.modules() if isinstance(block, Pool)] == [24, 12, 12, 6, 12, 24]
    assert all(block.side == 0 for block in whole.modules() if isinstance(block, Pool))


def test_folding_puts_the_pixels_of_a_square_beside_each_other_within_a_channel():
    made = network("ffdnet")
    x = seeded(1, 3, 4, 6)
    folded = torch.empty(1, 12, 2, 3)
    for channel in range(3):
        for i in range(2):
            for j in range(2):
                folded[:, 4 * channel + 2 * i + j] = x[:, channel, i::2, j::2]
    with torch.no_grad():
        out = made.model(torch.cat((folded, torch.full((1, 1, 2, 3), 0.2)), 1))
        expected = torch.empty_like(x)
        for channel in range(3):
            for i in range(2):
                for j in range(2):
                    expected[:, channel, i::2, j::2] = out[:, 4 * channel + 2 * i + j]
        assert (made(x, 0.2) - expected).abs().max() < 1e-6


def test_a_noise_level_may_differ_from_picture_to_picture():
    made = network("fdncnn")
    batch = batch_for(made, number=2)
    with torch.no_grad():
        together = made(batch, torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1))
        alone = torch.cat([made(batch[:1], 0.1), made(batch[1:], 0.3)])
    assert (together - alone).abs().max() < 1e-6
    assert (made(batch, 0.1) - made(batch, 0.3)).abs().max() > 1e-3


def test_a_new_nafnet_adds_only_its_first_and_last_convolution():
    made = built("nafnet", {"width": 4, "encoder": "0", "middle": 1, "decoder": "1"})
    x = batch_for(made)
    with torch.no_grad():
        features = made.intro(x)
        plain = made.ups[0](made.downs[0](features)) + features
        assert (made(x) - x - made.ending(plain)).abs().max() < 1e-6


# ---- the wrapper


@pytest.mark.parametrize(
    ("name", "mode", "multiple"),
    [("nafnet", "constant", 4), ("scunet", "replicate", 64), ("restormer", "reflect", 8), ("ffdnet", "replicate", 2)],
)
def test_pictures_are_extended_as_the_published_code_does(name, mode, multiple):
    made = network(name)
    x = torch.rand(1, 3, 61, 45, generator=torch.Generator().manual_seed(4))
    pad = (0, -45 % multiple, 0, -61 % multiple)
    with torch.no_grad():
        expected = made(functional.pad(x, pad, mode))[..., :61, :45]
    assert torch.equal(Model(made, {})(x, clamp=False), expected)


def test_uformer_sees_the_picture_in_the_middle_of_a_square_of_zeros():
    made = network("uformer")
    x = torch.rand(1, 3, 65, 40, generator=torch.Generator().manual_seed(4))
    square = torch.zeros(1, 3, 128, 128)
    square[..., 31:96, 44:84] = x
    with torch.no_grad():
        expected = made(square)[..., 31:96, 44:84]
    assert torch.equal(Model(made, {})(x, clamp=False), expected)


@pytest.mark.parametrize("text", ["", "1-", "a", "1--2", "-1", "1-1000", "99-99-99-99-99-99"])
def test_lists_of_numbers_that_are_none_are_refused(text):
    from gir_cli.errors import UsageError

    with pytest.raises(UsageError):
        counts(text)
