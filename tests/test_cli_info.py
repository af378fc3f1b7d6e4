"""gir info and gir models: what files are, without loading anything heavy."""

from __future__ import annotations

import json

from pictures import ROOT, encoded


def test_an_image_is_described_with_its_record(gir, png, tmp_path):
    assert gir("restore", "-m", ROOT / "weights/gir-small.safetensors", png, "-o", tmp_path / "out.png").status == 0
    facts = json.loads(gir("info", "--json", tmp_path / "out.png").out)
    assert (facts["kind"], facts["format"], facts["width"], facts["height"]) == ("image", "png", 384, 256)
    assert facts["provenance"]["model"] == "gir-small"
    assert b"model: gir-small" in gir("info", tmp_path / "out.png").out


def test_weights_are_described_by_their_record(gir):
    facts = json.loads(gir("info", "--json", ROOT / "weights/gir-small.safetensors").out)
    assert (facts["kind"], facts["model"], facts["parameters"]) == ("weights", "girnet", 696924)
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
    listed = {line["name"]: line for line in map(json.loads, gir("models", "--json").out.splitlines())}
    assert listed["gir-small"]["model"] == "girnet"
    assert listed["broken"]["error"]
    assert gir("models").out.splitlines()[0].startswith(b"broken\t?")
