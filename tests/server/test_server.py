"""`genzoo serve`: endpoints follow from what a system can do, answers are what the commands give, and joined requests change nothing."""

from __future__ import annotations

import importlib.util
import io
import json
import threading

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.images import grid
from genzoo.naming import registry
from genzoo.server import joining
from genzoo.server.app import endpoints, server
from genzoo.server.joining import Joiner
from genzoo.server.served import options
from genzoo.server.verbs.sample import draw
from genzoo.testing import case_of
from genzoo.testing.case import data_batch, scores
from genzoo.use.common.images import channels_in
from genzoo.web.errors import Refused
from genzoo.web.jobs import Jobs
from tests.serving import wait_for

NPY = {"accept": "application/x-npy"}


def client(system, **how):
    return TestClient(server(system, **how), base_url="http://localhost", raise_server_exceptions=False)


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def array(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-npy"
    return torch.from_numpy(np.load(io.BytesIO(answer.content)))


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def noise(height=16, width=16):
    """Pixels that differ: of a flat image a network that normalizes each instance sees nothing but rounding."""
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def as_tensor(pixels):
    return torch.from_numpy(pixels.astype(np.float32)).div(127.5).sub(1)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", sorted(registry.entries()))
def test_every_system_is_served_by_what_it_can_do(name):
    """One walk for all systems: an endpoint is there where the capability is, and answers what Python gives."""
    system = case_of(name).ready()
    able = set(capabilities(system))
    x = data_batch(system)[:2]
    with client(system) as asked:
        paths = set(asked.get("/openapi.json").json()["paths"]) - {"/", "/health", "/metrics"}
        there = {f"/{v.__name__.rpartition('.')[2]}" for v in endpoints() if set(v.NEEDS) <= able}
        assert paths == there
        assert asked.get("/").json()["can"] == list(capabilities(system))
        file = npy(x.numpy())
        if "samples" in able:
            close(
                array(asked.post("/sample", json={"n": 2, "seed": 3}, headers=NPY)), genzoo.sample(system, n=2, seed=3)
            )
            drawn = asked.post("/sample", json={"n": 2})
            assert drawn.headers["content-type"] in ("image/png", "audio/wav", "image/gif")
        if "decodes" in able:
            z = array(asked.post("/latents", json={"n": 2, "seed": 1}, headers=NPY))
            told = asked.post("/latents", json={"n": 2, "seed": 1}).json()
            close(torch.tensor(told["latents"]).reshape(told["shape"]), z.float())
            decoded = array(asked.post("/decode", json={"latents": told["latents"]}, headers=NPY))
            with torch.no_grad():
                close(decoded, system.decode(z.to(system.sample_prior(1, generator=torch.Generator()).dtype)).float())
            close(array(asked.post("/decode", content=npy(z), headers=NPY)), decoded)
        if "encodes" in able:
            with torch.no_grad():
                close(
                    array(asked.post("/encode", files={"files": ("x.npy", file)}, headers=NPY)),
                    system.encode(x).float(),
                )
        if {"encodes", "decodes"} <= able:
            close(
                array(asked.post("/reconstruct", files={"files": ("x.npy", file)}, headers=NPY)),
                genzoo.reconstruct(system, x),
            )
        if scores(system):
            said = asked.post("/log_prob", files={"files": ("x.npy", file)}).json()
            with torch.no_grad():
                each = [system.log_prob(one[None], generator=torch.Generator().manual_seed(0)) for one in x]
            close(torch.tensor(said["log_prob"]), torch.cat(each).float())
            assert said["likelihood"] == system.likelihood
        if "completes" in able:
            filled = array(asked.post("/complete?n=2&seed=4", files={"file": ("x.npy", npy(x[:1]))}, headers=NPY))
            assert filled.shape == (2, *x.shape[1:])
            kept = (
                filled[..., : x.shape[-1] // 2] if kinds.of(system).sequential else filled[..., : x.shape[-2] // 2, :]
            )
            assert torch.equal(
                kept[:1], x[:1, ..., : kept.shape[-1]] if kinds.of(system).sequential else x[:1, :, : kept.shape[-2]]
            )
        if "/translate" in there:
            file = {"file": ("a.png", png(noise()))}
            x = as_tensor(noise()).expand(1, channels_in(system, system.directions[0]), -1, -1)
            translated = array(asked.post("/translate", files=file, headers=NPY))
            close(translated, genzoo.translate(system, x, system.directions[0]))
        if "animates" in able:
            channels, _, height, width = system.hparams["shape"]
            still = noise(height, width)
            clip = array(asked.post("/animate", files={"file": ("a.png", png(still))}, headers=NPY))
            close(clip, genzoo.animate(system, as_tensor(still).expand(1, channels, -1, -1)))
        if "compresses" in able and importlib.util.find_spec("constriction"):
            channels, height, width = system.hparams["shape"]
            levels = system.hparams.get("levels", 256)
            exact = torch.randint(0, levels, (1, channels, height, width)) / (levels - 1) * 255
            pixels = exact[0].round().to(torch.uint8).permute(1, 2, 0).numpy()
            buffer = io.BytesIO()
            Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(buffer, "PNG")
            packed = asked.post("/compress", files={"files": ("a.png", buffer.getvalue())})
            assert packed.status_code == 200, packed.text
            assert float(packed.headers["genzoo-model-bits"]) > 0
            back = array(asked.post("/decompress", files={"file": ("a.gzoo", packed.content)}, headers=NPY))
            assert np.array_equal(((back[0] + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8), pixels)
        page = asked.get("/docs")
        assert page.status_code == 200
        assert all(f"{p}</code>" in page.text for p in there)
        assert "http" not in page.text.replace("http://localhost", "")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("dcgan", {}),
        ("vae", {"temperature": 0.7}),
        ("cgan", {"label": 1}),
        ("realnvp", {}),
        ("gated-pixelcnn", {}),
        ("stylegan2", {"truncation": 0.5}),
    ],
)
def test_company_changes_nothing(name, own):
    """What each request gets in a round is what 'genzoo sample ... seed=' gives, beyond rounding."""
    system = case_of(name).ready()
    asked = [[(seed, i) for i in range(n)] for seed, n in ((5, 1), (0, 3), (5, 2), (2**62, 1))]
    joined = draw(system, asked, own)
    for places, got in zip(asked, joined, strict=True):
        close(got, genzoo.sample(system, n=len(places), seed=places[0][0], **own))


def test_what_is_drawn_in_common_is_not_joined():
    """A system that draws for all samples at once would give others in other company: it is noticed, and nothing is mixed."""

    class Common(System):
        """Adds one number to all samples."""

        def __init__(self, shape: tuple[int, ...] = (1, 2, 2)) -> None:
            super().__init__()

        def sample(self, n: int, *, generator: torch.Generator) -> torch.Tensor:
            """Draw."""
            return torch.rand((), generator=generator).expand(n, 1, 2, 2).clone()

    system = Common().eval()
    a, b = [(1, 0)], [(2, 0), (2, 1)]
    first, second = draw(system, [a, b], {})
    assert torch.equal(first, draw(system, [a], {})[0])
    assert torch.equal(second, draw(system, [b], {})[0])
    assert not torch.equal(first[0], second[0])


def test_waiting_requests_go_together():
    """While the model is busy four requests gather; three of one group go together, in their order, and a failure is its own."""
    jobs, told = Jobs(workers=1), []
    joiner = Joiner(jobs, "m", together=8, told=lambda n, size: told.append((n, size)))
    go = threading.Event()
    first = joiner.submit("block", 1, None, lambda items: [go.wait(10) for _ in items])
    wait_for(lambda: joiner.counts() == (0, 1))

    def double(items):
        if None in items:
            raise UserError("none is none")
        return [2 * i for i in items]

    tickets = [joiner.submit("a", 3, 1, double), joiner.submit("b", 1, 2, double), joiner.submit("a", 4, 3, double)]
    tickets += [joiner.submit("a", 4, 5, double), joiner.submit("a", 1, None, double)]
    gone = joiner.submit("a", 1, 7, double)
    joiner.leave(gone)
    go.set()
    wait_for(lambda: all(t.over for t in tickets))
    assert first.outcome() is True
    assert [t.outcome() for t in tickets[:4]] == [2, 4, 6, 10]
    with pytest.raises(UserError, match="none is none"):
        tickets[4].outcome()
    assert told == [(1, 1), (3, 8), (1, 1), (1, 4)], "(1+3 with the one that fails), then b, then what had no room"
    assert not gone.over
    jobs.close(1)
    with pytest.raises(Refused, match="shutting down"):
        joiner.submit("a", 1, 1, double)


def test_those_who_were_answered_are_waited_for(monkeypatch):
    """Half of them, or all once they have been seen to come back soon; nobody where nothing is joined."""
    monkeypatch.setattr(joining, "PART", 1e9)
    monkeypatch.setattr(joining, "LONGEST", 60.0)
    jobs, told, go = Jobs(workers=1), [], threading.Event()

    def ask(joiner):
        return joiner.submit("a", 1, None, lambda items: [go.wait(10) for _ in items])

    joiner = Joiner(jobs, "m", told=lambda n, size: told.append(n))
    tickets = [ask(joiner)]
    wait_for(lambda: told == [1])
    tickets += [ask(joiner) for _ in range(3)]
    go.set()
    wait_for(lambda: all(t.over for t in tickets))
    assert told == [1, 3], "three of four go at once"
    first = ask(joiner)
    assert not first.wait(0.3)
    second = ask(joiner)
    assert first.wait(10)
    assert told == [1, 3, 2], "of three the first one waits for the second, and not for the third"
    assert second.wait(10)
    go.clear()
    first = ask(joiner)
    wait_for(lambda: told == [1, 3, 2, 1])
    second = ask(joiner)
    go.set()
    assert first.wait(10)
    assert not second.wait(0.3), "two were back soon, so two are waited for"
    ask(joiner)
    assert second.wait(10)
    assert told == [1, 3, 2, 1, 2]

    alone = Joiner(jobs, "m", together=1)
    for _ in range(3):
        tickets = [ask(alone), ask(alone), ask(alone)]
        assert all(t.wait(5) for t in tickets)
    jobs.close(1)


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_a_server_that_ends_tells_who_waits(seconds):
    jobs = Jobs(workers=1)
    joiner, go = Joiner(jobs, "m", together=1), threading.Event()

    def work(items):
        go.wait(1.0)
        return items

    tickets = [joiner.submit("a", 1, i, work) for i in range(3)]
    wait_for(lambda: joiner.counts() == (2, 1))
    jobs.close(seconds)
    wait_for(lambda: all(t.over for t in tickets), 5)
    for ticket in tickets[1:]:
        with pytest.raises(Refused, match="shutting down") as refused:
            ticket.outcome()
        assert refused.value.status == 503
    assert tickets[0].outcome() == 0
    wait_for(lambda: not any(t.is_alive() for t in jobs._threads), 5)


def test_a_full_server_says_when_to_come_again(monkeypatch):
    system = case_of("dcgan").ready()
    go, begun = threading.Event(), threading.Event()
    real = system.sample

    def slow(n, *, generator):
        begun.set()
        go.wait(20)
        return real(n, generator=generator)

    monkeypatch.setattr(system, "sample", slow)
    with client(system, waiting=2, together=1) as asked:
        answers = []
        threads = [
            threading.Thread(target=lambda i=i: answers.append(asked.post("/sample", json={"seed": i})))
            for i in range(3)
        ]
        threads[0].start()
        assert begun.wait(20)
        for t in threads[1:]:
            t.start()
        wait_for(lambda: "genzoo_waiting 2.0" in asked.get("/metrics").text)
        assert asked.get("/health").json()["waiting"] == 2
        refused = asked.post("/sample", json={})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "2 requests are waiting" in refused.json()["error"]
        go.set()
        for t in threads:
            t.join(30)
        assert [a.status_code for a in answers] == [200] * 3, "those that waited are answered"
        text = asked.get("/metrics").text
        assert 'genzoo_requests_total{path="/sample",status="503"} 1.0' in text
        assert 'genzoo_requests_total{path="/sample",status="200"} 3.0' in text
        assert "genzoo_joined_requests_count 3.0" in text
        assert 'genzoo_model_info{name="' in text


def test_forms_of_an_answer():
    system = case_of("dcgan").ready()
    with client(system) as asked:
        one = Image.open(io.BytesIO(asked.post("/sample", json={"seed": 1}).content))
        _, height, width = system.hparams["shape"]
        assert (one.size, one.format) == ((width, height), "PNG")
        several = Image.open(io.BytesIO(asked.post("/sample", json={"n": 5}, headers={"accept": "image/*"}).content))
        assert np.array_equal(np.asarray(several), grid(genzoo.sample(system, n=5)))
        refused = asked.post("/sample", json={}, headers={"accept": "text/html"})
        assert refused.status_code == 406
        assert "image/png, application/x-npy" in refused.json()["error"]
        assert asked.post("/sample").status_code == 200, "nothing has to be given"


def test_mistakes_are_sentences():
    with client(case_of("cgan").ready()) as asked:
        for body, said in (
            ({"n": 0}, "n: should be greater than or equal to 1"),
            ({"n": 10_000}, "n: should be less than or equal to"),
            ({"seed": -1}, "seed: "),
            ({"sed": 1}, "sed: there is no such option — did you mean 'seed'?"),
            ({"format": 1}, "format: there is no such option; there are n, seed, label"),
            ({"label": 99}, "label"),
            ({"n": "many"}, "n: "),
            ([], "JSON object"),
        ):
            answer = asked.post("/sample", json=body)
            assert answer.status_code == 422, body
            assert said in answer.json()["error"]
        assert (
            asked.post("/sample", content=b"{", headers={"content-type": "application/json"}).json()["error"]
            == "the body is no JSON"
        )
        assert "Content-Type: application/json" in asked.post("/sample", data={"n": 3}).json()["error"]
        for latents in ([], [[1.0]], [["a"]], [[float("1e39")]], "x", [[]], [[None] * 3]):
            answer = asked.post(
                "/decode", content=json.dumps({"latents": latents}), headers={"content-type": "application/json"}
            )
            assert answer.status_code == 422, latents
        assert asked.post("/decode", content=b"x", headers={"content-type": "text/plain"}).status_code == 415
        assert asked.post("/translate").status_code == 404


def test_a_class_is_named_by_number_or_name():
    system = case_of("cgan").ready()
    plain = options("Sample", system, "sample")
    assert [plain(label=v).label for v in (2, "2", None)] == [2, 2, None]
    system.trained = {"class_names": ["dress", "<script>", "7"][: system.labels]}
    asked = options("Sample", system, "sample")
    assert [asked(label=v).label for v in (1, "dress", "1", None)] == [1, 0, 1, None]
    enum = asked.model_json_schema()["properties"]["label"]["anyOf"][-1]["enum"]
    assert enum == system.trained["class_names"]
    for wrong in (-1, system.labels, "dres", True, 1.5, [1], {}, "9" * 50, "1e3"):
        with pytest.raises(ValueError, match="label"):
            asked(label=wrong)
    with client(system) as served:
        assert served.get("/").json()["class_names"] == system.trained["class_names"]
        answer = served.post("/sample", json={"label": "dres"})
        assert answer.status_code == 422
        assert "did you mean 'dress'" in answer.json()["error"]
        page = served.get("/docs").text
        assert "&lt;script&gt;" in page
        assert "<script" not in page


def test_classes_that_nobody_can_choose_are_not_named():
    system = case_of("dcgan").ready()
    system.trained = {"class_names": ["dress", "coat"]}
    with client(system) as served:
        assert served.get("/").json()["class_names"] == []
        assert "label: there is no such option" in served.post("/sample", json={"label": "coat"}).json()["error"]


def test_numbers_without_a_bound_get_one():
    system = case_of("efros-leung").ready()
    asked = options("Sample", system, "sample")
    assert asked(size=64).size == 64
    with pytest.raises(ValueError, match="1024"):
        asked(size=10**9)


def test_what_can_only_train_is_not_served():
    class Mute(System):
        """Does nothing."""

        def __init__(self, shape: tuple[int, ...] = (1, 2, 2)) -> None:
            super().__init__()

    with pytest.raises(UserError, match="it can only train"):
        server(Mute())
