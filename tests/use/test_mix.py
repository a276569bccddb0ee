"""Style mixing: a verb for every system that has a style for each layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.saved import checkpoint
from genzoo.saved.loading import describe


@pytest.fixture(params=["stylegan", "stylegan2"])
def system(request):
    torch.manual_seed(0)
    cls = registry.system_class(request.param)
    return genzoo.create(request.param, **{**cls.tiny, "shape": (3, 16, 16)}).eval()


@pytest.fixture
def run(system, tmp_path):
    checkpoint.write(tmp_path / "run" / "model.safetensors", system.state_dict(), describe(system))
    return tmp_path / "run"


def test_every_picture_has_the_styles_that_its_row_and_column_say(system):
    found = genzoo.mix(system, "4,0", [1, 2, 9], "0,3-4")
    assert (found.images.shape, found.layers, found.of) == ((2, 3, 3, 16, 16), (0, 3, 4), 6)
    seeds = {s: system.sample_prior(1, generator=_generator(system, s))[0] for s in (4, 0, 1, 2, 9)}
    for i, row in enumerate((4, 0)):
        assert torch.allclose(found.rows[i], system.decode(seeds[row][None])[0], atol=1e-4)
        for j, column in enumerate((1, 2, 9)):
            w = torch.stack([seeds[row] if k in (0, 3, 4) else seeds[column] for k in range(6)])
            assert torch.allclose(found.images[i, j], system.decode(w[None])[0], atol=1e-4)
    assert found.table.shape[0] == 3 * 4
    assert torch.equal(found.table[0], torch.ones(3, 16, 16))
    assert torch.equal(found.table[5], found.images[0, 0])


def _generator(system, seed):
    from genzoo.use.common.source import generators_for

    return generators_for(system, seed, 1)


def test_all_layers_give_the_row_and_truncation_to_nothing_gives_the_mean(system):
    whole = genzoo.mix(system, [0], [1], range(6))
    assert torch.allclose(whole.images[0, 0], whole.rows[0], atol=1e-4)
    mean = genzoo.mix(system, [0], [1], truncation=0)
    assert torch.allclose(mean.rows[0], mean.columns[0], atol=1e-4)
    some = genzoo.mix(system, [0], [1], [5], truncation=0.5, cutoff=2)
    assert not torch.allclose(some.rows[0], some.columns[0], atol=1e-3)


def test_what_projection_found_can_be_mixed(system, tmp_path):
    w = system.sample_prior(2, generator=torch.Generator().manual_seed(3))
    np.savez(tmp_path / "mine.npz", latents=w.numpy())
    found = genzoo.mix(system, str(tmp_path / "mine.npz"), w, [0])
    assert torch.equal(found.rows, found.columns)
    assert torch.allclose(found.images[0, 0], found.rows[0], atol=1e-4)
    np.savez(tmp_path / "other.npz", images=w.numpy())
    (tmp_path / "text.npz").write_text("no zip")
    for name in ("other", "text", "nothing"):
        with pytest.raises(UserError, match=r"genzoo project RUN PICTURE out=mine\.npz"):
            genzoo.mix(system, str(tmp_path / f"{name}.npz"))
    with pytest.raises(UserError, match="2x99 are not of this system, which takes"):
        genzoo.mix(system, torch.zeros(2, 99))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layers": "0-6"}, "there is no layer 6; stylegan2? has 6, 0 to 5"),
        ({"layers": "x"}, "layers=x: give whole numbers"),
        ({"rows": "a"}, "rows=a: give whole numbers"),
        ({"columns": [-1]}, "columns=-1 is not allowed"),
        ({"rows": "0-64"}, "65 are too many for a table; give at most 64"),
        ({"trunc": 0.5}, "did you mean 'truncation'"),
    ],
)
def test_mistakes_are_answered_with_what_there_is(system, given, said):
    with pytest.raises(UserError, match=said):
        genzoo.mix(system, **given)


def test_what_has_no_styles_is_told_what_has_them():
    with pytest.raises(UserError, match=r"mix: dcgan cannot mix styles; it can draw samples.*stylegan, stylegan2 can"):
        genzoo.mix(genzoo.create("dcgan", **registry.system_class("dcgan").tiny))


def test_the_words_that_users_of_stylegan_type(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["mix", "run", "--rows=85,100", "--cols", "55,3,7", "--styles=0-1", "truncation=0.7"]) == 0
    assert "layers 0-1 (of 6" in capsys.readouterr().out
    with Image.open(run / "outputs" / "mix.png") as picture:
        assert picture.size[0] / 4 == pytest.approx(
            picture.size[1] / 3, rel=0.02
        )  # three columns, two rows and their heads
    assert main(["mix", "run", "rows=1", "columns=2", "cols=3"]) == 2
    assert "one of the two" in capsys.readouterr().err


def test_a_folder_gets_every_picture_alone(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["mix", "run", "rows=0,1", "columns=2", "out=mixed/"]) == 0
    assert sorted(p.name for p in (tmp_path / "mixed").iterdir()) == [
        "grid.png", "seed0000-seed0002.png", "seed0000.png", "seed0001-seed0002.png", "seed0001.png", "seed0002.png",
    ]  # fmt: skip
