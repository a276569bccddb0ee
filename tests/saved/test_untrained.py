"""Parts of a model that have learned nothing: whatever verb needs them refuses, and says what to do."""

from __future__ import annotations

import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.saved import checkpoint
from genzoo.saved.loading import describe
from genzoo.saved.untrained import Untrained, lost_directions
from genzoo.use.exports.parts import part_of, parts


@pytest.fixture
def written(tmp_path):
    """Write a tiny system into a file whose description says which parts are fresh."""

    def write(name, *new):
        cls = type(genzoo.create(name))
        system = genzoo.create(name, **cls.tiny)
        meta = {**describe(system), "imported": {"new": list(new)}}
        checkpoint.write(tmp_path / name / "model.safetensors", system.state_dict(), meta)
        return tmp_path / name

    return write


def test_the_direction_of_a_fresh_generator_is_refused_and_the_other_one_is_not(written):
    run, x = written("cyclegan", "b2a", "D_a", "D_b"), torch.zeros(1, 3, 8, 8)
    system = genzoo.load(run)
    assert (system.directions, list(lost_directions(system))) == (("a2b",), ["b2a"])
    assert genzoo.translate(run, x).shape == x.shape
    with pytest.raises(
        UserError, match=r"direction=b2a: 'b2a' of .*learned nothing.*b2a=FILE.*from=.*direction=a2b is there"
    ):
        genzoo.translate(run, x, "b2a")
    with pytest.raises(UserError, match=r"direction=b2c is not known\. There is a2b"):
        genzoo.translate(run, x, "b2c")
    assert [p for p in parts(system) if p.startswith("translate")] == ["translate"]
    with pytest.raises(UserError, match=r"export: 'b2a' of .*learned nothing"):
        part_of(system, "b2a")


def test_a_file_without_fresh_parts_translates_in_both_directions(written):
    system = genzoo.load(written("cyclegan"))
    assert system.directions == ("a2b", "b2a")
    assert not lost_directions(system)


def test_the_default_direction_is_one_that_was_trained(written):
    assert genzoo.load(written("cyclegan", "a2b")).directions == ("b2a",)
    with pytest.raises(UserError, match="learned nothing"):
        genzoo.translate(written("cyclegan", "a2b", "b2a"), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("verb", ["sample", "walk", "project"])
def test_a_fresh_generator_draws_nothing_whatever_the_verb(written, verb):
    run = written("dcgan", "G")
    with pytest.raises(Untrained, match=r"'G' of .*learned nothing"):
        getattr(genzoo, verb)(
            run, **({"images": torch.zeros(1, *genzoo.load(run).hparams["shape"])} if verb == "project" else {})
        )


def test_fresh_parts_can_be_trained_on(written):
    system = genzoo.load(written("dcgan", "G")).train()
    assert system.sample(2, generator=torch.Generator()).shape[0] == 2
