"""Twins on a device make what the operators make: the same pixels, or pixels of the same statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gir_cli.chain import Step, gir_steps, parse, preset, step
from gir_cli.chain import apply as apply_one_by_one
from gir_cli.chain import draw as draw_chain
from gir_cli.device_chain import apply, check, planned
from gir_cli.device_ops import TWINS
from gir_cli.device_ops.blur import reflected
from gir_cli.device_ops.compression import doubled, halved
from gir_cli.errors import UsageError
from gir_cli.ops import OPERATORS
from gir_cli.params import params_of
from gir_cli.rng import quick_stream, stream

data = pytest.importorskip("skimage.data")

SIDE = 48
PHOTOS = [
    (picture[60 : 60 + SIDE, 150 : 150 + SIDE] / 255).astype(np.float32)
    for picture in (data.astronaut(), data.coffee())
]
#: Twins whose pixels are random; the others make their operator's pixels.
RANDOM = {"noise", "shot", "rain"}


def batch_of(pictures):
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())


def pictures_of(batch):
    return batch.permute(0, 2, 3, 1).numpy()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def on_device(pictures, chains, seed=0, rngs=None):
    rngs = rngs or [quick_stream("sample", place) for place in range(len(chains))]
    return pictures_of(apply(planned(chains, rngs, pictures[0].shape[0]), batch_of(pictures), generator(seed)))


def one_by_one(pictures, chains):
    rngs = [quick_stream("sample", place) for place in range(len(chains))]
    pairs = zip(pictures, chains, rngs, strict=True)
    return np.stack([apply_one_by_one(chain, pixels, rng) for pixels, chain, rng in pairs])


def several(name):
    """Return operators `name` of differing strength, and with all else drawn."""
    strength, rng = next(iter(params_of(OPERATORS[name]))), stream(name)
    return [Step(name, {strength: value}).draw(rng) for value in OPERATORS[name].shown]


@pytest.mark.parametrize("name", sorted(set(TWINS) - RANDOM))
class TestEveryTwinThatIsNotRandom:
    def test_makes_the_pixels_of_its_operator(self, name):
        operators = several(name)
        pictures = [PHOTOS[place % 2] for place in range(len(operators))]
        chains = [[operator] for operator in operators]
        made = on_device(pictures, chains)
        np.testing.assert_allclose(made, one_by_one(pictures, chains), rtol=0, atol=0 if name == "jpeg" else 1e-5)

    def test_is_the_identity_where_its_operator_is(self, name):
        if not OPERATORS[name].identity:
            pytest.skip("has no identity")
        made = on_device(PHOTOS[:1], [[OPERATORS[name](**OPERATORS[name].identity)]])
        np.testing.assert_allclose(made[0], PHOTOS[0], atol=2e-6)


@pytest.mark.parametrize("name", TWINS)
class TestEveryTwin:
    def test_keeps_shape_and_type_and_leaves_its_input_alone(self, name):
        pixels = batch_of(PHOTOS)
        before = pixels.clone()
        rng = stream("test")
        worse = apply(planned([[step(name).draw(rng)]] * 2, [rng] * 2, SIDE), pixels, generator())
        assert worse.shape == pixels.shape
        assert worse.dtype == torch.float32
        assert torch.equal(pixels, before)

    @pytest.mark.parametrize("side", [8, 16])
    def test_takes_pictures_smaller_than_its_kernels(self, name, side):
        small = [np.ascontiguousarray(picture[:side, :side]) for picture in PHOTOS]
        assert np.isfinite(on_device(small, [[several(name)[-1]]] * 2)).all()

    def test_makes_the_same_pixels_from_the_same_generator(self, name):
        chains = [[operator] for operator in several(name)[:2]]
        np.testing.assert_array_equal(on_device(PHOTOS, chains, 1), on_device(PHOTOS, chains, 1))
        assert np.array_equal(on_device(PHOTOS, chains, 1), on_device(PHOTOS, chains, 2)) == (name not in RANDOM)

    def test_knows_the_parameters_that_it_speaks_of(self, name):
        assert {*TWINS[name].alike, *TWINS[name].only} <= set(params_of(OPERATORS[name]))


# ---- blur, resampling


@pytest.mark.parametrize(
    "text", ["blur:3,minor=1,angle=30", "blur:0.05", "motion:1,angle=20", "motion:33,angle=77", "ringing:0.8"]
)
def test_filters_make_the_pixels_of_their_operators(text):
    chain = draw_chain(parse(text), stream("unused"))
    np.testing.assert_allclose(on_device(PHOTOS, [chain] * 2), one_by_one(PHOTOS, [chain] * 2), atol=1e-5)


@pytest.mark.parametrize("side", [1, SIDE])
def test_haze_beyond_the_end_of_its_ramp_has_the_pixels_of_its_operator(side):
    small = [np.ascontiguousarray(picture[:side, :side]) for picture in PHOTOS]
    chains = [[OPERATORS["haze"](1.2, top=1)], [OPERATORS["haze"](1.2, top=0.5, span=0.8)]]
    np.testing.assert_allclose(on_device(small, chains), one_by_one(small, chains), atol=1e-5)


@pytest.mark.parametrize("filter_", ["bicubic", "bilinear", "box", "nearest", "area"])
def test_down_makes_the_pixels_of_its_operator_with_every_filter(filter_):
    chains = [[OPERATORS["down"](factor, filter_, filter_)] for factor in (1.6, 3)]
    np.testing.assert_allclose(on_device(PHOTOS, chains), one_by_one(PHOTOS, chains), atol=1e-5)


def test_borders_are_reflected_there_and_back():
    row = torch.arange(3.0).reshape(1, 1, 1, 3)
    assert reflected(row, 5)[0, 0, 0].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1]


# ---- noise and rain: statistics


def flat(value, count=2, side=256):
    return [np.full((side, side, 3), value, dtype=np.float32)] * count


@pytest.mark.parametrize("kind", ["color", "gray", "correlated"])
def test_noise_has_its_sigma_and_its_kind_in_each_picture(kind):
    worse = on_device(flat(0.5), [[OPERATORS["noise"](sigma, kind)] for sigma in (10, 40)]) - 0.5
    np.testing.assert_allclose(worse.std((1, 2, 3)) * 255, [10, 40], rtol=0.02)
    assert abs(worse[1].mean()) < 0.6 / 255
    channels = np.corrcoef(worse[1].reshape(-1, 3).T)[0, 1]
    assert channels == pytest.approx(1 if kind == "gray" else 0, abs=0.02)
    neighbours = np.corrcoef(worse[1][:, :-1].ravel(), worse[1][:, 1:].ravel())[0, 1]
    assert neighbours == pytest.approx(2 / 3 if kind == "correlated" else 0, abs=0.03)


def test_shot_noise_has_the_variance_of_its_peak_in_each_picture():
    worse = on_device(flat(0.4), [[OPERATORS["shot"](peak)] for peak in (60, 1000)])
    np.testing.assert_allclose(worse.mean((1, 2, 3)), 0.4, rtol=0.01)
    np.testing.assert_allclose(worse.var((1, 2, 3)), [0.4 / 60, 0.4 / 1000], rtol=0.03)
    np.testing.assert_allclose(worse[0] * 60, np.rint(worse[0] * 60), atol=1e-4)


def test_rain_covers_as_much_as_its_operator_does():
    black = flat(0, 8)
    chains = [[OPERATORS["rain"](0.004, 25, 0.9, 0.6, angle)] for angle in range(-40, 40, 10)]
    made, known = on_device(black, chains), one_by_one(black, chains)
    assert made.mean() == pytest.approx(known.mean(), rel=0.08)
    assert made.std() == pytest.approx(known.std(), rel=0.08)
    assert made.max() <= 0.6 + 1e-5
    assert np.ptp(made, axis=3).max() == 0


# ---- JPEG: libjpeg, bit for bit


def jpegs_differ(pixels, subsampling):
    """Return how many values of the 100 qualities' results differ from OpenCV's."""
    operators = [OPERATORS["jpeg"](quality, subsampling) for quality in range(1, 101)]
    known = np.stack([operator(pixels, stream("unused")) for operator in operators])
    fields = TWINS["jpeg"].packed(operators, [], 0)
    twin = TWINS["jpeg"](subsampling, torch.from_numpy(fields["table"]))
    made = twin(batch_of([pixels]).expand(100, -1, -1, -1), generator())
    return int((pictures_of(made) != known).sum())


SIZES = [(1, 1), (1, 9), (9, 1), (3, 4), (5, 6), (8, 8), (15, 17), (16, 16), (26, 18), (37, 53)]


@pytest.mark.parametrize("subsampling", ["420", "444"])
@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_jpeg_is_libjpegs_at_every_quality_and_any_size(size, subsampling):
    for picture in (data.astronaut(), data.chelsea(), data.coffee()):
        pixels = (picture[100 : 100 + size[0], 200 : 200 + size[1]] / 255).astype(np.float32)
        assert jpegs_differ(pixels, subsampling) == 0


@pytest.mark.parametrize("subsampling", ["420", "444"])
def test_jpeg_is_libjpegs_on_noise(subsampling):
    noise = np.random.RandomState(0).uniform(size=(33, 40, 3)).astype(np.float32)
    checks = np.repeat((np.indices((40, 40)).sum(0) % 2).astype(np.float32)[..., None], 3, axis=2)
    for pixels in (noise, np.rint(noise), 3 * noise - 1, checks):
        assert jpegs_differ(pixels, subsampling) == 0


def test_chroma_is_halved_with_halves_rounded_down_and_up_in_turn():
    planes = torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]], dtype=torch.int32)[None, None]
    assert halved(planes)[0, 0, 0, :2].tolist() == [0, 1]


def test_chroma_is_doubled_by_triangles():
    planes = torch.tensor([[0, 16, 16]], dtype=torch.int32)[None, None]
    assert doubled(planes)[0, 0, 1].tolist() == [0, 4, 12, 16, 16, 16]


# ---- chains


def test_every_picture_gets_its_own_chain_in_its_own_order():
    texts = ("jpeg:20 blur:2", "blur:2 jpeg:20", "", "dark:2 haze:1 holes:5 jpeg:30,subsampling=444")
    chains = [draw_chain(parse(text), stream(text)) for text in texts]
    pictures = [PHOTOS[place % 2] for place in range(len(chains))]
    made, known = on_device(pictures, chains), one_by_one(pictures, chains)
    np.testing.assert_array_equal(made[2], pictures[2])
    # A blur that differs in the last bit may tip a level that JPEG rounds, and with it a block.
    assert (np.abs(made - known) > 1e-5).mean() < 0.01


def test_pictures_wait_for_each_other_where_that_saves_stages():
    chains = [draw_chain(parse(text), stream(text)) for text in ("noise:5 jpeg:20", "jpeg:30", "blur:1 jpeg:40")]
    stages = planned(chains, [stream(1)] * 3, SIDE)
    assert [(stage.name, stage.samples.tolist()) for stage in stages] == [
        ("blur", [2]),
        ("noise", [0]),
        ("jpeg", [0, 1, 2]),
    ]


def test_twins_keep_to_their_device_and_never_wait_for_it():
    rngs = [stream(place) for place in range(60)]
    chains = [draw_chain(preset("gir", SIDE, SIDE).draw(rng), rng) for rng in rngs]
    stages = planned(chains, rngs, SIDE)
    assert {stage.name for stage in stages} == {part.name for part in gir_steps(SIDE, SIDE)}
    # Tensors there have no values: one that was asked for, or one from elsewhere, would be an error.
    assert apply(stages, torch.empty(60, 3, SIDE, SIDE, device="meta"), None).shape == (60, 3, SIDE, SIDE)


def test_all_ten_trained_types_have_a_twin():
    check(preset("gir", 64, 64))
    assert {part.name for part in gir_steps(64, 64)} <= set(TWINS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("webp:30 noise:5 snow:0.01", "no device can do webp, snow;"),
        ("jpeg:30,dx=4", "jpeg:dx=4"),
        ("jpeg:30,dx=0..4", r"jpeg:dx=0\.\.4"),
        ("jpeg:30,subsampling=420|422", r"jpeg:subsampling=420\|422"),
        ("haze:1,depth=far.png", "haze:depth=far.png"),
    ],
)
def test_what_a_device_cannot_do_is_named(text, says):
    from gir_cli.data import mixture

    with pytest.raises(UsageError, match=says):
        check(mixture(text, 64))
