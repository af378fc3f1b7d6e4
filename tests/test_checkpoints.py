"""Published checkpoints are recognised whatever they are wrapped in, and nothing in them is run."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from test_models import SMALL, batch_for, network

from gir_cli import checkpoints, records
from gir_cli.errors import UsageError, WeightsError
from gir_cli.models import MODELS
from gir_cli.recognition import CONTAINERS
from gir_cli.weights import built, config_of, load, save

PUBLISHED = [name for name in MODELS if name != "girnet"]
SETTINGS = {"uformer": {"side": "64"}}  # what tensors cannot show of the small networks


def written(path, tensors):
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_published_network_is_recognised_with_all_its_sizes(name, suffix, tmp_path):
    made = network(name)
    path = tmp_path / f"net{suffix}"
    (written if suffix == ".pth" else lambda path, tensors: save_file(tensors, path))(path, made.state_dict())
    model = load(path, SETTINGS.get(name, {}))
    assert model.record["model"] == name
    assert config_of(model.network) == config_of(made)
    assert model.record["scale"] == made.description.scale
    assert model.record["license"]
    batch = batch_for(made)
    with torch.no_grad():
        assert torch.equal(model.network(batch), made(batch))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("srresnet", {"scale": 4}),
        ("srresnet", {"scale": 3}),
        ("srresnet", {"scale": 1, "channels": 1}),
        ("rrdbnet", {"scale": 2, "unshuffle": 2}),
        ("rrdbnet", {"scale": 1, "unshuffle": 4}),
        ("rrdbnet", {"scale": 4, "growth": 3, "channels": 1}),
        ("dncnn", {"channels": 1}),
        ("fdncnn", {"channels": 3}),
        ("ffdnet", {"channels": 1}),
        ("srvgg", {"scale": 4}),
        ("nafnet", {"encoder": "1-0-2", "decoder": "2-1-1", "middle": 2}),
        ("restormer", {"norm": "with-bias", "channels": 1}),
        ("restormer", {"ending": "dual-pixel", "channels": 6}),
        ("restormer", {"bias": "yes", "factor": 2.0}),
        ("swinir", {"upsampler": "none", "scale": 1, "resi": "1conv", "features": 64}),
        ("swinir", {"upsampler": "pixelshuffle", "scale": 1}),
        ("swinir", {"upsampler": "pixelshuffle", "scale": 3}),
        ("swinir", {"upsampler": "pixelshuffle", "scale": 4}),
        ("swinir", {"upsampler": "pixelshuffledirect", "scale": 2, "features": 64}),
        ("swinir", {"upsampler": "nearest+conv", "scale": 2}),
        ("swinir", {"upsampler": "nearest+conv", "scale": 4}),
        ("swinir", {"upsampler": "none", "scale": 1, "window": 7, "img_range": 255.0, "channels": 1, "features": 64}),
        ("uformer", {"modulator": 0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(str(part) for part in value.values()),
)
def test_variants_are_told_apart(name, config, tmp_path):
    made = network(name, **config)
    model = load(written(tmp_path / "net.pth", made.state_dict()), SETTINGS.get(name, {}))
    assert (model.record["model"], config_of(model.network)) == (name, config_of(made))
    batch = batch_for(made)
    with torch.no_grad():
        assert torch.equal(model.network(batch), made(batch))


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_are_opened_and_what_is_beside_the_weights_left_out(container, tmp_path):
    tensors = network("srresnet").state_dict()
    beside = {"optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}, "iter": 300000}
    assert load(written(tmp_path / "net.pth", {container: tensors, **beside})).record["model"] == "srresnet"


def test_the_moving_average_comes_first(tmp_path):
    average, last = network("srresnet", 1), network("srresnet", 2)
    path = written(tmp_path / "net.pth", {"params": last.state_dict(), "params_ema": average.state_dict()})
    assert torch.equal(load(path).network.conv_first.weight, average.conv_first.weight)


@pytest.mark.parametrize("prefix", ["module.", "net.", "netG.", "model.", "module.net."])
@pytest.mark.parametrize("name", ["restormer", "dncnn"])
def test_prefixes_that_all_names_have_are_stripped(name, prefix, tmp_path):
    tensors = {prefix + key: value for key, value in network(name).state_dict().items()}
    assert load(written(tmp_path / "net.pth", {"state_dict": tensors})).record["model"] == name


def old(name):
    """Return the ESRGAN name of a tensor of an RRDBNet."""
    name = re.sub(r"body\.(\d+)\.rdb", r"RRDB_trunk.\1.RDB", name)
    for new, before in (("conv_body", "trunk_conv"), ("conv_up", "upconv"), ("conv_hr", "HRconv")):
        name = name.replace(new, before)
    return name


def oldest(name, ups, blocks):
    """Return the name of a tensor of an RRDBNet in files of the first generation."""
    name = re.sub(r"body\.(\d+)\.rdb(\d)\.conv(\d)\.", r"model.1.sub.\1.RDB\2.conv\3.0.", name)
    places = {"conv_first": 0, "conv_hr": 3 * ups + 2, "conv_last": 3 * ups + 4}
    places |= {f"conv_up{number}": 3 * number for number in range(1, ups + 1)}
    name = name.replace("conv_body", f"model.1.sub.{blocks}")
    for new, number in places.items():
        name = name.replace(f"{new}.", f"model.{number}.")
    return name


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_all_three_generations_of_rrdbnet_are_read(scale, tmp_path):
    made = network("rrdbnet", scale=scale, blocks=2)
    ups = scale.bit_length() - 1
    for rename in (old, lambda name: oldest(name, ups, 2)):
        tensors = {rename(key): value for key, value in made.state_dict().items()}
        back = load(written(tmp_path / "net.pth", tensors)).network
        assert config_of(back) == config_of(made)
        assert torch.equal(back(torch.ones(1, 3, 8, 8)), made(torch.ones(1, 3, 8, 8)))


def test_buffers_of_another_size_and_kernels_without_use_are_no_hindrance(tmp_path):
    swinir = network("swinir").state_dict()
    swinir["layers.0.residual_group.blocks.1.attn_mask"] = torch.zeros(9, 16, 16)
    swinir["layers.0.residual_group.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
    assert load(written(tmp_path / "swinir.pth", swinir)).record["model"] == "swinir"
    promptir = network("promptir").state_dict() | {"chnl_reduce1.weight": torch.zeros(4, 4, 1, 1)}
    assert load(written(tmp_path / "promptir.pth", promptir)).record["model"] == "promptir"


@pytest.mark.parametrize("shifted", [True, False])
def test_swinir_does_not_shift_where_its_training_pictures_were_one_window(tmp_path, shifted):
    made = network("swinir", shift="yes" if shifted else "no")
    tensors = made.state_dict()
    for layer, block in itertools.product((0, 1), (0, 1)):
        place = f"layers.{layer}.residual_group.blocks.{block}"
        tensors[f"{place}.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.int64)
        if block and shifted:  # the published code registers a mask for blocks that shift, and for no others
            tensors[f"{place}.attn_mask"] = torch.zeros(4, 16, 16)
    model = load(written(tmp_path / "net.pth", tensors))
    shifts = [block.shift for group in model.network.layers for block in group.residual_group.blocks]
    assert shifts == ([0, 2, 0, 2] if shifted else [0, 0, 0, 0])
    batch = batch_for(made)
    with torch.no_grad():
        assert torch.equal(model.network(batch), made(batch))


def test_batch_normalisation_is_folded_into_the_convolutions(tmp_path):
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU()]
    for _ in range(2):
        layers += [torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.BatchNorm2d(8, eps=1e-4), torch.nn.ReLU()]
    stack = torch.nn.Sequential(*layers, torch.nn.Conv2d(8, 3, 3, padding=1)).eval()
    generator = torch.Generator().manual_seed(5)
    for value in stack.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.5 + 0.3 * torch.rand(value.shape, generator=generator) - 0.5 * (value.ndim == 4))
    tensors = {f"model.{key}": value for key, value in stack.state_dict().items()}
    save_file(tensors, tmp_path / "n.safetensors")
    records.check(tmp_path / "n.safetensors")
    model = load(written(tmp_path / "n.pth", tensors))
    x = torch.rand(1, 3, 9, 11, generator=generator)
    with torch.no_grad():
        assert model.record["config"] == {"width": 8, "depth": 4, "channels": 3}
        expected = x - stack(x)
        assert (model(x, clamp=False) - expected).abs().max() < 2e-6 * expected.abs().max()
    save_file(tensors | {"model.3.running_mean": torch.zeros(9)}, tmp_path / "n.safetensors")
    with pytest.raises(WeightsError, match="do not fit together"):
        records.check(tmp_path / "n.safetensors")


def test_names_of_another_toolbox_are_read(tmp_path):
    made = network("srresnet", scale=4)
    tensors = {
        re.sub(r"^body\.", "recon_trunk.", key).replace("conv_hr", "HRconv"): value
        for key, value in made.state_dict().items()
    }
    assert config_of(load(written(tmp_path / "net.pth", tensors)).network) == config_of(made)


def test_settings_say_what_tensors_cannot_show(tmp_path):
    path = written(tmp_path / "net.pth", network("nafnet").state_dict())
    assert load(path, {"local": "256"}).network.encoders[1][0].sca[0].side == 192
    with pytest.raises(UsageError, match="nafnet has no setting 'depth'"):
        load(path, {"depth": "3"})
    with pytest.raises(WeightsError, match=r"has shape|misses|unknown"):
        load(path, {"width": "8"})


# ---- what is not to be trusted


class Runs:
    """A pickle that makes a folder when it is unpickled the careless way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_does_not(tmp_path, zipped):
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    torch.save({"params": {"x": Runs(made)}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"could run code") as raised:
        load(path)
    assert len(str(raised.value).splitlines()) == 1
    assert not made.exists()


def test_a_plain_pickle_and_a_whole_module_are_refused(tmp_path):
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"x": Runs(tmp_path / "made")}))
    torch.save(network("srresnet"), tmp_path / "module.pth")
    for name in ("plain.pth", "module.pth"):
        with pytest.raises(WeightsError):
            load(tmp_path / name)
    assert not (tmp_path / "made").exists()


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(32 << 20))
    with pytest.raises(WeightsError, match="unpacks to"):
        load(path)


def test_views_that_repeat_one_value_for_ever_are_refused(tmp_path):
    tensors = network("srresnet").state_dict()
    tensors["conv_first.weight"] = torch.zeros(1).expand(1024, 1024, 64, 64)
    with pytest.raises(WeightsError, match="more than the file holds"):
        load(written(tmp_path / "net.pth", tensors))


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({}, "holds no tensors by name"),
        ([1, 2], "holds no tensors by name"),
        ({"params": {"a": 1}}, "holds no tensors by name"),
        ({"fc.weight": torch.zeros(3)}, "no network that I know .* it holds 1 tensors: 'fc.weight'"),
        (
            {"intro.weight": torch.zeros(4, 3, 3, 3), "ending.weight": torch.zeros(3)},
            "nearest is nafnet, but it misses",
        ),
    ],
)
def test_what_is_unknown_is_said_in_one_line(found, says, tmp_path):
    with pytest.raises(WeightsError, match=says) as raised:
        load(written(tmp_path / "net.pth", found))
    assert len(str(raised.value).splitlines()) == 1


def test_a_tensor_too_few_or_too_many_is_named(tmp_path):
    tensors = network("nafnet").state_dict()
    del tensors["encoders.0.0.norm1.bias"]
    with pytest.raises(WeightsError, match=r"misses tensor 'encoders\.0\.0\.norm1\.bias'"):
        load(written(tmp_path / "net.pth", tensors))
    with pytest.raises(WeightsError, match="not finite"):
        load(
            written(
                tmp_path / "net.pth", network("srresnet").state_dict() | {"conv_hr.bias": torch.full((8,), torch.inf)}
            )
        )


def tampered(path, change, data=bytes(16)):
    """Write a safetensors file of two tensors whose header text `change` has altered."""
    header = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
    }
    text = change(json.dumps(header)).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace('"b"', '"a"'), "twice"),
        (lambda text: text.replace("[8, 16]", "[4, 12]"), "not where they should be"),
        (lambda text: text.replace("[8, 16]", "[8, 1000000000000]"), "not where they should be"),
        (lambda text: text.replace('"b"', '"b\\n"'), "a name that cannot be printed"),
        (lambda text: text.replace("F32", "F33"), "unknown type F33"),
        (lambda text: text.replace("[2]", "[-2]"), "has no shape"),
        (lambda text: text.replace("[2]", "[2, 1e9]"), "has no shape"),
        (lambda text: text.replace("data_offsets", "offsets"), "damaged"),
        (lambda text: text.replace("{", "[", 1), "damaged"),
        (lambda text: '{"__metadata__": 5}', "no mapping"),
        (lambda text: "{}", "holds 16 bytes of tensors, not 0"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, change, says):
    with pytest.raises(WeightsError, match=says):
        load(tampered(tmp_path / "net.safetensors", change))


def test_a_huge_header_is_not_read(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{" + bytes(100))
    with pytest.raises(WeightsError, match="not a safetensors file, or cut short"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(40), b"\x80\x02" + bytes(100), b"hello" * 20])
def test_what_is_no_checkpoint_is_one_line(tmp_path, content):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(str(path))) as raised:
        load(path)
    assert len(str(raised.value).splitlines()) == 1


# ---- the command


def test_convert_writes_what_it_recognised(gir, tmp_path):
    made = network("nafnet")
    path = written(tmp_path / "official.pth", {"params": made.state_dict()})
    done = gir("convert", path, "-o", tmp_path / "deep/ours.safetensors", "--set", "local=64")
    assert (done.status, done.out) == (0, b"")
    assert "nafnet" in done.err and "MIT (NAFNet)" in done.err
    model = load(tmp_path / "deep/ours.safetensors")
    assert model.record["name"] == "ours"
    assert model.record["config"]["local"] == 64
    assert len(model.record["parents"]) == 1
    assert torch.equal(model.network.intro.weight, made.intro.weight)


def test_half_precision_halves_the_file(gir, tmp_path):
    path = written(tmp_path / "official.pth", network("dncnn").state_dict())
    sizes = []
    for dtype in ("fp32", "fp16"):
        out = tmp_path / f"{dtype}.safetensors"
        assert gir("convert", path, "-o", out, "--dtype", dtype, "-q") == (0, b"", "")
        sizes.append(sum(value.numel() * value.element_size() for value in checkpoints.safetensors(out).values()))
    assert sizes[1] < 0.51 * sizes[0]


def test_values_that_half_precision_cannot_hold_are_named(gir, tmp_path):
    tensors = network("srresnet").state_dict() | {"conv_hr.bias": torch.full((8,), 1e5)}
    done = gir("convert", written(tmp_path / "n.pth", tensors), "-o", tmp_path / "n.safetensors", "--dtype", "fp16")
    assert done.status == 3
    assert "'conv_hr.bias' holds values too large for fp16" in done.err


def test_a_blend_lies_between_both(gir, tmp_path):
    first, second = network("girnet"), network("girnet", seed=2)
    for name, made in (("a", first), ("b", second)):
        record = {"name": name, "model": "girnet", "config": config_of(made), "license": "CC0-1.0", "train": {}}
        save(tmp_path / f"{name}.safetensors", made.state_dict(), record)
    a, b, out = (tmp_path / f"{name}.safetensors" for name in "abc")
    done = gir("convert", a, "--blend", f"{b}=0.25", "-o", out)
    assert done.status == 0, done.err
    model = load(out)
    assert model.record["parents"] == [records.digest(a), records.digest(b)]
    assert model.record["blend"] == [0.75, 0.25]
    assert "train" not in model.record
    wanted = 0.75 * first.stem.weight + 0.25 * second.stem.weight
    assert (model.network.stem.weight - wanted).abs().max() < 1e-6


def test_a_blend_is_not_written_over_what_it_is_made_of(gir, tmp_path):
    path = tmp_path / "b.safetensors"
    made = network("girnet")
    save(path, made.state_dict(), {"name": "b", "model": "girnet", "config": config_of(made)})
    before = path.read_bytes()
    done = gir("convert", written(tmp_path / "a.pth", made.state_dict()), "--blend", f"{path}=0.5", "-o", path)
    assert done.status == 2 and "is the input itself" in done.err
    assert path.read_bytes() == before


def test_different_networks_are_not_blended(gir, tmp_path):
    a = written(tmp_path / "a.pth", network("dncnn").state_dict())
    b = written(tmp_path / "b.pth", network("srresnet").state_dict())
    done = gir("convert", a, "--blend", f"{b}=0.5", "-o", tmp_path / "c.safetensors")
    assert (done.status, done.err) == (3, "gir: weights of different networks cannot be blended\n")
    assert not (tmp_path / "c.safetensors").exists()


def girnets(folder, **settings):
    """Two weights files: girnets with the second one's own settings, all tensors drawn."""
    for name, config, seed in (("a", {}, 1), ("b", settings, 2)):
        torch.manual_seed(seed)
        made = built("girnet", {"width": 8, "levels": 2, "blocks": 1, **config})
        for tensor in made.parameters():
            torch.nn.init.normal_(tensor, std=0.05)
        record = {"name": name, "model": "girnet", "config": config_of(made), "license": "CC0-1.0"}
        save(folder / f"{name}.safetensors", made.state_dict(), {**record, "train": {"steps": seed}, "scores": {}})
    return folder / "a.safetensors", folder / "b.safetensors"


def test_a_graft_takes_the_named_parts_of_another_file(gir, tmp_path):
    a, b = girnets(tmp_path, toner=6)
    done = gir("convert", a, "--graft", f"{b}=toner.*", "-o", tmp_path / "c.safetensors")
    assert done.status == 0, done.err
    first, second, joined = load(a), load(b), load(tmp_path / "c.safetensors")
    for name, value in joined.network.state_dict().items():
        source = second if name.startswith("toner.") else first
        assert torch.equal(value, source.network.state_dict()[name]), name
    assert joined.record["train"] == {"steps": 1}
    assert joined.record["graft"] == {"parts": "toner.*", "sha256": second.digest, "train": {"steps": 2}}
    assert joined.record["license"] == "CC0-1.0" and "scores" not in joined.record
    done = gir("convert", b, "--graft", f"{a}=stem.*,down*,up*,head.*", "-o", tmp_path / "d.safetensors")
    assert done.status == 0, done.err
    other = load(tmp_path / "d.safetensors")  # the same network from the other side
    assert all(
        torch.equal(value, joined.network.state_dict()[name]) for name, value in other.network.state_dict().items()
    )
    assert other.record["config"] == joined.record["config"]
    done = gir("info", tmp_path / "c.safetensors")
    assert done.status == 0 and b"toner.*" in done.out


@pytest.mark.parametrize(
    ("settings", "parts", "status", "says"),
    [
        ({"toner": 6}, "tuner.*", 2, "'tuner.*' names no parameter"),
        ({"toner": 6}, "toner.tone.*", 3, "do not make one network: misses tensor 'toner."),
        ({"width": 16}, "head.*", 3, "do not make one network: 'head."),
    ],
)
def test_a_graft_that_does_not_fit_is_refused(gir, tmp_path, settings, parts, status, says):
    a, b = girnets(tmp_path, **settings)
    done = gir("convert", a, "--graft", f"{b}={parts}", "-o", tmp_path / "c.safetensors")
    assert done.status == status and says in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["-o", "x.safetensors", "--graft", "y.pth"], 2, "--graft=y.pth is not FILE=NAMES"),
        (["-o", "x.safetensors", "--graft", "y.pth=a", "--blend", "y.pth=1"], 2, "give one"),
        ([], 2, "needs -o"),
        (["-o", "x.pth"], 2, "written to .safetensors"),
        (["-o", "x.safetensors", "--set", "local"], 2, "--set=local is not KEY=VALUE"),
        (["-o", "x.safetensors", "--set", "lokal=1"], 2, "no setting 'lokal'"),
        (["-o", "x.safetensors", "--blend", "y.pth"], 2, "--blend=y.pth is not FILE=SHARE"),
        (["-o", "x.safetensors", "--blend", "y.pth=1.5"], 2, "with a share from 0 to 1"),
        (["-o", "x.safetensors", "--blend", "nowhere.pth=0.5"], 3, "nowhere.pth"),
    ],
)
def test_a_wrong_command_is_one_line(gir, tmp_path, arguments, status, says):
    path = written(tmp_path / "n.pth", network("nafnet").state_dict())
    done = gir("convert", path, *arguments)
    assert done.status == status
    assert says in done.err and len(done.err.splitlines()) == 1


def test_small_settings_are_those_of_every_network():
    assert set(SMALL) == set(MODELS)


def test_a_container_that_holds_itself_holds_nothing(tmp_path):
    container = {}
    container["params"] = container
    torch.save(container, tmp_path / "a.pth")
    with pytest.raises(WeightsError):
        load(tmp_path / "a.pth")
