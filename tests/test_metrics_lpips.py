"""The metric lpips: its formula, its files, and the commands that take them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from classifiers import defined_lpips, random_classifier, random_linear, write_lpips
from pictures import ROOT, encoded
from safetensors.torch import save_file

from gir_cli.errors import UsageError, WeightsError
from gir_cli.lpips import read_lpips
from gir_cli.metrics import METRICS, Undefined, quantised, scores

NETS = ("alex", "vgg")
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Return by net the paths of a backbone and of linear weights, both random."""
    place = tmp_path_factory.mktemp("lpips")
    return {net: write_lpips(place, net) for net in NETS}


@pytest.fixture(scope="session")
def metric(files):
    return {net: read_lpips(*files[net], CPU) for net in NETS}


@pytest.fixture(scope="session")
def clean(photograph):
    return quantised(photograph[40:104, 90:170].astype(np.float32) / 255)


def noisy(clean, sigma):
    return quantised(clean + sigma / 255 * np.random.RandomState(0).standard_normal(clean.shape))


def batch(pixels):
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None])


@pytest.mark.parametrize("net", NETS)
class TestOfEveryNet:
    def test_is_as_defined(self, net, metric, clean):
        for size in ((40, 56), (31, 33)):
            true = clean[: size[0], : size[1]]
            for worse in (noisy(true, 20), true * 0.7, true[::-1].copy()):
                # The definition is computed in doubles.
                wanted = defined_lpips(net, random_classifier(net), random_linear(net), batch(worse), batch(true))
                assert metric[net](worse, true) == pytest.approx(wanted, rel=1e-5, abs=1e-6)

    def test_equal_pictures_are_at_no_distance(self, net, metric, clean):
        assert metric[net](clean, clean.copy()) == 0.0

    def test_one_level_of_one_pixel_is_some_distance(self, net, metric, clean):
        other = clean.copy()
        other[30, 30] += 1 / 255
        assert metric[net](other, clean) > 0

    def test_orders_bad_from_worse_and_does_not_care_which_is_which(self, net, metric, clean):
        ladder = [metric[net](noisy(clean, sigma), clean) for sigma in (2, 5, 15, 50)]
        assert ladder == sorted(set(ladder))
        assert metric[net](clean, noisy(clean, 15)) == pytest.approx(ladder[2], rel=1e-5)

    def test_a_picture_that_is_too_small_has_a_reason_and_not_a_number(self, net, metric, clean):
        least = {"alex": 31, "vgg": 16}[net]
        small = clean[: least - 1]
        found = scores(["lpips", "mae"], small, small, given={"lpips": metric[net]})
        assert isinstance(found["lpips"], Undefined)
        assert str(found["lpips"]) == f"lpips needs {least} pixels a side, not 80x{least - 1}"
        assert metric[net](clean[:least, :least], clean[:least, :least]) == 0

    def test_safetensors_give_the_same(self, net, files, metric, clean, tmp_path):
        for name, tensors in (("a", random_classifier(net)), ("b", random_linear(net))):
            save_file(tensors, tmp_path / f"{name}.safetensors")
        other = read_lpips(tmp_path / "a.safetensors", tmp_path / "b.safetensors", CPU)
        assert other(noisy(clean, 9), clean) == metric[net](noisy(clean, 9), clean)


def test_a_picture_too_large_for_the_memory_has_a_reason(metric, clean, monkeypatch):
    def full(*pictures):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(metric["alex"], "_distance", full)
    with pytest.raises(Undefined, match="more memory than there is for 80x64 pixels"):
        metric["alex"](clean, clean)


def test_without_its_files_there_is_no_metric(clean):
    with pytest.raises(UsageError, match="lpips needs --lpips-backbone and --lpips-weights"):
        scores(["lpips"], clean, clean)
    assert METRICS["lpips"].perfect == 0


def bad_backbone(kind: str) -> dict[str, torch.Tensor]:
    tensors = random_classifier("alex")
    if kind == "misses":
        del tensors["features.8.bias"]
    elif kind == "shape":
        tensors["features.3.weight"] = torch.zeros(192, 64, 3, 3)
    elif kind == "more":
        tensors["features.12.weight"] = torch.zeros(1)
    elif kind == "nan":
        tensors["features.6.bias"][7] = float("nan")
    return tensors if kind != "none" else {}


@pytest.mark.parametrize("kind", ["misses", "shape", "more", "nan", "none"])
def test_a_backbone_that_is_none_is_named(kind, files, tmp_path):
    path = tmp_path / "backbone.pth"
    torch.save(bad_backbone(kind), path)
    says = "'features.6.bias' holds values that are not finite" if kind == "nan" else "holds neither AlexNet nor VGG-16"
    with pytest.raises(WeightsError, match=f"backbone.pth: {says}"):
        read_lpips(path, files["alex"][1], CPU)


def test_linear_weights_that_do_not_fit_are_named(files, tmp_path):
    with pytest.raises(WeightsError, match=r"vgg-weights.pth: holds no linear weights of LPIPS for alex"):
        read_lpips(files["alex"][0], files["vgg"][1], CPU)
    broken = random_linear("alex")
    broken["lin3.model.1.weight"][0, 5] = float("inf")
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(WeightsError, match=r"broken\.pth: holds values that are not finite"):
        read_lpips(files["alex"][0], tmp_path / "broken.pth", CPU)


# ---- the commands


@pytest.fixture
def options(files):
    return ["--lpips-backbone", files["alex"][0], "--lpips-weights", files["alex"][1]]


@pytest.fixture
def folders(tmp_path, photograph):
    """Return folders of restored and of clean pictures."""
    for name, pixels in (("clean", photograph[:64, :64]), ("restored", 255 - photograph[:64, :64])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(encoded(pixels))
    return tmp_path / "restored", tmp_path / "clean"


def expected(metric, folders, photograph):
    clean = quantised(photograph[:64, :64].astype(np.float32) / 255)
    return metric["alex"](quantised(1 - clean), clean)


def test_compare_gives_it_where_its_files_are_named(gir, folders, options, metric, photograph):
    restored, clean = (folder / "a.png" for folder in folders)
    facts = json.loads(gir("compare", clean, restored, "--json", *options).out)
    assert facts["scores"]["lpips"] == pytest.approx(expected(metric, folders, photograph), rel=1e-6)
    assert "psnr" in facts["scores"]
    assert "lpips 0.1, alex of sha256 " in facts["protocol"]
    assert "lpips" not in gir("compare", clean, restored, "--json").out.decode()


def test_pairs_are_evaluated_by_it(gir, folders, options, metric, photograph):
    done = gir("evaluate", *folders, "--metric", "lpips", *options)
    assert done.status == 0
    assert f"{expected(metric, folders, photograph):.3f}" in done.out.decode()
    assert "lpips 0.1, alex of sha256 " in done.out.decode()


def test_a_suite_is_evaluated_by_it_and_other_files_are_another_measurement(gir, folders, files, options, tmp_path):
    rows = tmp_path / "rows.jsonl"
    command = ["evaluate", "--data", folders[1], "--tasks", "blur-1", "-m", "none", "--metric", "lpips", "-o", rows]
    first = gir(*command, *options)
    assert (first.status, len(rows.read_text().splitlines())) == (0, 1)
    assert gir(*command, *options) == first
    assert len(rows.read_text().splitlines()) == 1
    others = ["--lpips-backbone", files["vgg"][0], "--lpips-weights", files["vgg"][1]]
    assert gir(*command, *others).status == 0
    told = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [row["files"]["lpips"].split()[2] for row in told] == ["alex", "vgg"]
    assert told[0]["scores"]["lpips"] != told[1]["scores"]["lpips"]


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ([], 2, "lpips needs --lpips-backbone and --lpips-weights"),
        (["--lpips-backbone", "BACKBONE"], 2, "lpips needs --lpips-backbone and --lpips-weights"),
        (["--lpips-backbone", "gone.pth", "--lpips-weights", "LINEAR"], 3, "gone.pth: no such weights file"),
        (["--lpips-backbone", "LINEAR", "--lpips-weights", "LINEAR"], 3, "holds neither AlexNet nor VGG-16"),
        (["--lpips-backbone", "BACKBONE", "--lpips-weights", "BACKBONE"], 3, "holds no linear weights of LPIPS"),
        (["--lpips-backbone", "CLEAN", "--lpips-weights", "LINEAR"], 3, "not a checkpoint that torch can read"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_files_that_are_missing_or_wrong_are_one_line(gir, folders, files, command, given, status, says):
    pictures = [folder / "a.png" for folder in folders]
    names = {"BACKBONE": files["alex"][0], "LINEAR": files["alex"][1], "CLEAN": pictures[1]}
    done = gir(command, *pictures, "--metric", "lpips", *(names.get(word, word) for word in given))
    assert (done.status, done.out) == (status, b"")
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_naming_the_files_imports_nothing_where_it_is_not_asked_for(folders, options):
    code = "import sys; from gir_cli.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    pictures = [folder / "a.png" for folder in folders]
    for command in ("compare", "evaluate"):
        words = [sys.executable, "-c", code, command, *pictures, "--metric", "psnr", *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        assert subprocess.run(words, env=environment, capture_output=True, cwd=Path(ROOT)).returncode == 0
