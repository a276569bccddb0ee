"""Old names of methods work for one release, and say what they are called now."""

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.system import System


def old_class():
    class Old(System):
        def __init__(self, shape: tuple[int, ...] = (2,)) -> None:
            super().__init__()

        def latent(self, n, *, generator):
            return torch.randn(n, 2, generator=generator)

        def decode(self, z):
            return z

        def observe(self, batch):
            self.seen = batch

        def end_of_pass(self):
            return {}

        converged = False

    return Old


def test_a_class_with_old_names_has_the_new_ones_and_is_told():
    with pytest.warns(DeprecationWarning, match="Old defines ") as told:
        cls = old_class()
    assert [str(w.message).split(";")[0] for w in told] == [
        "Old defines latent, which is called sample_prior now",
        "Old defines observe, which is called partial_fit now",
        "Old defines end_of_pass, which is called finish_pass now",
    ]
    assert capabilities(cls) == ("decodes", "fits")
    system, g = cls(), torch.Generator()
    assert torch.equal(system.sample_prior(3, generator=g.manual_seed(1)), system.latent(3, generator=g.manual_seed(1)))


def test_an_old_name_is_answered_with_a_warning():
    system, g = genzoo.create("realnvp", shape=(2,)), torch.Generator()
    with pytest.warns(DeprecationWarning, match="latent is called sample_prior now"):
        old = system.latent(3, generator=g.manual_seed(1))
    assert torch.equal(old, system.sample_prior(3, generator=g.manual_seed(1)))


def test_what_an_old_name_means_to_a_class_stays_what_it_means():
    class Own(System):
        def __init__(self, shape: tuple[int, ...] = (2,)) -> None:
            super().__init__()
            self.latent = nn.Linear(2, 2)
            self.register_buffer("survey", torch.ones(3))

        def sample_prior(self, n, *, generator):
            return torch.randn(n, 2, generator=generator)

        def calibrate(self, batch):
            self.seen = batch

    system = Own()
    assert isinstance(system.latent, nn.Linear)
    assert torch.equal(system.survey, torch.ones(3))
    assert not hasattr(system, "observe")
