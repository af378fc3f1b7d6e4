"""Exported models give what the model gives, at any size, and say what they are."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from pictures import ROOT
from test_models import batch_for, network

from gir_cli import export, exports
from gir_cli.errors import GirError, UsageError
from gir_cli.export import check_form, exported, quietly
from gir_cli.models import MODELS, Description
from gir_cli.weights import Model, config_of, save

#: Fewer blocks than in other tests, for torch traces each with sizes that are symbols.
SMALLER = {
    "girnet": {"toner": 6, "histogram": 8, "detail": 8, "experts": 2},
    "nafnet": {"encoder": "1", "decoder": "1", "local": 6},
    "swinir": {"depths": "2", "heads": "2", "resi": "1conv"},
    "ffdnet": {"channels": 1},
}
SLOW = {"scunet", "uformer", "restormer", "promptir", "xrestormer"}  # half a minute to a minute each
QUICK = [name for name in MODELS if name not in SLOW]

needs_onnx = pytest.mark.skipif(not importlib.util.find_spec("onnxruntime"), reason="the export extra is missing")


def small(name):
    return Model(network(name, **SMALLER.get(name, {})), {"model": name, "name": "small"}, "0" * 64)


@pytest.mark.parametrize("name", QUICK)
def test_an_exported_program_gives_the_same_and_carries_the_record(name, tmp_path):
    model, path = small(name), tmp_path / "net.pt2"
    path.write_bytes(exported(model, "pt2"))
    with quietly():
        program = torch.export.load(path)
    record = exports.record(path)
    assert (record["model"], record["weights"]) == (name, "0" * 64)
    multiple = record["takes"]["multiple"]
    batch = batch_for(model.network, 5 * multiple, 3)
    assert batch.shape[-1] >= record["takes"]["minimum"]
    with torch.no_grad():
        expected = model.network(batch)
        told = (torch.full((3, 1, 1, 1), 25 / 255),) if model.description.noise_level else ()
        assert (program.module()(batch, *told) - expected).abs().max() < 1e-5 * expected.abs().max()


@needs_onnx
@pytest.mark.parametrize("name", ["girnet", "ffdnet", "nafnet", "swinir"])
def test_an_onnx_file_leaves_its_sizes_open_and_carries_the_record(name, tmp_path):
    import onnx

    data = exported(small(name), "onnx")
    made = onnx.load_from_string(data)
    axes = [axis.dim_param for axis in made.graph.input[0].type.tensor_type.shape.dim]
    assert axes[0] == "batch" and "height" in axes[2] and "width" in axes[3]
    assert json.loads({entry.key: entry.value for entry in made.metadata_props}["gir"])["model"] == name
    (tmp_path / "net.onnx").write_bytes(data)
    assert exports.record(tmp_path / "net.onnx")["model"] == name


def test_a_file_that_gives_other_results_is_not_kept(monkeypatch):
    monkeypatch.setitem(export._READERS, "pt2", lambda data: lambda *inputs: inputs[0] + 1)
    with pytest.raises(GirError, match="dncnn as pt2 gives other results"):
        exported(small("dncnn"), "pt2")


def test_a_network_that_cannot_be_exported_is_named():
    class Moody(torch.nn.Module):
        description = Description()

        def forward(self, x):
            return x if x.mean() > 0.5 else -x

    with pytest.raises(GirError, match="moody cannot be exported as pt2") as raised:
        exported(Model(Moody(), {"model": "moody"}), "pt2")
    assert len(str(raised.value).splitlines()) == 1


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="ONNX needs onnx, onnxscript, onnxruntime: pip install"):
        check_form("onnx")
    check_form("pt2")


def test_the_command_writes_the_file_and_says_what_it_takes(gir, tmp_path):
    made = network("dncnn")
    path = tmp_path / "w.safetensors"
    save(path, made.state_dict(), {"name": "w", "model": "dncnn", "config": config_of(made), "scale": 1})
    done = gir("export", "-m", path, "-o", tmp_path / "deep/w.pt2")
    assert (done.status, done.out) == (0, b"")
    assert "multiples of 1 from 2 on" in done.err and len(done.err.splitlines()) == 1
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["w.pt2"]


@pytest.mark.parametrize(
    ("arguments", "says"), [([], "needs -o FILE.pt2"), (["-o", "x.pth"], "exported to .pt2 or .onnx files")]
)
def test_a_wrong_command_is_one_line(gir, arguments, says):
    done = gir("export", "-m", ROOT / "weights/gir-small.safetensors", *arguments)
    assert done.status == 2
    assert says in done.err and len(done.err.splitlines()) == 1
