"""Latent space on the play page: what a slider shows is what its command writes, bit for bit."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.errors import UserError
from genzoo.use.common.directions import principal
from genzoo.use.decode import decode, latents_at, places_of
from tests.conftest import build
from tests.studio.play_help import Person, photo

pytest.importorskip("fastapi", reason="the studio's extra is not installed")


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def person(runs):
    def at(name):
        run = runs(name)
        return Person(run.path.parent), f"/api/play/of/{run.name}"

    return at


# ---- the words ---------------------------------------------------------------------------------------------------------------------


def test_a_place_is_a_sum():
    vae = build("vae")
    z = {s: vae.sample_prior(1, generator=genzoo.use.common.source.generators_for(vae, s, 1)) for s in (1, 2, 3)}
    assert torch.equal(latents_at(vae, "s2"), z[2])
    assert torch.allclose(latents_at(vae, "s1 - s2+s3"), z[1] - z[2] + z[3])
    assert torch.allclose(latents_at(vae, "0.5*s1"), 0.5 * z[1])
    steps = principal(vae).steps
    assert torch.allclose(latents_at(vae, "s1 + 2d1 -.5d2"), z[1] + 2 * steps[0] - 0.5 * steps[1])
    assert torch.equal(decode(vae, "s3"), genzoo.sample(vae, n=1, seed=3)), "a seed is the sample of that seed"
    assert torch.equal(decode(vae, "s1; s2; s3")[1:2], decode(vae, "s2")), "alone or among others, to the bit"


@pytest.mark.parametrize(
    ("at", "said"),
    [("s1 +", "cannot be read"), ("", "cannot be read"), ("d1", "goes from somewhere"), ("s1/x/s2", "whole number"), ("s1[label]", "cannot be read"),
     ("i1[label=2]", "only a seed"), ("s1 s2", "cannot be read"), ("s0;" * 2000, "places"), ("x" * 30_000, "characters")],
)  # fmt: skip
def test_what_is_no_place_is_said(at, said):
    with pytest.raises(UserError, match=said):
        places_of(at)


def test_a_prompt_may_have_commas_and_classes_stay_classes():
    (place,) = places_of("s1[prompt=a red heart, large, label=2]")
    assert place.terms[0].options == (("prompt", "a red heart, large"), ("label", "2"))
    cgan = build("cgan", classes=3)
    z = latents_at(cgan, "0.5*s1[label=2] + d1")
    assert z[0, -3:].tolist() == [0, 0, 1], "a class is neither scaled nor moved"


def test_codes_of_a_finite_set_are_refused_in_words():
    class Words(genzoo.System):
        def __init__(self, shape: tuple[int, int, int] = (1, 2, 2)) -> None:
            super().__init__()
            self.shape = shape

        def sample_prior(self, n, *, generator):
            from genzoo.nn import draws

            return draws.randint(5, n, 4, generator=generator)

        def decode(self, z):
            return z.float().view(-1, *self.shape) / 2 - 1

    system = Words()
    assert decode(system, "s0; s1").shape == (2, 1, 2, 2)
    for at in ("s0 + d1", "2*s0", "s0-s1"):
        with pytest.raises(UserError, match="finite set"):
            decode(system, at)
    with pytest.raises(UserError, match="finite set"):
        principal(system)


def test_styles_are_mixed_at_a_layer():
    net = build("stylegan2")
    a, b = latents_at(net, "s1"), latents_at(net, "s2")
    mixed = latents_at(net, "s1/2/s2")
    assert torch.equal(mixed[:, 0], a)
    assert torch.equal(mixed[:, 1], a)
    assert torch.equal(mixed[:, 2], b)
    assert latents_at(net, "s1; s1/2/s2").shape == (2, net.layers, a.shape[1])
    with pytest.raises(UserError, match="layers"):
        latents_at(net, f"s1/{net.layers}/s2")
    with pytest.raises(UserError, match="mix styles"):
        latents_at(build("dcgan"), "s1/1/s2")


def test_the_first_direction_of_a_linear_decoder_is_its_first_principal_component():
    """GANSpace of x = W z with z ~ N(0, I): the directions are the right singular vectors of W, in their order."""

    class Straight(genzoo.System):
        def __init__(self, shape: tuple[int, int, int] = (1, 4, 4)) -> None:
            super().__init__()
            left, _ = torch.linalg.qr(torch.randn(16, 16, generator=gen()))
            right, _ = torch.linalg.qr(torch.randn(3, 3, generator=gen(1)))
            self.net = torch.nn.Parameter(left[:, :3] * torch.tensor([3.0, 1.0, 0.3]) @ right.T)
            self.right, self.shape = right, shape

        def sample_prior(self, n, *, generator):
            from genzoo.nn import draws

            return draws.randn(n, 3, generator=generator)

        @torch.no_grad()
        def decode(self, z):
            return (z @ self.net.T).view(-1, *self.shape)

    found = principal(system := Straight())
    assert found.steps.shape == (3, 3)
    cosine = torch.nn.functional.cosine_similarity(found.steps, system.right.detach().T, dim=1).abs()
    assert (cosine > 0.99).all(), cosine
    assert torch.allclose(found.steps.norm(dim=1), torch.ones(3), atol=0.1), "one standard deviation of the prior"
    expected = torch.tensor([9.0, 1.0, 0.09]) / 10.09
    assert torch.allclose(found.shares, expected, atol=0.03)


# ---- the page ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["dcgan", "vae", "cgan", "stylegan2", "gan-3d", "video-gan", "realnvp", "vqvae", "gan-cls"]
)
def test_a_run_tells_what_it_offers_and_shows_a_place(person, name, tmp_path, monkeypatch):
    who, path = person(name)
    about = who.get(path)
    assert about["panels"]["explore"]
    at = "s3 + 1.5d1 - 0.3d2" if about["moves"] else "s3"
    if about["moves"]:
        assert 0 < len(who.job(f"{path}/directions")["shares"]) <= about["directions"]
    found = who.post(f"{path}/decode", {"at": at})
    shown = found["shown"][0]
    assert shown.get("image") or len(shown["frames"]) > 1
    assert who.repeats(found, tmp_path / "again", monkeypatch) >= 2


def test_the_picture_that_is_shown_has_the_very_pixels(person):
    who, path = person("dcgan")
    shown = who.post(f"{path}/decode", {"at": "s5+d1"})["shown"][0]["image"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.split(",")[1]))))
    system = genzoo.load(who.client.app.state.shelf.find(path.rsplit("/", 1)[1]))
    expected = ((decode(system, "s5+d1")[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels.reshape(expected.shape), expected)


def test_a_walk_is_a_film_that_its_command_makes_again(person, tmp_path, monkeypatch):
    who, path = person("vae")
    found = who.job(f"{path}/walk", {"at": "s1; s2 + d1; s3", "steps": 4})
    assert len(found["shown"]) == 7, "four pictures from one to the next, the ones between once"
    assert [f["name"] for f in found["files"]][:2] == ["walk.gif", "walk.png"]
    assert who.repeats(found, tmp_path / "again", monkeypatch) >= 3


def test_ones_own_picture_is_a_place_to_go_on_from(person, tmp_path, monkeypatch):
    who, path = person("vae")
    data = photo(channels=1)
    (picture,) = who.send(("mine.png", data))
    back = who.job(f"{path}/reconstruct", {"picture": picture})
    assert who.repeats(back, tmp_path / "reconstructed", monkeypatch, {"mine.png": data}) == 2
    nearest = who.job(f"{path}/project", {"picture": picture, "steps": 6})
    assert who.repeats(nearest, tmp_path / "projected", monkeypatch, {"mine.png": data}) == 3
    found = who.post(f"{path}/decode", {"at": f"{back['at']} - s1 + {nearest['at']}; {nearest['at']} + d1"})
    assert "at=z1 - s1 + z2; z2 + d1" in found["command"]
    assert found["needs"] == ["latents.npy"]
    assert who.repeats(found, tmp_path / "again", monkeypatch) == 2
    walked = who.job(f"{path}/walk", {"at": f"s1; {back['at']}", "steps": 3})
    assert who.repeats(walked, tmp_path / "walked", monkeypatch) >= 3


@pytest.mark.parametrize(
    ("at", "status"), [("nonsense", 422), ("s1 + d99", 422), ("z12345", 404), ("s1[lable=2]", 422), ("s" + "9" * 18, 200), ("s1/1/s2", 422)]
)  # fmt: skip
def test_a_wrong_place_is_a_sentence(person, at, status):
    who, path = person("vae")
    answer = who.post(f"{path}/decode", {"at": at}, status=status)
    if status != 200:
        assert len(answer["error"]) > 10
        assert "Traceback" not in answer["error"]


def test_two_people_and_a_store_that_is_bounded(person):
    from genzoo.studio.play import results

    who, path = person("vae")
    first = who.post(f"{path}/decode", {"at": "s1"})
    second = who.post(f"{path}/decode", {"at": "s2"})
    assert first["id"] != second["id"]
    assert who.file(first, "decode.png") != who.file(second, "decode.png")
    for i in range(results.MOST):
        who.post(f"{path}/decode", {"at": f"s{i}"})
    gone = who.client.get(f"/api/play/results/{first['id']}/decode.png")
    assert gone.status_code == 404
    assert "make it again" in gone.json()["error"]
    assert len(who.client.app.state.play._results) == results.MOST
