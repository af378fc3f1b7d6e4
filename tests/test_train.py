"""Training: stateless samples, exact resume, the schedule, the run folder, and gir train."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from classifiers import defined_features, random_classifier
from pictures import encoded
from test_checkpoints import girnets

from gir_cli.chain import preset
from gir_cli.data import DeviceSamples, Samples, Sources, batches, mixture, open_pairs, open_photographs
from gir_cli.errors import GirError, InputError, Unfinished, UsageError, WeightsError
from gir_cli.features import read_features
from gir_cli.image import decode
from gir_cli.rng import stream
from gir_cli.train import state
from gir_cli.train.distributed import Ranks
from gir_cli.train.loop import train
from gir_cli.train.losses import fft, loss, perceptual
from gir_cli.train.optimizer import is_hidden, orthogonalised
from gir_cli.train.run import Limits, Run
from gir_cli.train.settings import Settings, address, averaging, rate
from gir_cli.weights import built, load, save

QUICK = Settings(
    config="width=8,levels=2,blocks=1", steps=12, batch=4, patches="16,16,32", warmup=2, every=6, precision="fp32"
)
HERE = Limits(workers=0)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder of three photographs."""
    from skimage import data

    place = tmp_path_factory.mktemp("photographs")
    for name in ("chelsea", "astronaut", "coffee"):
        (place / f"{name}.png").write_bytes(encoded(getattr(data, name)()[:200, :240]))
    return place


@pytest.fixture(scope="session")
def photographs(folder, tmp_path_factory):
    return open_photographs([folder], tmp_path_factory.mktemp("cache"), 64)


def finished(settings, photographs, place, limits=HERE, **more):
    """Run to the end; return the averaged weights."""
    for _ in train(settings, Sources(photographs), place, limits, **more):
        pass
    return load(place / "weights.safetensors").network.state_dict()


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    """Return the path of a VGG-16 with random weights."""
    path = tmp_path_factory.mktemp("classifier") / "vgg16.pth"
    torch.save(random_classifier("vgg"), path)
    return path


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- samples


def test_photographs_are_decoded_once_and_mapped(folder, tmp_path):
    calls = []
    first = open_photographs([folder], tmp_path, 64, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    again = open_photographs([folder], tmp_path, 64, lambda done, total: calls.append(None))
    assert None not in calls
    assert first.digest == again.digest
    np.testing.assert_array_equal(first[1], again[1])


@pytest.mark.parametrize("left", [None, 1000])
def test_photographs_whose_map_was_lost_or_cut_off_are_decoded_again(folder, tmp_path, left):
    first = open_photographs([folder], tmp_path, 64)
    wanted = first[2].copy()
    first.file.unlink()
    if left:
        first.file.write_bytes(bytes(left))
    again = open_photographs([folder], tmp_path, 64)
    assert again == first
    np.testing.assert_array_equal(again[2], wanted)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.png", b"hello", "bad.png: not an image"),
        ("none.jpg", b"", "none.jpg: empty file"),
        ("small.png", encoded(np.zeros((32, 500, 3), np.uint8)), "small.png: 500x32 is too small"),
    ],
)
def test_a_bad_photograph_is_named_before_training(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_photographs([tmp_path], tmp_path / "cache", 64)


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_photographs([tmp_path / "none"], tmp_path, 64)
    with pytest.raises(InputError, match="holds no images"):
        open_photographs([tmp_path], tmp_path, 64)


def test_a_sample_depends_on_seed_and_index_alone(photographs):
    samples = Samples(photographs, "gir", 3)
    worse, clean = samples[10, 4, 32]
    alone, _ = samples[12, 1, 32]
    assert torch.equal(worse[2], alone[0])
    assert worse.shape == clean.shape == (4, 3, 32, 32)
    assert worse.dtype == torch.uint8
    other, _ = dataclasses.replace(samples, seed=4)[10, 4, 32]
    assert not torch.equal(worse, other)


def test_zoomed_patches_show_more_of_a_photograph_reduced_by_means(tmp_path):
    ramp = np.tile(np.arange(0, 240, 2, dtype=np.uint8)[:, None, None], (1, 120, 3))  # of 120x120
    (tmp_path / "ramp.png").write_bytes(encoded(ramp))
    photographs = open_photographs([tmp_path], tmp_path / "cache", 32)
    spans = {}
    for zoom in (1.0, 2.0, 16.0):
        samples = Samples(photographs, "noise:sigma=0", 0, zoom=zoom)
        spans[zoom] = [int(np.ptp(samples.sample(index, 32)[1])) for index in range(100)]
    assert set(spans[1.0]) == {62}
    assert 62 <= min(spans[2.0]) < max(spans[2.0]) <= 126
    assert 220 < max(spans[16.0]) <= 238  # as much as there is


def test_figures_are_drawn_on_a_share_of_the_photographs_before_they_are_degraded(tmp_path):
    (tmp_path / "gray.png").write_bytes(encoded(np.full((64, 64, 3), 128, np.uint8)))
    photographs = open_photographs([tmp_path], tmp_path / "cache", 64)
    some = Samples(photographs, "noise:sigma=0", 0, figured=0.5)
    again = Samples(photographs, "noise:sigma=0", 0, figured=0.5)
    kinds, changed, exposed = [], 0, 0
    for index in range(100):
        worse, clean = some.sample(index, 64)
        assert np.array_equal(worse, clean) and np.array_equal(clean, again.sample(index, 64)[1])
        # Few are overexposed; else bands alone are of the first and the last level in all colours.
        assert not (clean.max(2) == 0).any()
        exposed += bool((clean.min(2) == 255).any())
        changed += bool((clean != 128).any())
        kinds.append((np.abs(clean.astype(int) - 128) > 20).any(2).mean())
    assert 35 < changed < 65 and 0 < exposed < changed / 2
    assert max(kinds) > 0.3 and 0.01 < np.mean(kinds) < 0.4


def test_exposed_photographs_are_darker_paler_or_edited_before_they_are_degraded(tmp_path):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], (1, 64, 3))
    (tmp_path / "ramp.png").write_bytes(encoded(ramp))
    photographs = open_photographs([tmp_path], tmp_path / "cache", 64)
    plain, some = (Samples(photographs, "noise:sigma=0", 0, exposed=share) for share in (0.0, 0.5))
    changed = []
    for index in range(100):
        before, (worse, after) = plain.sample(index, 64)[1].astype(int), some.sample(index, 64)
        assert np.array_equal(worse, after)
        if not np.array_equal(after, before):
            changed.append((after.min(), after.max() / before.max()))
    assert 35 < len(changed) < 65
    edited = [share for least, share in changed if least == 0 and share > 0.97]
    dark = [share for least, share in changed if least == 0 and share <= 0.97]
    pale = [least / 255 for least, _ in changed if least > 0]
    assert len(edited) > len(changed) / 3
    assert 0.45 < min(dark) < 0.6 < max(dark) < 0.97  # linear light of 0.2 is 0.48 in sRGB
    assert 0.05 <= min(pale) < max(pale) <= 0.3


def test_workers_make_the_batches_of_one_process(photographs):
    samples = Samples(photographs, "gir", 0)
    addresses = [(4 * step, 4, 16) for step in range(6)]
    alone = list(batches(samples, addresses, 0))
    shared = list(itertools.islice(batches(samples, addresses, 2), 6))
    for (worse, clean), (other_worse, other_clean) in zip(alone, shared, strict=True):
        assert torch.equal(worse, other_worse)
        assert torch.equal(clean, other_clean)


def test_a_batch_for_the_device_is_one_of_the_same_samples(photographs):
    samples = Samples(photographs, "gir", 3)
    planned = DeviceSamples(samples)
    worse, clean = planned.pair(planned[10, 16, 32], torch.device("cpu"))
    known, known_clean = samples[10, 16, 32]
    assert worse.dtype == torch.uint8
    assert torch.equal(clean, known_clean)
    again, _ = planned.pair(planned[10, 16, 32], torch.device("cpu"))
    assert torch.equal(worse, again)
    # Chains are the same, random fields are not: each picture is about as bad.
    errors = [(images.double() - clean).square().mean((1, 2, 3)) for images in (worse, known)]
    assert torch.corrcoef(torch.stack(errors))[0, 1] > 0.98


def test_workers_plan_the_batches_of_one_process(photographs):
    samples = DeviceSamples(Samples(photographs, "gir", 0))
    addresses = [(8 * step, 8, 16) for step in range(3)]
    alone, shared = list(batches(samples, addresses, 0)), list(batches(samples, addresses, 1))
    for one, other in zip(alone, shared, strict=True):
        pairs = (samples.pair(batch, torch.device("cpu")) for batch in (one, other))
        assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))


def test_a_chain_is_a_distribution_in_which_every_step_acts():
    drawn = mixture("noise:sigma=0..50 jpeg:quality=10|20", 32)
    rng = np.random.RandomState(0)
    assert [[step.name for step in drawn.draw(rng)] for _ in range(5)] == [["noise", "jpeg"]] * 5


def test_training_leaves_more_pictures_clean_than_the_preset_it_draws_from():
    def share_of_clean(distribution):
        rng = stream("clean")
        return np.mean([not distribution.draw(rng) for _ in range(2000)])

    assert share_of_clean(mixture("gir", 64)) == pytest.approx(0.3, abs=0.05)
    assert share_of_clean(preset("gir", 64, 64)) == pytest.approx(0.05, abs=0.02)


def test_real_pairs_are_cut_at_one_place(tmp_path, photograph):
    place = write_pairs(tmp_path / "pairs", photograph, lambda pixels: 255 - pixels)
    samples = Samples(None, "gir", 0, pairs=open_pairs([place], tmp_path / "cache", 32))
    worse, clean = samples[0, 6, 32]
    assert torch.equal(worse, 255 - clean)
    assert len({image.numpy().tobytes() for image in clean}) == 6


def test_pairs_are_a_share_of_the_samples(photographs, tmp_path, photograph):
    pairs = open_pairs([write_pairs(tmp_path / "p", photograph, lambda pixels: 255 - pixels)], tmp_path / "c", 32)
    samples = Samples(photographs, "noise:sigma=0", 0, pairs=pairs, pairs_share=0.25)
    worse, clean = samples[0, 200, 16]
    real = [bool(torch.equal(one, 255 - other)) for one, other in zip(worse, clean, strict=True)]
    assert 30 < sum(real) < 70
    # What is drawn from photographs is what it was without pairs.
    alone, _ = Samples(photographs, "noise:sigma=0", 0)[0, 200, 16]
    assert all(torch.equal(worse[i], alone[i]) for i in range(200) if not real[i])


def test_pairs_that_do_not_fit_are_named(tmp_path, photograph):
    place = write_pairs(tmp_path / "pairs", photograph, lambda pixels: pixels[:-1])
    with pytest.raises(InputError, match=r"lq/1.png: is 383x255, its partner in gt/ 383x256"):
        open_pairs([place], tmp_path / "cache", 32)
    (place / "gt" / "2.png").rename(place / "gt" / "3.png")
    with pytest.raises(InputError, match=r"2.png: is not in both lq/ and gt/"):
        open_pairs([place], tmp_path / "cache", 32)


def write_pairs(place, photograph, worsen):
    """Write two pairs, lq/ and gt/, under `place`."""
    for half in ("lq", "gt"):
        (place / half).mkdir(parents=True)
    for number in (1, 2):
        clean = photograph[:, number:]
        (place / "gt" / f"{number}.png").write_bytes(encoded(clean))
        (place / "lq" / f"{number}.png").write_bytes(encoded(worsen(clean)))
    return place


def test_some_steps_of_a_chain_may_act():
    drawn = mixture("blur:sigma=1 noise:sigma=0..50 jpeg:quality=10|20", 32, (0.5, 0.5))
    rng = np.random.RandomState(0)
    assert {len(drawn.draw(rng)) for _ in range(50)} == {1, 2}


@pytest.mark.parametrize("text", ["0.5", "a", "0.5,-0.5,1", "1,1"])
def test_counts_that_are_no_probabilities_are_refused(text):
    with pytest.raises(UsageError, match="counts="):
        Settings(counts=text)


def test_kinds_of_a_mixture_come_as_often_as_asked_for():
    rng = np.random.RandomState(0)
    drawn = mixture("blur:sigma=1 noise:sigma=5", 32, (1.0,), (("noise", 9.0),))
    assert np.mean([drawn.draw(rng)[0].name == "noise" for _ in range(2000)]) == pytest.approx(0.9, abs=0.03)
    plain, foggy = (mixture("gir", 64, (1.0,), often) for often in ((), (("haze", 20.0),)))
    plain, foggy = (sum([s.name for s in m.draw(rng)] == ["haze"] for _ in range(2000)) for m in (plain, foggy))
    assert foggy > 4 * plain


@pytest.mark.parametrize("text", ["jpeg", "jpeg=", "jpeg=x", "jpeg=0", "jpeg=nan", "jpeg=1,jpeg=2", "=,"])
def test_often_that_spells_no_kinds_and_numbers_is_refused(text):
    with pytest.raises(UsageError, match="often="):
        Settings(often=text)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--often", "fog=2"], "fog is none of the steps"),
        (["--mode", "single:noise-2", "--often", "noise=2"], "for mixtures"),
        (["--mode", "bsrgan", "--counts", "0.5,0.5"], "for mixtures"),
        (["--chain", "noise:sigma=5", "--often", "noise=2"], "say --counts too"),
    ],
)
def test_what_cannot_be_mixed_is_said_before_training(gir, folder, tmp_path, arguments, says):
    made = gir("train", "--data", folder, "-o", tmp_path / "run", "--patches", "32", *arguments)
    assert made.status == 2
    assert says in made.err


# ---- losses


def test_the_fourier_loss_is_that_of_numpy():
    a, b = np.random.RandomState(0).uniform(size=(2, 2, 3, 16, 12))
    found = fft(torch.from_numpy(a), torch.from_numpy(b))
    there = np.fft.rfft2(a - b, norm="ortho")
    assert float(found) == pytest.approx((np.abs(there.real).mean() + np.abs(there.imag).mean()) / 2, rel=1e-9)


@pytest.mark.parametrize(("name", "floor"), [("psnr", 1e-3), ("psnr40", 1e-4)])
def test_the_psnr_losses_count_images_by_the_logarithm_of_their_error(name, floor):
    clean = torch.zeros(2, 3, 8, 8)
    restored = clean + torch.tensor([0.1, 0.003]).view(2, 1, 1, 1)
    wanted = np.mean([np.log(0.1**2 + floor), np.log(0.003**2 + floor)]) / 10
    assert float(loss(Settings(loss=name), restored, clean)) == pytest.approx(wanted, rel=1e-4)


def test_the_fourier_loss_is_added_with_its_weight():
    a, b = torch.rand(2, 1, 3, 16, 16)
    plain, more = (loss(Settings(loss="l1", fft=weight), a, b) for weight in (0, 0.5))
    assert float(more - plain) == pytest.approx(0.5 * float(fft(a, b)), rel=1e-5)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_perceptual_loss_is_the_mean_error_of_features(tmp_path, net):
    tensors = random_classifier(net)
    torch.save(tensors, tmp_path / "net.pth")
    a, b = torch.rand(2, 2, 3, 32, 40, generator=torch.Generator().manual_seed(0)).double()
    stages = zip(defined_features(net, tensors, a), defined_features(net, tensors, b), strict=True)
    wanted = np.mean([float((one - other).abs().mean()) for one, other in stages])
    network = read_features(tmp_path / "net.pth")
    restored = a.float().requires_grad_()
    found = perceptual(network, restored, b.float())
    assert found.item() == pytest.approx(wanted, rel=1e-5)
    found.backward()
    assert restored.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_perceptual_loss_is_added_with_its_weight(classifier):
    a, b = torch.rand(2, 1, 3, 16, 16)
    network = read_features(classifier)
    settings = Settings(loss="l1", perceptual=0.5, perceptual_backbone=str(classifier))
    more = loss(settings, a, b, network) - loss(Settings(loss="l1"), a, b)
    assert float(more) == pytest.approx(0.5 * float(perceptual(network, a, b)), rel=1e-5)


# ---- schedule


def test_the_rate_warms_up_and_ends_at_its_last_share():
    settings = Settings(steps=1000, warmup=100, last_rate=0.1)
    rates = [rate(step, settings) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1) and rates.index(max(rates)) in (99, 100)
    assert rates[1000] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[100:]))


def test_larger_patches_come_in_smaller_batches():
    settings = Settings(steps=4, batch=16, patches="64,128")
    assert [address(step, settings) for step in range(4)] == [(0, 16, 64), (16, 16, 64), (32, 4, 128), (48, 4, 128)]


def test_the_moving_average_forgets_the_start():
    assert averaging(0, QUICK) == 0.1
    assert averaging(10**6, QUICK) == QUICK.average


@pytest.mark.parametrize("text", ["", "64,", "63", "big", "0"])
def test_sides_that_cannot_be_are_refused(text):
    with pytest.raises(UsageError, match="patches"):
        Settings(patches=text)


# ---- optimiser


def test_orthogonalised_updates_have_singular_values_near_one():
    found = orthogonalised(torch.randn(2, 16, 40, generator=torch.Generator().manual_seed(0)))
    values = torch.linalg.svdvals(found.float())
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_muon_is_for_hidden_kernels_only():
    network = built("girnet", {"width": 8, "levels": 2, "blocks": 1, "toner": 6})
    hidden = {name for name, _ in network.named_parameters() if is_hidden(name, network)}
    assert "stem.weight" not in hidden
    assert "head.weight" not in hidden
    assert "toner.look.weight" not in hidden
    assert "toner.tone.weight" not in hidden
    assert "down_blocks.0.0.widen.weight" in hidden
    assert not any(name.endswith("bias") for name in hidden)


# ---- runs


@pytest.mark.parametrize(("precision", "place"), [("fp32", "cpu"), ("bf16", "cpu"), ("fp32", "device")])
def test_a_run_that_was_stopped_ends_with_the_same_bits(photographs, tmp_path, precision, place):
    settings = dataclasses.replace(QUICK, precision=precision, degrade_on=place)
    straight = finished(settings, photographs, tmp_path / "straight")
    seen = []

    def interrupted():
        return len(seen) == 5

    with pytest.raises(Unfinished, match="stopped at step 6 of 12"):
        original = Run.update

        def counted(self, *batch):
            seen.append(self.step)
            return original(self, *batch)

        Run.update = counted
        try:
            finished(settings, photographs, tmp_path / "halves", interrupted=lambda: len(seen) == 6)
        finally:
            Run.update = original
    assert same(straight, finished(settings, photographs, tmp_path / "halves"))
    one, other = (state.read_checkpoint(tmp_path / name)[1] for name in ("straight", "halves"))
    assert same(one, other)


def test_training_lowers_the_loss(photographs, tmp_path):
    settings = dataclasses.replace(
        QUICK, steps=120, patches="32", batch=8, distribution="noise:sigma=50", every=120, loss="mse"
    )
    reports = list(train(settings, Sources(photographs), tmp_path / "run", HERE))
    assert reports[-1].valid > reports[-1].valid_input + 2


def test_a_broken_checkpoint_is_passed_over(photographs, tmp_path):
    finished(QUICK, photographs, tmp_path)
    newest, older = state.checkpoints(tmp_path)
    data = (newest / "state.safetensors").read_bytes()
    (newest / "state.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert state.read_checkpoint(tmp_path)[0]["step"] == 6
    assert older.name == "checkpoint-000000006"
    (older / "state.json").write_text("[]")
    assert state.read_checkpoint(tmp_path) is None


def test_only_folders_named_by_a_step_are_checkpoints(photographs, tmp_path):
    kept = tmp_path / "checkpoint-before-change"
    kept.mkdir()
    finished(QUICK, photographs, tmp_path)
    assert kept.is_dir()
    (tmp_path / "checkpoint-1000000000").mkdir()
    assert [place.name[11:] for place in state.checkpoints(tmp_path)] == ["1000000000", "000000012", "000000006"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 1}, "seed=0, not 1"),
        ({"loss": "l1"}, "loss="),
        ({"distribution": "multi"}, "distribution=gir"),
        ({"degrade_on": "device"}, "degrade_on=cpu, not device"),
        ({"optimizer": "adam"}, "optimizer=muon, not adam"),
    ],
)
def test_another_run_is_not_taken_for_this_one(photographs, tmp_path, changed, says):
    finished(QUICK, photographs, tmp_path)
    with pytest.raises(UsageError, match=says):
        finished(dataclasses.replace(QUICK, **changed), photographs, tmp_path)


def test_a_run_from_before_a_setting_is_taken_to_have_had_its_default(tmp_path):
    old = dataclasses.asdict(QUICK) | {"data": "digest"}
    del old["degrade_on"]
    state.check_same_run(tmp_path, old, QUICK, {"data": "digest"})


def test_a_longer_run_goes_on_from_a_shorter_one(photographs, tmp_path):
    finished(QUICK, photographs, tmp_path)
    finished(dataclasses.replace(QUICK, steps=18, rate=0.01), photographs, tmp_path)
    assert state.read_checkpoint(tmp_path)[0]["step"] == 18


def test_a_loss_that_is_not_finite_ends_the_run_after_some_patience(photographs, tmp_path, monkeypatch):
    settings = dataclasses.replace(QUICK, steps=50, every=50)

    original = Run.update

    def update(self, worse, clean):
        if self.step == 7:
            with torch.no_grad():
                self.network.stem.bias.fill_(float("nan"))
        return original(self, worse, clean)

    monkeypatch.setattr(Run, "update", update)
    with pytest.raises(GirError, match=r"not finite in the 13 steps before step 20 .*samples 76 to 79, 16x16"):
        finished(settings, photographs, tmp_path)


def test_the_weights_say_how_they_came_to_be(photographs, tmp_path):
    finished(QUICK, photographs, tmp_path / "run", about={"name": "mine", "license": "CC0-1.0"})
    record = load(tmp_path / "run/weights.safetensors").record
    assert record["name"] == "mine"
    assert record["train"]["distribution"] == "gir"
    assert record["train"]["degrade_on"] == "cpu"
    assert record["train"]["steps_done"] == 12
    assert record["train"]["data_digest"] == photographs.digest
    assert record["train"]["photographs"] == 3
    assert set(record["scores"]["validation"]) == {"psnr", "input"}


def test_a_teacher_pulls_its_pupil(photographs, tmp_path):
    finished(QUICK, photographs, tmp_path / "first")
    model = load(tmp_path / "first/weights.safetensors")
    teacher = tmp_path / "teacher.safetensors"
    brighter = {"head.bias": torch.full((12,), 0.25)}
    save(teacher, {**model.network.state_dict(), **brighter}, model.record)
    settings = dataclasses.replace(QUICK, steps=60, patches="16", loss="mse", optimizer="adam", average=0.5)
    alone = finished(settings, photographs, tmp_path / "alone")
    taught = dataclasses.replace(settings, teacher=str(teacher), teacher_share=1.0)
    pupil = finished(taught, photographs, tmp_path / "pupil")
    assert float(pupil["head.bias"].mean()) > float(alone["head.bias"].mean()) + 0.05
    assert load(tmp_path / "pupil/weights.safetensors").record["parents"] == [load(teacher).digest]


def test_a_taught_run_goes_on_with_its_teacher_only(photographs, tmp_path):
    plain = dataclasses.replace(QUICK, steps=2, patches="16", every=2)
    for seed in (0, 1):
        finished(dataclasses.replace(plain, seed=seed), photographs, tmp_path / str(seed))
    teacher, moved, run = tmp_path / "0/weights.safetensors", tmp_path / "moved.safetensors", tmp_path / "run"
    moved.write_bytes(teacher.read_bytes())
    taught = dataclasses.replace(plain, teacher=str(teacher))
    finished(taught, photographs, run)
    teacher.write_bytes((tmp_path / "1/weights.safetensors").read_bytes())
    longer = dataclasses.replace(taught, steps=4)
    with pytest.raises(UsageError, match="begun with teacher="):
        finished(longer, photographs, run)
    finished(dataclasses.replace(longer, teacher=str(moved)), photographs, run)
    assert load(run / "weights.safetensors").record["parents"] == [load(moved).digest]


def test_a_run_from_before_teachers_had_digests_holds_the_path(tmp_path):
    settings = dataclasses.replace(QUICK, teacher="teacher.safetensors")
    digests = {"data": "digest", "perceptual_backbone": "", "teacher": 64 * "0"}
    old = dataclasses.asdict(settings) | {"data": "digest"}
    state.check_same_run(tmp_path, old, settings, digests)
    with pytest.raises(UsageError, match=r"begun with teacher=other\.safetensors"):
        state.check_same_run(tmp_path, old | {"teacher": "other.safetensors"}, settings, digests)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_classifier_has_a_say_in_training(photographs, tmp_path, classifier, precision):
    plain = dataclasses.replace(QUICK, steps=3, patches="16", precision=precision)
    settings = dataclasses.replace(plain, perceptual=0.5, perceptual_backbone=str(classifier))
    assert not same(
        finished(plain, photographs, tmp_path / "plain"), finished(settings, photographs, tmp_path / "perceptual")
    )
    record = load(tmp_path / "perceptual/weights.safetensors").record["train"]
    assert record["perceptual"] == 0.5
    assert record["perceptual_digest"] == hashlib.sha256(classifier.read_bytes()).hexdigest()
    assert load(tmp_path / "plain/weights.safetensors").record["train"]["perceptual_digest"] == ""


def test_a_perceptual_run_goes_on_with_its_classifier_only(photographs, tmp_path, classifier):
    settings = dataclasses.replace(
        QUICK, steps=2, patches="16", perceptual=0.5, perceptual_backbone=str(classifier), every=2
    )
    finished(settings, photographs, tmp_path / "run")
    with pytest.raises(UsageError, match=r"begun with perceptual=0\.5, not 0\.25"):
        finished(dataclasses.replace(settings, perceptual=0.25), photographs, tmp_path / "run")
    with pytest.raises(UsageError, match=r"begun with perceptual=0\.5, not 0\.0"):
        finished(dataclasses.replace(settings, perceptual=0, perceptual_backbone=""), photographs, tmp_path / "run")
    moved = tmp_path / "moved.pth"
    torch.save(random_classifier("vgg", seed=1), moved)
    longer = dataclasses.replace(settings, steps=4, perceptual_backbone=str(moved))
    with pytest.raises(UsageError, match="begun with perceptual_backbone="):
        finished(longer, photographs, tmp_path / "run")
    moved.write_bytes(classifier.read_bytes())
    finished(longer, photographs, tmp_path / "run")
    assert state.read_checkpoint(tmp_path / "run")[0]["step"] == 4


def test_a_classifier_that_is_none_or_sees_no_features_in_patches_is_refused(photographs, tmp_path, classifier):
    settings = dataclasses.replace(QUICK, patches="8", perceptual=1, perceptual_backbone=str(classifier))
    with pytest.raises(UsageError, match=r"patches=8 must not be under 16"):
        Run(settings, Sources(photographs), tmp_path, HERE)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth: holds neither AlexNet nor VGG-16"):
        Run(
            dataclasses.replace(QUICK, perceptual=1, perceptual_backbone=str(tmp_path / "part.pth")),
            Sources(photographs),
            tmp_path,
            HERE,
        )


def test_batches_that_processes_cannot_share_are_said_before_training(photographs, tmp_path):
    limits = dataclasses.replace(HERE, ranks=Ranks(0, 2))
    with pytest.raises(UsageError, match="a batch of 1 patches of 32x32 is not divisible among 2 processes"):
        Run(dataclasses.replace(QUICK, patches="16,32"), Sources(photographs), tmp_path, limits)


def test_frozen_parameters_stay(photographs, tmp_path):
    settings = dataclasses.replace(QUICK, freeze="stem.*,*.bias")
    trained = finished(settings, photographs, tmp_path)
    untouched = Run(settings, Sources(photographs), tmp_path / "new", HERE).network.state_dict()
    stays = {name for name in trained if torch.equal(trained[name], untouched[name])}
    assert {"stem.weight", "stem.bias", "head.bias"} <= stays
    assert "head.weight" not in stays


@pytest.mark.parametrize(("pattern", "says"), [("tail.*", "names no parameter"), ("*", "leaves nothing to train")])
def test_freezing_nothing_or_all_is_refused(photographs, tmp_path, pattern, says):
    with pytest.raises(UsageError, match=says):
        Run(dataclasses.replace(QUICK, freeze=pattern), Sources(photographs), tmp_path, HERE)


def test_a_batch_in_parts_has_the_gradient_of_the_batch(photographs, tmp_path):
    whole, parts = (
        Run(dataclasses.replace(QUICK, accumulate=count), Sources(photographs), tmp_path, HERE) for count in (1, 3)
    )
    batch = whole.samples[0, 4, 16]
    assert float(whole._gradient(*batch)) == pytest.approx(float(parts._gradient(*batch)), rel=1e-5)
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_when_memory_runs_out_the_line_says_what_fits(photographs, tmp_path, monkeypatch):
    original = Run._loss

    def limited(self, worse, clean):
        if len(worse) > 2:
            raise torch.OutOfMemoryError("no more")
        return original(self, worse, clean)

    monkeypatch.setattr(Run, "_loss", limited)
    with pytest.raises(GirError, match=r"a batch of 8 patches of 16x16; --accumulate 4 computes it in parts that fit"):
        finished(dataclasses.replace(QUICK, batch=8), photographs, tmp_path)


def test_a_full_disk_is_said_before_training(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(state.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(GirError, match=r"MiB are needed on its disk, and 0 are free"):
        finished(QUICK, photographs, tmp_path)


def test_a_time_budget_fixes_the_number_of_steps(photographs, tmp_path):
    settings = dataclasses.replace(QUICK, steps=10**6, every=10**6)
    reports = list(train(settings, Sources(photographs), tmp_path, dataclasses.replace(HERE, time=3)))
    assert 40 < reports[-1].steps < 10**5
    assert reports[-1].step == reports[-1].steps


def test_a_time_budget_outlasts_a_stop_and_counts_what_was_used(photographs, tmp_path):
    settings = dataclasses.replace(QUICK, steps=200, every=1000)
    limits = dataclasses.replace(HERE, time=1000)
    calls = itertools.count(1)
    with pytest.raises(Unfinished, match="stopped at step 20 of 200"):
        finished(settings, photographs, tmp_path, limits, interrupted=lambda: next(calls) == 20)
    facts = state.checkpoints(tmp_path)[0] / "state.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"seconds": 1000}))
    finished(settings, photographs, tmp_path, limits)
    assert state.read_checkpoint(tmp_path)[0]["step"] == 61
    # The same again has nothing to do, and what has its length gets no other from a clock.
    finished(settings, photographs, tmp_path, limits)
    with pytest.raises(UsageError, match=r"61 steps came of a --time of 1000s and stays; --steps"):
        finished(settings, photographs, tmp_path, dataclasses.replace(limits, time=2000))
    finished(dataclasses.replace(settings, steps=64), photographs, tmp_path)
    assert state.read_checkpoint(tmp_path)[0]["step"] == 64


def test_a_timed_run_from_before_its_budget_was_kept_has_its_length(photographs, tmp_path):
    finished(QUICK, photographs, tmp_path)
    facts = state.checkpoints(tmp_path)[0] / "state.json"
    known = json.loads(facts.read_text())
    del known["fixed_by"]
    facts.write_text(json.dumps(known))
    settings = dataclasses.replace(QUICK, steps=30)
    finished(settings, photographs, tmp_path, dataclasses.replace(HERE, time=1000))
    assert state.read_checkpoint(tmp_path)[0]["step"] == 12


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_an_update_that_is_not_finite_changes_nothing(photographs, tmp_path, optimizer):
    run = Run(dataclasses.replace(QUICK, optimizer=optimizer), Sources(photographs), tmp_path, HERE)
    worse, clean = run.samples[0, 4, 16]
    run.update(worse, clean)
    before = state.snapshot(run.network, {}, run.optimizers)
    hook = run.network.head.bias.register_hook(lambda gradient: gradient * float("nan"))
    run.update(worse, clean)
    hook.remove()
    assert same(before, state.snapshot(run.network, {}, run.optimizers))
    assert run.skipped == 1
    run.update(worse, clean)
    assert not same(before, state.snapshot(run.network, {}, run.optimizers))
    run.check()


# ---- the command


def arguments(folder: Path, run: Path, *more: object) -> list[object]:
    config = ["--config", "width=8,levels=2,blocks=1", "--batch", 4, "--patches", 16, "--every", 5, "--workers", 0]
    return ["train", "--data", folder, "-o", run, *config, *more]


def test_the_command_trains_and_its_weights_restore(gir, folder, tmp_path, png):
    run = tmp_path / "run"
    done = gir(*arguments(folder, run, "--steps", 10, "--json"))
    assert done.status == 0
    assert json.loads(done.out.splitlines()[-1])["step"] == 10
    assert gir("restore", "-m", run / "weights.safetensors", png, "-o", tmp_path / "out.png").status == 0
    assert "girnet" in gir("info", run / "weights.safetensors").out.decode()


def test_a_gate_learns_whom_to_believe_and_the_experts_stay(gir, folder, tmp_path):
    a, b = girnets(tmp_path)
    pair = tmp_path / "pair.safetensors"
    assert gir("convert", a, "--beside", b, "-o", pair).status == 0
    frozen = "stem.*,down_blocks.*,up_blocks.*,downs.*,ups.*,head.*,others.*"
    gate = ("--freeze", frozen, "--loss", "gate", "--rate", 0.02, "--adam-rate", 0.02, "--average", 0.5)
    # Of what is clear, doing nothing is best.
    asked = arguments(folder, tmp_path / "run", "--start", pair, "--chain", "noise:sigma=0", "--steps", 60, *gate)
    asked[asked.index("--config") + 1] = "width=8,levels=2,blocks=1,experts=2"
    done = gir(*asked)
    assert done.status == 0, done.err
    before, after = load(pair).network, load(tmp_path / "run" / "weights.safetensors").network
    batch = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert (after(batch) - batch).abs().mean() < 0.1 * (before(batch) - batch).abs().mean()
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]) != name.startswith("gate."), name


def test_a_slice_ends_with_status_75_and_the_same_command_goes_on(gir, folder, tmp_path):
    run = tmp_path / "run"
    once = gir(*arguments(folder, run, "--steps", 400, "--stop-after", "0.5s"))
    assert once.status == 75
    assert once.err.splitlines()[-1].endswith("run again to go on")
    assert gir(*arguments(folder, run, "--steps", 20 + state.read_checkpoint(run)[0]["step"])).status == 0
    assert gir(*arguments(folder, tmp_path / "none", "--steps", 20, "--stop-after", "0s")).status == 75


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        (["--mode", "all"], 2, "--mode=all is none of gir, multi, real-esrgan, bsrgan, single:TASK"),
        (["--mode", "single:noise"], 2, "no task is called 'noise'; did you mean 'noise-"),
        (["--model", "ffdnet", "--config", ""], 2, "ffdnet: only networks that take RGB alone"),
        (["--model", "srresnet", "--config", "scale=2"], 2, "srresnet: only networks that"),
        (["--config", "depth=3"], 2, "girnet has no setting 'depth'"),
        (["--model", "girnett"], 2, "did you mean 'girnet'?"),
        (["--time", "soon"], 2, "'soon' is no length of time"),
        (["--steps", "0"], 2, "--steps=0 is out of range"),
        (["--chain", "noise:sigma=x"], 2, "noise: sigma=x"),
        (["--perceptual", "1"], 2, "--perceptual, a weight, and --perceptual-backbone, a file, are of use together"),
        (["--perceptual", "1", "--perceptual-backbone", "none.pth"], 3, "none.pth: no such weights file"),
        (["--perceptual", "1", "--perceptual-backbone", __file__], 3, "not a checkpoint that torch can read"),
        (["--loss", "gate"], 2, "--loss=gate needs a girnet of several experts"),
        (["--loss", "gate", "--fft", "0.1"], 2, "--loss=gate stands alone"),
        (["--chain", "webp:30 snow", "--degrade-on", "device"], 2, "no device can do webp, snow;"),
    ],
)
def test_what_cannot_be_trained_is_one_line(gir, folder, tmp_path, more, status, says):
    done = gir(*arguments(folder, tmp_path / "run", *more))
    assert done.status == status
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_a_photograph_too_small_to_validate_on_is_said_before_training(gir, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    (small / "a.png").write_bytes(encoded(np.zeros((100, 300, 3), np.uint8)))
    done = gir(*arguments(small, tmp_path / "run", "--steps", 5))
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert "a.png: 300x100 is too small, patches to train or validate on have 128x128 pixels" in done.err


def test_the_papers_recipe_gives_defaults_that_options_override(gir, folder, tmp_path):
    asked = [*arguments(folder, tmp_path / "run", "--dry-run", "--preset", "paper"), "--loss", "charbonnier"]
    facts = dict(line.split("\t") for line in gir(*asked).out.decode().splitlines())
    assert (facts["optimizer"], facts["rate"], facts["loss"]) == ("adam", "0.0002", "charbonnier")
    assert facts["batch"] == "4"
    assert gir(*asked, "--preset", "best").err == "gir: --preset=best is none of tuned, paper\n"


def test_a_single_task_is_a_mode(gir, folder, tmp_path):
    done = gir(*arguments(folder, tmp_path / "run", "--dry-run", "--mode", "single:noise-2"))
    assert "distribution\tsingle:noise-2\n" in done.out.decode()


def test_the_command_learns_from_pairs_alone(gir, tmp_path, photograph):
    place = write_pairs(tmp_path / "pairs", photograph, lambda pixels: 255 - pixels)
    options = [*arguments(place, tmp_path / "run", "--steps", 5)]
    options[1] = "--pairs"
    assert gir(*options).status == 0
    record = load(tmp_path / "run/weights.safetensors").record
    assert (record["train"]["photographs"], record["train"]["pairs"]) == (0, 2)


def test_the_curves_are_drawn(gir, folder, tmp_path):
    run = tmp_path / "run"
    assert gir(*arguments(folder, run, "--steps", 10)).status == 0
    assert gir("train", "--plot", run).err == f"{run / 'plot.png'}\n"
    assert decode((run / "plot.png").read_bytes()).pixels.std() > 0.01
    assert gir("train", "--plot", tmp_path).err == f"gir: {tmp_path}: holds no log.jsonl of a run\n"


def test_a_line_of_the_log_that_was_cut_off_costs_no_other(gir, folder, tmp_path):
    run = tmp_path / "run"
    assert gir(*arguments(folder, run, "--steps", 10)).status == 0
    log = run / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert gir("train", "--plot", run).status == 0
    assert gir(*arguments(folder, run, "--steps", 20)).status == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 4
    assert [json.loads(lines[place])["step"] for place in (0, 2, 3)] == [5, 15, 20]
    assert gir("train", "--plot", run).status == 0


def test_tensorboard_is_asked_for_by_name(gir, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    done = gir(*arguments(folder, tmp_path / "run", "--steps", 5, "--tensorboard"))
    assert (done.status, "pip install" in done.err) == (2, True)


def test_rehearsing_prints_the_speed_and_keeps_nothing(gir, folder, tmp_path):
    done = gir(*arguments(folder, tmp_path / "run", "--dry-run"))
    assert done.status == 0
    facts = dict(line.split("\t") for line in done.out.decode().splitlines())
    assert float(facts["images_per_second"]) > 0
    assert float(facts["multiplications_per_pixel"]) == pytest.approx(girnet_multiplications(8), rel=1e-6)
    assert int(facts["memory_bytes"]) > 10**7
    assert not (tmp_path / "run").exists()


def test_rehearsing_heeds_start_and_json(gir, folder, tmp_path):
    asked = arguments(folder, tmp_path / "run", "--dry-run", "--json")
    facts = json.loads(gir(*asked).out)
    assert (facts["batch"], facts["photographs"]) == (4, 3) and facts["memory_bytes"] > 10**7
    done = gir(*asked, "--start", tmp_path / "none.safetensors")
    assert (done.status, done.out) == (3, b"")
    assert done.err == f"gir: {tmp_path / 'none.safetensors'}: no such weights file\n"


def girnet_multiplications(width):
    """Return what a girnet of two levels with a block each takes for a pixel."""
    half = 12 * width * 9 + 2 * (2 * width**2 * 9) + width * 12 * 9  # stem, a block each way, head
    quarter = 2 * (width * 2 * width * 4) / 4 + 2 * (2 * width) ** 2 * 9 / 4  # down and up, a block
    return (half + quarter) / 4
