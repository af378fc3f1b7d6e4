"""The configuration file: option over environment over file over default."""

from __future__ import annotations

import pytest
from pictures import decoded, psnr


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Return a function that writes the configuration file."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("GIR_CONFIG", str(path))
    return lambda text: path.write_text(text)


def test_a_value_of_the_file_is_the_default_and_an_option_wins(gir, png, config, photograph):
    config("[degrade]\nnoise = '50'\n")
    assert psnr(decoded(gir("degrade", png).out), photograph) < 17
    assert psnr(decoded(gir("degrade", "--noise", "5", png).out), photograph) > 30


def test_keys_may_have_hyphens_and_numbers_stay_numbers(gir, png, config):
    config("[degrade]\nskip-existing = true\nseed = 4\nnoise = '5'\n[restore]\nstrength = 0.5\n")
    out = png.parent / "out.png"
    assert gir("degrade", png, "-o", out).status == 0
    before = out.read_bytes()
    out.write_bytes(b"kept")
    assert gir("degrade", png, "-o", out).status == 0
    assert out.read_bytes() == b"kept"
    config("[degrade]\n")
    assert gir("degrade", "--seed", "4", "--noise", "5", png).out == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[degrade]\nnois = '5'\n", "did you mean 'noise'?"),
        ("[degrade\n", "config.toml: "),
        ("[degrad]\nnoise = '5'\n", "'degrad' is no command of gir; did you mean 'degrade'?"),
        ("degrade = 5\n", "'degrade' is no table"),
        ("[degrade]\nseed = 'x'\n", "seed"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line_and_status_2(gir, png, config, text, says):
    config(text)
    done = gir("degrade", "--noise", "5", png)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert says in done.err


def test_a_file_that_was_named_must_be_there(gir, png, monkeypatch):
    monkeypatch.setenv("GIR_CONFIG", str(png.parent / "none.toml"))
    assert gir("degrade", "--noise", "5", png).status == 2


def test_a_model_of_the_environment_gives_way_to_the_option(gir, png, monkeypatch):
    monkeypatch.setenv("GIR_MODEL", "from-environment")
    assert "from-environment" in gir("restore", png).err
    assert "from-option" in gir("restore", "-m", "from-option", png).err


def test_keys_are_called_as_the_options_are(gir, png, config):
    config("[info]\njson = true\n")
    assert gir("info", png).out.startswith(b"{")
