"""Runs judged over HTTP: measures ranked, samples side by side, real or made, the training images nearest to samples."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the extra genzoo[studio] is not installed")

import genzoo
from tests.serving import wait_for


def test_compare_is_what_the_command_says(client, trained, tmp_path):
    told = client.get("/api/judge/compare?run=seed-0&run=seed-1").json()
    other = genzoo.compare(trained / "seed-0", trained / "seed-1", out=tmp_path / "page")
    assert [(r["measure"], r["values"], r["best"], r["tie"]) for r in told["rows"]] == [
        (r["measure"], r["values"], r["best"], r["tie"]) for r in other["rows"]
    ]
    assert all(r["protocol"] for r in told["rows"])
    assert not (trained.parent / "compare").exists(), "looking writes nothing"


def test_side_by_side_shows_the_samples_of_the_command(client, trained, tmp_path):
    from genzoo.cli.main import main

    answer = client.get("/api/judge/samples.png?run=seed-0&seed=3&n=4")
    line = answer.headers["x-command"]
    assert line.startswith("genzoo%20sample%20")
    main(["sample", str(trained / "seed-0"), "n=4", "seed=3", f"out={tmp_path / 'x.png'}"])
    from io import BytesIO

    import numpy as np
    from PIL import Image

    mine, theirs = (np.asarray(Image.open(f).convert("RGB")) for f in (BytesIO(answer.content), tmp_path / "x.png"))
    np.testing.assert_array_equal(mine, theirs)


def test_a_blind_test_is_decided_by_its_seed(client):
    from genzoo.studio.runs import blind

    def picture(i, seed=5):
        return client.get(f"/api/judge/blind.png?run=seed-0&seed={seed}&n=8&i={i}").content

    shown = [picture(i) for i in range(8)]
    assert shown == [picture(i) for i in range(8)]
    assert shown != [picture(i, seed=6) for i in range(8)]
    made = blind.order(5, 8)
    told = client.post("/api/judge/blind", json={"seed": 5, "n": 8, "answers": list(made)}).json()
    assert (told["right"], told["answered"], told["truth"]) == (8, 8, list(made))
    assert told["interval"][0] == pytest.approx(0.6756, abs=1e-4), "Wilson's interval of 8 of 8"
    half = client.post("/api/judge/blind", json={"seed": 5, "n": 8, "answers": [made[0], None, not made[2]]}).json()
    assert (half["right"], half["answered"]) == (1, 2)
    assert "does not show" in half["words"]
    for answers in ([], [True] * 9, ["yes"]):
        assert client.post("/api/judge/blind", json={"seed": 5, "n": 8, "answers": answers}).status_code == 422


def test_blind_images_are_samples_and_held_out_images(client, trained):
    """What is called real is in the test part, what is called made is what the run draws."""
    import torch

    from genzoo.metrics.drawing import draw
    from genzoo.metrics.real import as_levels, real_images
    from genzoo.studio.runs import blind
    from genzoo.use.common.images import open_for
    from genzoo.use.common.source import open_system

    system = open_system(trained / "seed-0")
    found = blind.test(system, 5, 12)
    held, train = real_images(open_for(system, split="test")), real_images(open_for(system, split="train"))
    drawn = draw(system, sum(found.made), 5, keep=as_levels)

    def among(x, images):
        return bool((images == x).flatten(1).all(1).any())

    assert [among(x, drawn) for x in found.images] == list(found.made)
    assert [among(x, held) for x in found.images] == [not m for m in found.made]
    assert not any(among(x, train) for x in found.images)
    unique = torch.unique(found.images.flatten(1), dim=0)
    assert len(unique) == 12, "none is shown twice"


def test_coins_of_a_blind_test_are_fair():
    from genzoo.studio.runs import blind

    tosses = [made for seed in range(400) for made in blind.order(seed, 20)]
    assert abs(sum(tosses) / len(tosses) - 0.5) < 0.02


def test_nearest_training_images_find_a_copy(client, trained):
    import torch

    from genzoo.studio.runs import copies
    from genzoo.use.common.images import open_for
    from genzoo.use.common.source import open_system

    system = open_system(trained / "seed-0")
    train = open_for(system, split="train").fields["image"]
    system.sample = lambda n, generator=None: torch.from_numpy(train[:n].copy()).float() / 127.5 - 1
    rows, fake, found, total = copies.nearest_training(system, 0, 3)
    assert total == len(train)
    assert [r["distances"][0] for r in rows] == [0.0, 0.0, 0.0]
    assert all(r["suspicious"] for r in rows)
    assert all(torch.equal(f, near[0]) for f, near in zip(fake, found, strict=True))
    job = client.post("/api/judge/nearest", json={"run": "seed-0", "n": 4}).json()
    wait_for(lambda: client.get(f"/api/jobs/{job['id']}").json()["state"] == "done")
    told = client.get(f"/api/judge/nearest/{job['id']}").json()
    assert len(told["rows"]) == 4
    assert told["suspicious"] == sum(r["suspicious"] for r in told["rows"])
    assert client.get(f"/api/judge/nearest/{job['id']}/3.png").content.startswith(b"\x89PNG")
