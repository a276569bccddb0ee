"""Truths of texture synthesis: equal to the plain loop, copies only, holes filled around untouched pixels."""

import numpy as np
import pytest
import torch

from benchmarks import bench_efros_leung as bench
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.exemplar import efros_leung
from genzoo.models.exemplar.efros_leung import EfrosLeung


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def to_float(grey):
    return torch.as_tensor(np.asarray(grey)).float() / 127.5 - 1


def to_grey(x):
    return ((x + 1) * 127.5).round().to(torch.int64).numpy()


def fitted(texture, **settings):
    model = EfrosLeung(texture.shape, **settings)
    model.partial_fit({"image": to_float(texture)[None]})
    assert not model.converged
    model.finish_pass()
    assert model.converged
    return model.eval()


def noise(channels, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width))


def loop(model, texture, size, seed, **kw):
    limits = {"error_threshold": model.error_threshold, "max_error_threshold": model.max_error_threshold}
    return bench.plain_loop(texture, size, window=model.window, generator=gen(seed), vectorized=True, **limits, **kw)


@pytest.mark.parametrize(
    ("texture", "settings", "size"),
    [
        (bench.demo_texture(24), {"window": 7}, 20),
        (bench.demo_texture(20, channels=1), {"window": 5, "error_threshold": 0.0}, 17),
        (noise(3, 14, 17), {"window": 5}, 12),
        (noise(2, 12, 12), {"window": 9, "max_error_threshold": 0.002}, 9),  # the limit grows many times
        (noise(4, 9, 11), {"window": 3, "error_threshold": 2.0}, 12),
    ],
)
def test_output_equals_the_plain_loop(texture, settings, size):
    model = fitted(texture, **settings)
    for seed in (0, 1):
        ours = to_grey(model.sample(1, generator=gen(seed), size=size)[0])
        assert np.array_equal(ours, loop(model, texture, (size, size), seed))


def test_the_loop_over_windows_is_the_same_reference():
    texture = bench.demo_texture(14)
    model = fitted(texture, window=5)
    settings = {"window": 5, "error_threshold": 0.1, "max_error_threshold": 0.3}
    slow = bench.plain_loop(texture, (7, 7), generator=gen(), **settings)
    assert np.array_equal(slow, loop(model, texture, (7, 7), 0))


def test_patch_chunks_do_not_matter(monkeypatch):
    model = fitted(bench.demo_texture(24), window=7)
    whole = model.sample(1, generator=gen(), size=16)
    monkeypatch.setattr(efros_leung, "_CHUNK", 20_000)
    assert torch.equal(model.sample(1, generator=gen(), size=16), whole)


def test_holes_are_filled_as_in_the_plain_loop_and_known_pixels_stay():
    texture = bench.demo_texture(24)
    model = fitted(texture, window=5)
    image = noise(3, 13, 18, seed=5)
    known = np.random.default_rng(1).random((13, 18)) < 0.3
    x = to_float(image)[None] + 1e-4  # off the grey grid: known pixels must not even be rounded
    mask = torch.from_numpy(known)[None, None]
    y = model.complete(x, mask, generator=gen(3), source="exemplar")
    assert torch.equal(y[0][:, known], x[0][:, known])
    assert np.array_equal(to_grey(y[0]), loop(model, texture, (13, 18), 3, image=image, known=known))


def test_a_hole_in_a_periodic_image_is_restored_from_the_image_itself():
    tile = noise(3, 4, 5)
    image = np.tile(tile, (1, 8, 7))  # 32×35
    model = fitted(noise(3, 11, 11, seed=9), window=7)
    known = torch.ones(1, 1, 32, 35, dtype=torch.bool)
    known[..., 12:20, 14:23] = False
    damaged = to_float(image)[None].clone()
    damaged[..., 12:20, 14:23] = 0
    restored = model.complete(damaged, known, generator=gen())
    assert torch.equal(restored[0], to_float(image))
    foreign = model.complete(damaged, known, generator=gen(), source="exemplar")
    assert not torch.equal(foreign, restored)
    assert torch.equal(foreign[known.expand_as(foreign)], damaged[known.expand_as(foreign)])


def test_without_a_whole_window_the_exemplar_is_used():
    texture = bench.demo_texture(16)
    model = fitted(texture, window=5)
    x = torch.full((2, 3, 9, 9), 0.5)
    known = torch.zeros(2, 1, 9, 9, dtype=torch.bool)
    known[1, :, ::4, ::4] = True
    y = model.complete(x, known, generator=gen())
    colours = {tuple(p) for p in to_grey(to_float(texture)).reshape(3, -1).T}
    assert {tuple(p) for p in to_grey(y[0]).reshape(3, -1).T} <= colours  # nothing known: synthesis from a seed
    assert {tuple(p) for p in to_grey(y[1])[:, ~known[1, 0].numpy()].T} <= colours
    assert torch.equal(model.complete(x, torch.ones_like(known), generator=gen()), x)


def test_only_exemplar_pixels_are_copied():
    texture = noise(3, 16, 13)
    x = to_float(texture) + 3e-4
    model = EfrosLeung((3, 16, 13), window=5)
    model.partial_fit({"image": x[None]})
    model.finish_pass()
    s = model.sample(2, generator=gen())
    assert s.shape == (2, 3, 16, 13)
    assert s.dtype == torch.float32
    colours = {tuple(p) for p in x.flatten(1).T.tolist()}
    assert {tuple(p) for p in s.permute(0, 2, 3, 1).reshape(-1, 3).tolist()} <= colours
    assert model.sample(1, generator=gen(), size=3).shape == (1, 3, 3, 3)


def test_seeds_decide():
    model = fitted(noise(1, 16, 16), window=5)
    a, b, c = (model.sample(1, generator=gen(s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    many = model.sample(2, generator=gen())
    assert torch.equal(many[:1], a)
    assert not torch.equal(many[0], many[1])


def test_colour_decides_where_grey_would_not():
    """Two stripes of equal brightness in red and green, next to white and black: only all channels tell them apart."""
    texture = np.zeros((3, 9, 24), np.int64)
    texture[0, :, :12], texture[1, :, 12:] = 200, 200
    texture[:, 4, :12], texture[:, 4, 12:] = 255, 0
    model = fitted(texture, window=7)
    image = texture[:, :, 12:]
    known = torch.ones(1, 1, 9, 12, dtype=torch.bool)
    known[..., 4, 2:10] = False
    y = to_grey(model.complete(to_float(image)[None], known, generator=gen(), source="exemplar")[0])
    assert (y[:, 4] == 0).all()  # between green rows lies the black line, not the white one


def test_the_exemplar_is_the_chosen_image_and_survives_a_resume():
    images = to_float(noise(3, 40, 8).reshape(5, 3, 8, 8))
    first, second = (EfrosLeung((3, 8, 8), window=3, index=3) for _ in range(2))
    first.partial_fit({"image": images[:2]})
    second.load_state_dict(first.state_dict())
    second.partial_fit({"image": images[2:4]})
    second.partial_fit({"image": images[4:]})
    second.finish_pass()
    assert torch.equal(second.exemplar, images[3])
    third = EfrosLeung((3, 8, 8), window=3)
    third.load_state_dict(second.state_dict())
    assert torch.equal(third.sample(1, generator=gen()), second.sample(1, generator=gen()))


def test_mistakes_are_explained():
    with pytest.raises(UserError, match="odd"):
        EfrosLeung((3, 32, 32), window=8)
    with pytest.raises(UserError, match="smaller window"):
        EfrosLeung((3, 8, 32), window=9)
    model = EfrosLeung((3, 8, 8), window=3, index=2)
    model.partial_fit({"image": torch.zeros(2, 3, 8, 8)})
    with pytest.raises(UserError, match="index=2"):
        model.finish_pass()
    with pytest.raises(UserError, match="known"):
        model.complete(torch.zeros(1, 3, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool), generator=gen())
    assert capabilities(EfrosLeung) == ("samples", "completes", "fits")
