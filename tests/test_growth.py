"""A network that begins as a smaller one."""

from __future__ import annotations

import pytest
import torch
from test_models import SMALL, network

from gir_cli.errors import UsageError
from gir_cli.train.growth import grow
from gir_cli.weights import built

LARGER = {"width": 16, "growth": 2.5, "levels": 3, "blocks": 2, "middle": 1, "ends": 1, "toner": 6}


@pytest.mark.parametrize("whole", [{}, {"toner": 4}])
def test_a_larger_girnet_gives_what_the_smaller_gave(whole):
    smaller = network("girnet", levels=3, **whole)
    larger = built("girnet", LARGER)
    grow(larger, smaller)
    batch = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        wanted, found = smaller(batch), larger(batch)
    assert (wanted - batch).abs().max() > 0.01
    assert (wanted - found).abs().max() < 1e-5


def test_what_it_has_more_of_learns():
    larger = built("girnet", LARGER)
    grow(larger, network("girnet", levels=3))
    larger(torch.rand(1, 3, 32, 32)).square().mean().backward()
    assert larger.head.weight.grad[:, 8:].abs().min() > 0


def test_one_of_the_same_sizes_gets_the_same_tensors():
    first, second = network("girnet"), network("girnet", seed=2)
    grow(second, first)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("smaller", "said"),
    [
        ({"width": 16}, r"'stem.weight' of shape \[16, 12, 3, 3\] does not fit in \[8, 12, 3, 3\]"),
        ({"blocks": 2}, "'down_blocks.0.1.narrow.bias' is nowhere in this run's network"),
    ],
)
def test_one_that_is_larger_is_refused(smaller, said):
    with pytest.raises(UsageError, match=said):
        grow(built("girnet", SMALL["girnet"]), network("girnet", **smaller))


@pytest.mark.parametrize(
    ("name", "larger"),
    [
        ("restormer", {"width": 8}),  # features are normalised together
        ("girnet", {"levels": 3, "blocks": 2}),  # the new level is not the identity
    ],
)
def test_one_that_would_not_do_the_same_is_refused(name, larger):
    with pytest.raises(UsageError, match="does not give the same"):
        grow(network(name, seed=2, **larger), network(name))
