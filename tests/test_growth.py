"""A network that begins as a smaller one."""

from __future__ import annotations

import pytest
import torch
from test_checkpoints import girnets
from test_models import SMALL, network

from gir_cli import records
from gir_cli.errors import UsageError
from gir_cli.growth import grow
from gir_cli.weights import built, config_of, load, save

LARGER = {"width": 16, "growth": 2.5, "levels": 3, "blocks": 2, "middle": 1, "ends": 1, "toner": 6}


@pytest.mark.parametrize("whole", [{}, {"toner": 4}])
def test_a_larger_girnet_gives_what_the_smaller_gave(whole):
    smaller = network("girnet", levels=3, **whole)
    larger = built("girnet", LARGER).eval()
    grow(larger, smaller)
    batch = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        wanted, found = smaller(batch), larger(batch)
    assert (wanted - batch).abs().max() > 0.01
    assert (wanted - found).abs().max() < 1e-5


def test_one_that_is_to_learn_is_compared_as_it_will_be_used():
    smaller, larger = network("girnet", levels=3, toner=4), built("girnet", LARGER)
    smaller.toner.tone.weight.data *= 1e-3  # small tones count in learning alone
    smaller.toner.tone.bias.data.fill_(0.1)
    grow(larger.train(), smaller)
    assert larger.training
    batch = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        assert (larger(batch) - smaller(batch)).abs().max() > 1e-4
        assert (larger.eval()(batch) - smaller(batch)).abs().max() < 1e-5


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
        ({"blocks": 2}, "'down_blocks.0.1.narrow.bias' is nowhere in the larger network"),
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


def test_convert_grows_a_network_that_gives_the_same(gir, tmp_path):
    a, _ = girnets(tmp_path)
    out = tmp_path / "c.safetensors"
    done = gir("convert", a, "--grow", "width=16,ends=1", "-o", out)
    assert done.status == 0, done.err
    made, batch = load(out), torch.rand(1, 3, 24, 32)
    batch[..., 8:12, :] = 1  # white, which is pointed out
    with torch.no_grad():
        assert (made.network(batch) - load(a).network(batch)).abs().max() < 1e-5
    config = made.record["config"]
    assert (config["width"], config["ends"], config["blocks"]) == (16, 1, 1)
    assert made.record["parents"] == [records.digest(a)] and "train" not in made.record


@pytest.mark.parametrize(
    ("settings", "status", "says"),
    [
        ("width=4", 2, "does not fit"),
        ("levels=3", 2, "does not give the same"),
        ("wide=16", 2, "girnet has no setting 'wide'"),
        ("width=4096", 2, "width"),
    ],
)
def test_convert_says_what_does_not_grow(gir, tmp_path, settings, status, says):
    a, _ = girnets(tmp_path)
    done = gir("convert", a, "--grow", settings, "-o", tmp_path / "c.safetensors")
    assert done.status == status and says in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("ffdnet", "width=16", None),
        ("fdncnn", "width=16", None),
        ("dncnn", "width=16", None),
        ("dncnn", "channels=3", "the same channels"),
        ("srresnet", "width=16", None),
        ("srresnet", "scale=2", "the same scale"),
    ],
)
def test_convert_grows_networks_of_other_kinds_or_says_why_not(gir, tmp_path, name, settings, says):
    path, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    made = network(name, **{"srresnet": {"scale": 4}, "dncnn": {"channels": 1}}.get(name, {}))
    record = {"name": "a", "model": name, "config": config_of(made), "scale": made.description.scale}
    save(path, made.state_dict(), record)
    done = gir("convert", path, "--grow", settings, "-o", out)
    assert done.status == (2 if says else 0) and (says or "") in done.err and done.err.count("\n") == 1
    assert out.exists() == (not says)
