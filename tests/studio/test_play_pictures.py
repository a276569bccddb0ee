"""Own pictures on the play page: completed, translated, continued, compressed; each file is what its command writes."""

import base64
import io
import re
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.errors import UserError
from genzoo.data.drawing.sounds import wav
from tests.conftest import build
from tests.studio.play_help import Person, hole, photo

pytest.importorskip("fastapi", reason="the studio's extra is not installed")


@pytest.fixture
def person(runs):
    def at(name):
        run = runs(name)
        return Person(run.path.parent), f"/api/play/of/{run.name}", genzoo.load(run)

    return at


@pytest.mark.parametrize("name", ["pixelcnn", "context-encoder", "missing-data-encoder"])
def test_what_is_painted_is_filled_in_and_nothing_else(person, name, tmp_path, monkeypatch):
    who, path, system = person(name)
    c, h, w = system.hparams["shape"]
    data, mask = photo(channels=c), hole(h, w, slice(h // 2, h), slice(1, w // 2))
    picture, white = who.send(("mine.png", data), ("mask.png", mask))
    found = who.job(f"{path}/complete", {"picture": picture, "mask": white, "n": 2, "seed": 3})
    before, *filled = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(a.split(",")[1]))))
        for a in (found["given"], *(s["image"] for s in found["shown"]))
    )
    known = np.asarray(Image.open(io.BytesIO(mask))) == 0
    assert len(filled) == (2 if name == "pixelcnn" else 1)  # the others leave nothing to chance
    for one in filled:
        assert np.array_equal(one[known], before[known])
        assert not np.array_equal(one[~known], before[~known])
    assert who.repeats(found, tmp_path / "again", monkeypatch, {"mine.png": data}) == 2


def test_a_photograph_keeps_its_own_size(person, tmp_path, monkeypatch):
    who, path, _system = person("context-encoder")
    data, mask = photo(96, 120), hole(96, 120, slice(40, 60), slice(30, 60))
    picture, white = who.send(("mine.png", data), ("mask.png", mask))
    found = who.job(f"{path}/complete", {"picture": picture, "mask": white, "full": True})
    result = np.asarray(Image.open(io.BytesIO(who.file(found, "complete.png"))))
    assert result.shape[:2] == (96, 120)
    assert who.repeats(found, tmp_path / "again", monkeypatch, {"mine.png": data}) == 1


@pytest.mark.parametrize(("name", "channels"), [("cyclegan", 3), ("pix2pix", 3), ("srgan", 3), ("colorizer", 3)])
def test_a_photograph_is_translated_as_its_command_does_it(person, name, channels, tmp_path, monkeypatch):
    who, path, _system = person(name)
    about = who.get(path)
    assert about["panels"]["translate"]
    data = photo(48, 64, channels)
    (picture,) = who.send(("it's <b> mine.png", data))
    found = who.job(f"{path}/translate", {"picture": picture, "direction": about["maps"][0]["name"]})
    assert not isinstance(found, str), found
    (file,) = found["files"]
    shown = Image.open(io.BytesIO(who.file(found, file["name"])))
    assert shown.size == (64 * about["scale"], 48 * about["scale"])
    assert found["given"]
    assert found["shown"][0]["image"]
    assert who.repeats(found, tmp_path / "again", monkeypatch, {"it's <b> mine.png": data}) == 1


def test_a_sound_goes_on_and_is_heard_with_its_spectrogram(person, tmp_path, monkeypatch):
    who, path, system = person("wavenet")
    rate, length = system.hparams["rate"], system.hparams["shape"][1]
    about = who.get(path)
    assert about["sequential"]
    assert about["rate"] == rate
    drawn = who.job(f"{path}/sample", {"n": 2, "seed": 1})
    assert drawn["shown"][0]["sound"].startswith("data:audio/wav;base64,")
    assert drawn["shown"][0]["image"]
    assert who.repeats(drawn, tmp_path / "drawn", monkeypatch) == 3
    data = wav(torch.linspace(-0.5, 0.5, length)[None], rate)
    (picture,) = who.send(("mine.wav", data))
    found = who.job(f"{path}/continue", {"picture": picture, "after": length / rate / 2})
    assert who.repeats(found, tmp_path / "again", monkeypatch, {"mine.wav": data}) == 3


@pytest.mark.parametrize("name", ["pixelcnn", "made", "pixelrnn"])
def test_bits_of_the_pixels_add_up_to_the_likelihood(name):
    system = build(name, **({"masks": 1} if name == "made" else {})).eval()
    c, h, w = system.hparams["shape"]
    x = (torch.randint(0, 256, (3, c, h, w), generator=torch.Generator().manual_seed(0)) / 127.5 - 1) * 1.0
    found = genzoo.bits(system, x)
    assert found.shape == (3, h, w)
    nats = -system.log_prob(x)
    assert torch.allclose(found.sum((1, 2)) * torch.log(torch.tensor(2.0)), nats, rtol=1e-4)


def test_what_predicts_no_levels_has_no_bits():
    for name in ("vae", "pixelcnnpp", "wavenet"):
        with pytest.raises(UserError, match="does not say how probable"):
            genzoo.bits(build(name).eval(), torch.zeros(1, *build(name).hparams["shape"]))


def test_bits_are_shown_as_heat_and_compressed_to_as_many(person, tmp_path, monkeypatch):
    who, path, system = person("pixelcnn")
    data = photo(channels=system.hparams["shape"][0])
    (picture,) = who.send(("mine.png", data))
    found = who.job(f"{path}/bits", {"picture": picture})
    assert float(re.match(r"[\d,]+", found["said"])[0].replace(",", "")) == round(sum(map(sum, found["values"])))
    assert who.repeats(found, tmp_path / "again", monkeypatch, {"mine.png": data}) == 2
    pytest.importorskip("constriction", reason="the range coder is not installed")
    packed = who.job(f"{path}/compress", {"picture": picture})
    assert who.repeats(packed, tmp_path / "packed", monkeypatch) == 1


def test_a_clip_begins_with_the_picture(person, tmp_path, monkeypatch):
    who, path, system = person("video-gan-conditional")
    data = photo(channels=system.hparams["shape"][0])
    (picture,) = who.send(("mine.png", data))
    found = who.job(f"{path}/animate", {"picture": picture})
    assert len(found["shown"][0]["frames"]) == system.hparams["shape"][1]
    assert who.repeats(found, tmp_path / "again", monkeypatch, {"mine.png": data}) >= 2


@pytest.mark.parametrize("name", ["realnvp", "made"])
def test_the_density_of_points_is_a_map_that_its_command_draws(name, tmp_path, monkeypatch):
    genzoo.train(name, "moons", steps=3, batch=16, runs=str(tmp_path / "runs"), quiet=True)
    who = Person(tmp_path / "runs")
    assert who.get(f"/api/play/of/{name}")["panels"]["density"]
    found = who.job(f"/api/play/of/{name}/density", {"size": 40, "points": 50})
    assert len(found["points"]) == 50
    assert found["step"] == 3
    assert who.repeats(found, tmp_path / "again", monkeypatch) == 2


def test_a_map_follows_a_training_that_goes_on(tmp_path):
    run = genzoo.train("realnvp", "moons", steps=3, batch=16, runs=str(tmp_path / "runs"), quiet=True)
    who = Person(tmp_path / "runs")
    first = who.job("/api/play/of/realnvp/density", {"size": 20})
    genzoo.resume(run, steps=30, quiet=True)
    second = who.job("/api/play/of/realnvp/density", {"size": 20, "box": first["box"]})
    assert (first["step"], second["step"]) == (3, 30)
    assert first["shown"] != second["shown"]


def test_a_density_integrates_to_one():
    system = genzoo.create("gaussian", shape=(2,))
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.5])
    system.partial_fit({"points": x})
    system.finish_pass()
    found, box = genzoo.density(system.eval(), 200, (-6.0, -6.0, 6.0, 6.0))
    assert box == (-6.0, -6.0, 6.0, 6.0)
    assert abs(float(found.exp().sum()) * (12 / 200) ** 2 - 1) < 1e-3
    top = int(found.argmax())
    assert max(abs(top // 200 - 100), abs(top % 200 - 100)) <= 2, "the peak is in the middle"
    with pytest.raises(UserError, match="no inside"):
        genzoo.density(system, 20, (1.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"0" * 50, b"GIF89a"])
def test_a_file_that_is_no_picture_is_a_sentence(person, data):
    who, path, _ = person("vae")
    (picture,) = who.send(("<script>.png", data or b"\0"))
    said = who.job(f"{path}/reconstruct", {"picture": picture})
    assert isinstance(said, str)
    assert "<script>.png" in said
    assert "/tmp" not in said
    translator, other, _ = person("cyclegan")
    (picture,) = translator.send(("<script>.png", data or b"\0"))
    said = translator.job(f"{other}/translate", {"picture": picture, "direction": "a2b"})
    assert isinstance(said, str)
    assert "/tmp" not in said
    assert "genzoo-" not in said


def test_a_panel_that_a_run_does_not_offer_refuses(person):
    who, path, _ = person("vae")
    (picture,) = who.send(("mine.png", photo(channels=1)))
    assert "cannot" in who.job(f"{path}/translate", {"picture": picture, "direction": "a2b"})
    assert "does not say" in who.job(f"{path}/bits", {"picture": picture})
    assert "cannot" in who.job(f"{path}/complete", {"picture": picture, "mask": picture})
    assert who.post(f"{path}/complete", {"picture": picture, "mask": "gone"}, status=404)["error"]
    assert who.get("/api/play/of/nobody", 404)["error"].startswith("there is no run")
    assert who.get("/api/play/of/..%2F..%2Fetc", 404)["error"]


def test_a_search_is_cancelled(person):
    who, path, _ = person("vae")
    (picture,) = who.send(("mine.png", photo(channels=1)))
    job = who.post(f"{path}/project", {"picture": picture, "steps": 5000})
    until = time.monotonic() + 30
    while who.get(f"/api/jobs/{job['id']}")["done"] < 5 and time.monotonic() < until:
        time.sleep(0.01)
    who.client.delete(f"/api/jobs/{job['id']}")
    while (state := who.get(f"/api/jobs/{job['id']}"))["state"] == "running" and time.monotonic() < until:
        time.sleep(0.01)
    assert state["state"] == "cancelled"
    assert 0 < state["done"] < 5000
    assert who.get(f"/api/play/jobs/{job['id']}", 409)["error"] == "this was cancelled"


def test_an_example_of_the_data_stands_in_for_a_picture(person):
    for name in ("vae", "cyclegan", "srgan", "wavenet"):
        who, path, _ = person(name)
        found = who.post(f"{path}/example", {"index": 1, "side": "b" if name == "cyclegan" else ""})
        assert found["name"].startswith("example-1")
        if name != "wavenet":
            assert who.post(f"/api/play/pictures/{found['id']}/shown")["image"]


def test_a_model_of_the_zoo_has_examples_where_its_data_are_not(runs, tmp_path, monkeypatch):
    from genzoo.core.errors import NoSuchData
    from genzoo.saved import zoo
    from genzoo.use.common import images

    def nowhere(*args, **how):
        raise NoSuchData("there is no set and no path of this name")

    shutil.copytree(runs("vae").path / "model", tmp_path / "small")
    (tmp_path / "small" / "record.json").write_text('{"place": 1}')
    monkeypatch.setattr(zoo, "root", lambda: tmp_path)
    monkeypatch.setattr(images, "open_data", nowhere)
    who, path = Person(tmp_path / "runs"), "/api/play/of/zoo:small"
    told = who.post(f"{path}/example", {"index": 0}, 404)["error"]
    assert "what zoo:small was trained on" in told
    assert "give an image" in told
    (tmp_path / "small" / "examples").mkdir()
    sent = [photo(24, 20, channels=1, seed=s) for s in (1, 2)]
    for i, data in enumerate(sent):
        (tmp_path / "small" / "examples" / f"{i + 1}.png").write_bytes(data)
    found = [who.post(f"{path}/example", {"index": i}) for i in range(3)]
    assert [one["name"] for one in found] == ["example-1.png", "example-2.png", "example-1.png"]
    shown = who.post(f"/api/play/pictures/{found[1]['id']}/shown")["image"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.split(",")[1]))))
    assert np.array_equal(pixels if pixels.ndim == 2 else pixels[..., 0], np.asarray(Image.open(io.BytesIO(sent[1]))))
    assert "zoo:small" in who.job(f"{path}/reconstruct", {"picture": found[0]["id"]})["command"]


def test_samples_have_the_options_of_the_system(person, tmp_path, monkeypatch):
    who, path, _ = person("vae")
    about = who.get(path)
    assert {o["name"] for o in about["options"]["sample"]} == {"mean", "temperature"}
    found = who.job(f"{path}/sample", {"n": 3, "seed": 4, "options": {"temperature": 0.5, "mean": False}})
    assert "temperature=0.5" in found["command"]
    assert "mean=false" in found["command"]
    assert who.repeats(found, tmp_path / "again", monkeypatch) == 2
    assert "at most 2" in who.job(f"{path}/sample", {"options": {"temperature": 9}})
    assert "no option" in who.job(f"{path}/sample", {"options": {"<b>": 1}})
