"""What a seed names: the same samples whatever their number and the batches, in sets of seeds, in files, at the ends of walks."""

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data.drawing.images import save_picture
from genzoo.metrics.drawing import TELL
from genzoo.use.common.source import CHUNK
from genzoo.use.sample import seeds_of

CLOSE = {"rtol": 0, "atol": 1e-5}


def close(a, b):
    torch.testing.assert_close(a, b, **CLOSE)


def test_few_are_the_beginning_of_many_and_batches_do_not_matter(runs):
    run = runs("dcgan")
    ten = genzoo.sample(run, n=10, seed=1)
    close(genzoo.sample(run, n=3, seed=1), ten[:3])
    close(genzoo.sample(run, n=10, seed=1, batch=3), ten)
    assert torch.equal(genzoo.sample(run, n=10, seed=1), ten)
    assert (genzoo.sample(run, n=10, seed=2) - ten).flatten(1).abs().amax(1).min() > 1e-4
    assert len(ten.flatten(1).unique(dim=0)) == 10


def test_a_sample_of_each_seed(runs):
    run = runs("dcgan")
    drawn = genzoo.sample(run, seeds="0,3,5-6")
    assert len(drawn) == 4
    for one, seed in zip(drawn, (0, 3, 5, 6), strict=True):
        close(one[None], genzoo.sample(run, n=1, seed=seed))
    close(genzoo.sample(run, seeds=[6, 3], batch=1), drawn[[3, 1]])
    labelled = runs("acgan")
    close(genzoo.sample(labelled, seeds=[4], label=1), genzoo.sample(labelled, n=1, seed=4, label=1))
    assert len(genzoo.sample(labelled, seeds=[4, 7])) == 2


def test_rows_of_classes_and_prompts_go_by_the_seed(runs):
    run = runs("acgan")
    rows = genzoo.sample(run, seed=3)
    assert torch.equal(rows, genzoo.sample(run, seed=3))
    close(rows[:8], genzoo.sample(run, n=8, seed=3, label=0))
    told = runs("gan-cls")
    word = genzoo.load(told.path).vocabulary[1]
    close(genzoo.sample(told, n=2, seed=3, prompt=word), genzoo.sample(told, n=5, seed=3, prompt=word)[:2])


def test_seeds_are_numbers_and_ranges(runs):
    assert seeds_of("7") == (7,)
    assert seeds_of(" 2, 5-7 3") == (2, 5, 6, 7, 3)
    assert seeds_of([1, np.int64(9)]) == (1, 9)
    for wrong in ("", "a", "4-2", "1,-", "-3", "1.5", "0-1000000", str(2**63)):
        with pytest.raises(UserError, match=r"seeds=.*whole numbers and ranges of them, at most 1,000,000"):
            seeds_of(wrong)
    with pytest.raises(UserError, match="names none"):
        seeds_of([])
    for given in ([1.5], [-1], ["a"]):
        with pytest.raises(UserError, match="whole number"):
            seeds_of(given)
    for more in ({"n": 2}, {"seed": 1}):
        with pytest.raises(UserError, match="leave out n= and seed="):
            genzoo.sample(runs("dcgan"), seeds="0,1", **more)
    for batch in (0, -1, 1.5):
        with pytest.raises(UserError, match="batch="):
            genzoo.sample(runs("dcgan"), n=2, batch=batch)


def test_files_are_called_by_their_seeds(runs, tmp_path, capsys):
    run = runs("dcgan")
    assert main(["sample", str(run.path), "seeds=0,4-5", f"out={tmp_path}/each/"]) == 0
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == ["seed0000.png", "seed0004.png", "seed0005.png"]
    assert main(["sample", str(run.path), "seeds=0,4-5", f"out={tmp_path}/all.npy"]) == 0
    values = np.load(tmp_path / "all.npy")
    close(torch.from_numpy(values[1:2]), genzoo.sample(run, n=1, seed=4))
    assert main(["sample", str(run.path), "n=3", "seed=1", "batch=2", f"out={tmp_path}/three.npy"]) == 0
    close(torch.from_numpy(np.load(tmp_path / "three.npy")), genzoo.sample(run, n=10, seed=1)[:3])
    capsys.readouterr()
    assert main(["sample", str(run.path), "seeds=1-", f"out={tmp_path}/x.png"]) == 2
    assert "give whole numbers and ranges of them" in capsys.readouterr().err
    assert main(["sample", str(run.path), "seeds=1", "n=4"]) == 2


@pytest.mark.parametrize(("ending", "form"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_pictures_are_written_as_their_ending_says(runs, tmp_path, ending, form):
    run = runs("dcgan")
    assert main(["sample", str(run.path), "n=4", f"out={tmp_path}/a.png"]) == 0
    assert main(["sample", str(run.path), "n=4", f"out={tmp_path}/b.{ending}"]) == 0
    assert main(["walk", str(run.path), "rows=2", "steps=3", f"out={tmp_path}/w.{ending}"]) == 0
    with (
        Image.open(tmp_path / "a.png") as a,
        Image.open(tmp_path / f"b.{ending}") as b,
        Image.open(tmp_path / f"w.{ending}") as w,
    ):
        assert b.format == w.format == form
        difference = np.abs(np.asarray(a.convert("RGB")).astype(int) - np.asarray(b.convert("RGB")))
        assert difference.max() <= (40 if form == "JPEG" else 0)


def test_a_jpeg_of_what_has_transparency_is_refused(tmp_path):
    clear = np.full((4, 4, 4), 90, np.uint8)
    save_picture(tmp_path / "a.webp", clear)
    with pytest.raises(UserError, match=r"transparency, and JPEG has none; give \.png or \.webp"):
        save_picture(tmp_path / "a.jpg", clear)
    assert not (tmp_path / "a.jpg").exists()


def test_a_walk_begins_at_the_samples_of_its_seed(runs):
    run = runs("dcgan")
    walked = genzoo.walk(run, rows=3, steps=2, seed=1)
    close(walked[:, 0], genzoo.sample(run, n=3, seed=1))
    close(genzoo.walk(run, rows=2, steps=3, seed=1)[0], genzoo.walk(run, rows=6, steps=3, seed=1)[0])


def test_a_walk_tells_how_far_it_is(runs):
    told = []
    token = TELL.set(lambda done, total: told.append((done, total)))
    try:
        genzoo.walk(runs("dcgan"), rows=1, steps=CHUNK + 2)
    finally:
        TELL.reset(token)
    assert told == [(CHUNK, CHUNK + 2), (CHUNK + 2, CHUNK + 2)]


def test_a_completion_does_not_depend_on_the_others(runs):
    run = runs("pixelcnn")
    system = genzoo.load(run.path)
    x = genzoo.sample(system, n=3)
    known = torch.ones(1, 1, *x.shape[2:], dtype=torch.bool)
    known[..., 4:, :] = False
    all_three = genzoo.complete(system, x, known, seed=2)
    close(genzoo.complete(system, x[:2], known, seed=2), all_three[:2])


def test_a_walk_takes_the_options_of_the_prior(runs, tmp_path, capsys):
    run = runs("stylegan2")
    near, far = (genzoo.walk(run, rows=3, steps=2, seed=1, truncation=t)[:, 0] for t in (0.0, 1.0))
    assert (near - near[:1]).abs().max() < 1e-4, "with truncation 0 all are the mean image"
    assert (far - far[:1]).abs().max() > 1e-3
    labelled = runs("acgan")
    walked = genzoo.walk(labelled, rows=2, steps=2, seed=1, label=1)
    close(walked[:, 0], genzoo.sample(labelled, n=2, seed=1, label=1))
    for words, said in (
        (["truncation=9"], "truncation=9 is not allowed"),
        (["temperature=1"], "has no option 'temperature'"),
        (["label=77"], "label=77"),
    ):
        assert main(["walk", str(run.path), *words]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(UserError, match="truncation goes with ends that are drawn"):
        genzoo.walk(run, images=torch.zeros(2, *far.shape[1:]), truncation=0.5)


def test_a_walk_is_a_film(runs, tmp_path, capsys):
    av = pytest.importorskip("av")
    run = runs("dcgan")
    words = ["walk", str(run.path), "rows=2", "steps=4"]
    assert main([*words, "fps=30", f"out={tmp_path}/w.mp4"]) == 0
    with av.open(str(tmp_path / "w.mp4")) as film:
        (stream,) = film.streams.video
        assert stream.average_rate == 30
        assert len(list(film.decode(stream))) == 6  # there and back, without a jump
    assert main([*words, f"out={tmp_path}/w.gif"]) == 0
    with Image.open(tmp_path / "w.gif") as gif:
        assert gif.n_frames == 6
        assert gif.info["duration"] == 150
    assert main([*words, "fps=25", f"out={tmp_path}/fast.gif"]) == 0
    with Image.open(tmp_path / "fast.gif") as gif:
        assert gif.info["duration"] == 40
    assert main([*words, "fps=60", f"out={tmp_path}/faster.gif"]) == 2
    assert "a GIF shows at most 50 pictures in a second, not 60" in capsys.readouterr().err
