"""gir info and gir models: what files are, without loading anything heavy."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from pictures import ROOT, encoded
from safetensors.torch import save, save_file
from test_models import network

from gir_cli.image import Image, encode


def test_an_image_is_described_with_its_record(gir, png, tmp_path):
    assert gir("restore", "-m", ROOT / "weights/gir-small.safetensors", png, "-o", tmp_path / "out.png").status == 0
    facts = json.loads(gir("info", "--json", tmp_path / "out.png").out)
    assert (facts["kind"], facts["format"], facts["width"], facts["height"]) == ("image", "png", 384, 256)
    assert facts["provenance"]["model"] == "gir-small"
    assert b"model: gir-small" in gir("info", tmp_path / "out.png").out


def test_what_a_record_says_stays_on_its_line(gir, tmp_path, pixels):
    record = json.dumps({"program": "gir", "model": "\x1b[31mred\nkind: fake \ud800"})
    (tmp_path / "a.png").write_bytes(encode(Image(pixels), "png", record=record).data)
    done = gir("info", tmp_path / "a.png")
    assert (done.status, done.err) == (0, "")
    assert b"model: \\x1b[31mred\\nkind: fake \\ud800\n" in done.out


def test_weights_are_described_by_their_record(gir):
    facts = json.loads(gir("info", "--json", ROOT / "weights/gir-small.safetensors").out)
    assert (facts["kind"], facts["model"], facts["parameters"]) == ("weights", "girnet", 698076)
    assert facts["train"]["command"].startswith("gir train")


def test_a_bad_file_among_others_is_one_line_and_status_1(gir, png, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"hello")
    done = gir("info", tmp_path / "bad.png", png)
    assert done.status == 1
    assert done.err == f"gir: {tmp_path}/bad.png: not an image I can read\n"
    assert b"width: 384" in done.out


def test_models_are_looked_up_in_order(gir, tmp_path, monkeypatch, photograph):
    monkeypatch.setenv("GIR_WEIGHTS", str(tmp_path))
    (tmp_path / "broken.safetensors").write_bytes(encoded(photograph))
    record = {"gir": json.dumps({"format": 1, "model": "dncnn", "config": {}, "scale": 1})}
    save_file(network("dncnn").state_dict(), tmp_path / "other.safetensors", record)
    listed = {line["name"]: line for line in map(json.loads, gir("models", "--json").out.splitlines())}
    assert listed["gir-small"]["model"] == "girnet"
    assert listed["broken"]["error"]
    assert "misses tensor 'model.8.weight'" in listed["other"]["error"]
    assert gir("models").out.splitlines()[0].startswith(b"broken\t?")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file that even root cannot read")
def test_models_lists_the_rest_where_something_is_no_file_or_cannot_be_read_or_shown(process, tmp_path, monkeypatch):
    monkeypatch.setenv("GIR_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    (tmp_path / "dangling.safetensors").symlink_to("nothing")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "unread.pth").symlink_to("/proc/self/mem")
    record = {"format": 1, "model": "dncnn", "config": {}, "scale": "\x1b[31m\n"}
    odd = tmp_path / os.fsdecode(b"odd\xff.safetensors")
    odd.write_bytes(save(network("dncnn").state_dict(), {"gir": json.dumps(record)}))
    done = process("models")
    assert done.status == 0, done.err
    names = [line.split("\t")[0] for line in done.out.decode().splitlines()]
    assert names[:2] == ["odd\\xff", "unread"] and "gir-small" in names
    assert "dangling" not in names and "folder" not in names
    assert b"\x1b" not in done.out and "\x1b" not in done.err
    assert f"gir: {tmp_path}/unread.pth: input/output error" in done.err.splitlines()


@pytest.mark.parametrize("name", ["net.pth", "net.ckpt", "net.safetensors"])
def test_published_weights_are_recognised_and_their_conversion_is_said(gir, tmp_path, name):
    path, tensors = tmp_path / name, network("srresnet", scale=4).state_dict()
    save_file(tensors, path) if name.endswith("safetensors") else torch.save({"params": tensors}, path)
    facts = json.loads(gir("info", "--json", path).out)
    assert (facts["kind"], facts["model"], facts["scale"]) == ("published weights", "srresnet", 4)
    assert (facts["config"]["blocks"], facts["license"]) == (2, "Apache-2.0 (BasicSR)")
    assert facts["parameters"] == sum(value.numel() for value in tensors.values())
    assert facts["convert"] == f"gir convert {path} -o net.safetensors"


def test_published_weights_are_found_and_listed_by_name(gir, tmp_path, monkeypatch, png):
    monkeypatch.setenv("GIR_WEIGHTS", str(tmp_path))
    torch.save({"params": network("dncnn").state_dict()}, tmp_path / "their.pth")
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "what.pt")
    done = gir("models", "--json")
    listed = {line["name"]: line for line in map(json.loads, done.out.splitlines())}
    assert (listed["their"]["model"], listed["their"]["scale"]) == ("dncnn", 1)
    assert listed["their"]["convert"].startswith("gir convert")
    assert "no network that I know" in listed["what"]["error"]
    assert "gir: their: as others published it; gir convert" in gir("models").err
    assert gir("restore", "-m", "their", "-q", png, "-o", tmp_path / "out.png") == (0, b"", "")
    shutil.copy(ROOT / "weights/gir-small.safetensors", tmp_path / "their.safetensors")
    listed = {line["name"]: line for line in map(json.loads, gir("models", "--json").out.splitlines())}
    assert listed["their"]["model"] == "girnet"


def test_weights_that_cannot_be_used_are_one_line_and_status_3(gir, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"hello")
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "what.pth")
    for name in ("bad.safetensors", "what.pth"):
        done = gir("info", tmp_path / name)
        assert (done.status, done.out) == (3, b"")
        assert len(done.err.splitlines()) == 1


def onnx_file(record):
    """Return the bytes of an ONNX model that holds nothing but a version, a graph and the record."""
    pair = b"\x0a\x03gir\x12" + bytes([len(record)]) + record
    return b"\x08\x0a" + b"\x3a\x80\x01" + bytes(128) + b"\x72" + bytes([len(pair)]) + pair


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_an_exported_model_is_described_by_the_record_in_it(gir, tmp_path, form):
    path, record = tmp_path / f"net.{form}", b'{"model": "girnet", "takes": {"multiple": 8}}'
    if form == "onnx":
        path.write_bytes(onnx_file(record))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("any/extra/gir", record)
    facts = json.loads(gir("info", "--json", path).out)
    assert facts == {
        "file": str(path),
        "kind": f"exported model ({form})",
        "model": "girnet",
        "takes": {"multiple": 8},
    }
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-9], b"\xff" * 40, whole.replace(b"gir", b"rig")):
        path.write_bytes(damaged)
        done = gir("info", path)
        assert (done.status, done.out, len(done.err.splitlines())) == (3, b"", 1)
        assert "damaged, or not written by gir export" in done.err
