"""Every system that takes points learns them in any units: one rule, kept in the model, undone in samples and counted in densities."""

import numpy as np
import pytest
import torch

from genzoo.core.capabilities import Calibrates, Fits, capabilities
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.data.sources.planar import draw
from genzoo.models.autoregressive.made import MADE
from genzoo.models.density.gaussian import Gaussian
from genzoo.naming import registry
from genzoo.nn.whitening import Whitening, check_columns
from genzoo.ranks.launch import same_weights
from genzoo.saved import checkpoint
from genzoo.saved.loading import load
from genzoo.testing.case import CPU
from genzoo.training.prepare import calibrate
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from genzoo.training.update import Updater
from tests.conftest import build

NAMES = [n for n, e in registry.entries().items() if e.points]
DENSE = [n for n in NAMES if "density" in registry.entries()[n].abilities]
LEARNT = [n for n in NAMES if "fits" not in registry.entries()[n].abilities]
every = pytest.mark.parametrize("name", NAMES)
every_density = pytest.mark.parametrize("name", DENSE)

UNITS = torch.tensor([2.0**-20, 1.0, 2.0**20])
"""Powers of two: with other units every number of a training is another one, but every digit the same."""


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def table(n=600, seed=0):
    """Three columns, the second depends on the first, the third is skewed: float32 [n, 3]."""
    r = np.random.default_rng(seed)
    first = r.normal(3, 1, n)
    return np.stack([first, 0.8 * first + r.normal(0, 0.5, n) - 5, np.exp(r.normal(0, 0.5, n))], 1).astype(np.float32)


def small(name):
    """Settings that make a system fast; its shape comes from the data."""
    return {k: v for k, v in registry.system_class(name).tiny.items() if k != "shape"}


def trained(name, points, folder, *, steps=150, **own):
    folder.mkdir(exist_ok=True)
    np.save(folder / "p.npy", points)
    settings = TrainSettings(
        steps=None if name not in LEARNT else steps, batch=100, runs=str(folder), device="cpu", precision="fp32", seed=3
    )
    return train(name, DataSettings(str(folder / "p.npy")), settings, {**small(name), **own}, quiet=True)


def surveyed(system, points):
    for part in points.split(100):
        system.calibrate({"points": part})
    system.finish_calibration()
    return system


def learn(system, points, steps=20):
    """A few steps, or passes, on points; after a calibration where the system wants one."""
    if isinstance(system, Calibrates) and system.calibrating:
        surveyed(system, points)
    if isinstance(system, Fits):
        while not system.converged:
            system.partial_fit({"points": points})
            system.finish_pass()
        return system.eval()
    update = Updater(system, CPU)
    for step in range(steps):
        update.begin(step, steps)
        system.train().training_step({"points": points[step * 20 % 500 :][:100]}, update)
        update.end()
    return system.eval()


# ---- the units -----------------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("data", ["moons", "units"])
def test_a_table_in_its_own_units_comes_back_in_them(name, data, tmp_path):
    """A millionth, one and a million, far from zero: what is drawn has the data's place and spread."""
    points = (table().astype(np.float64) - [3, -2.6, 1.1]) * [1e-6, 1, 1e6] + [1e-5, 170, 1e8]
    points = draw("moons", 600, seed=0, split="train") if data == "moons" else points
    model = load(trained(name, points.astype(np.float32), tmp_path).path)
    drawn = model.sample(300, generator=gen()).double().numpy()
    off = (drawn - points.mean(0)) / points.std(0)
    assert np.abs(off.mean(0)).max() < 1, "the means"
    assert np.quantile(np.abs(off), 0.9) < 3
    assert off.std(0).min() > 0.02, "an untrained GAN draws points that are close together"


@every
def test_samples_in_other_units_are_the_same_samples(name):
    points, drawn = torch.from_numpy(table()), []
    for units in (torch.ones(3), UNITS):
        torch.manual_seed(0)
        own = {"ridge": 1e-3} if "ridge" in registry.entries()[name].arguments else {}
        system = learn(build(name, shape=(3,), **own), points * units)
        drawn.append(system.sample(50, generator=gen()) / units)
    torch.testing.assert_close(drawn[1], drawn[0], rtol=1e-4, atol=1e-4)
    assert drawn[0].std() > 0.1


@every_density
def test_densities_in_other_units_differ_by_the_units(name):
    """The change of variables: log p(x·u) = log p(x) - Σ log u."""
    points, found = torch.from_numpy(table()), []
    for units in (torch.ones(3), UNITS * 4):
        torch.manual_seed(0)
        system = learn(build(name, shape=(3,)), points * units)
        found.append(system.log_prob(points * units) + units.log().sum())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)
    assert found[0].isfinite().all()


@every_density
def test_the_density_of_scaled_points_integrates_to_one_in_their_own_units(name):
    torch.manual_seed(0)
    units, centre = torch.tensor([1e-3, 50.0]), torch.tensor([-2e-3, 400.0])
    system = learn(build(name, shape=(2,)), torch.randn(500, 2, generator=gen()) * units + centre, steps=3)
    line = torch.linspace(-12, 12, 481)
    mass = system.log_prob(torch.cartesian_prod(line, line) * units + centre).double().exp().sum().item()
    assert mass * (0.05**2 * units.prod().item()) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "tied"])
@pytest.mark.parametrize("name", ["gaussian", "gmm"])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_a_ridge_is_a_share_of_what_a_column_varies(name, covariance, factor):
    if name == "gaussian" and covariance == "tied":
        covariance = "spherical"
    points, found = torch.from_numpy(table()).double(), []
    scaled = points * (factor if covariance == "spherical" else torch.tensor([1, factor, 1]))
    for x in (points, scaled):
        torch.manual_seed(0)
        system = learn(build(name, shape=(3,), covariance=covariance, ridge=0.5), x)
        matrix = system.covariance_matrix() if name == "gaussian" else system.covariances()
        found.append(matrix / x.std(0) / x.std(0)[:, None])
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)
    plain = learn(Gaussian((3,), covariance="diagonal"), points).covariance_matrix().diagonal()
    if name == "gaussian":
        expected = 1.5 * (plain.mean().expand(3) if covariance == "spherical" else plain)
        torch.testing.assert_close(found[0].diagonal() * points.var(0), expected)


def test_maps_of_flows_are_in_the_units_of_the_data():
    points = torch.from_numpy(table()) * torch.tensor([1e-3, 1.0, 1e3])
    for name in (n for n in NAMES if registry.entries()[n].family == "flows"):
        torch.manual_seed(0)
        system = learn(build(name, shape=(3,)).double(), points.double())
        x = points[:3].double()
        z, log_det = system(x)
        torch.testing.assert_close(system.inverse(z), x, rtol=1e-7, atol=1e-9)
        exact = torch.autograd.functional.jacobian(lambda v, s=system: s(v)[0][0], x[:1])[:, 0]
        torch.testing.assert_close(log_det[0], torch.linalg.slogdet(exact)[1])
        if name == "linear-flow":
            torch.testing.assert_close(system.matrix(), exact)
        conditions = system.jacobian_condition(x[:1])
        torch.testing.assert_close(conditions[0], torch.linalg.svdvals(exact)[[0, -1]], rtol=1e-6, atol=1e-9)


def test_the_players_of_a_gan_see_scaled_points_and_its_samples_are_not_scaled():
    points, seen = torch.from_numpy(table()) * 1e4 + 1e6, []
    torch.manual_seed(0)
    system = build("gan", shape=(3,), input_dropout=0.0)
    system.D.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    learn(system, points, steps=3)
    assert max(float(x.abs().max()) for x in seen) < 20
    z = system.sample_prior(5, generator=gen())
    torch.testing.assert_close(system.decode(z), system.scale.inverse(system.G(z)))
    assert system.sample(5, generator=gen()).min() > 9e5


def test_low_rank_adds_a_share_of_the_mean_variance():
    points = torch.from_numpy(table()).double()
    plain, more = (learn(Gaussian((3,), covariance="low-rank", rank=1, ridge=r), points) for r in (0.0, 0.2))
    extra = 0.2 * points.var(0, correction=0).mean()
    torch.testing.assert_close(more.noise - plain.noise, extra)
    torch.testing.assert_close(more.variances - plain.variances, extra.expand(1))


# ---- one rule ------------------------------------------------------------------------------------------------------------------


@every
def test_points_are_scaled_and_images_have_no_scale(name):
    images, points = build(name), build(name, shape=(3,))
    assert len(images.hparams["shape"]) == 3
    assert not any(isinstance(m, Whitening) for m in images.modules()), "the tensors of image models are what they were"
    if name == "gaussian":
        return  # its mean and covariance are the scale
    assert "calibrates" in capabilities(points)
    assert points.calibrating
    assert not images.calibrating
    surveyed(points, torch.from_numpy(table()))
    assert not points.calibrating
    scale = points.scale
    z, log_det = scale(torch.from_numpy(table()))
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(log_det[0], scale.root.log().sum())
    torch.testing.assert_close(scale.inverse(z), torch.from_numpy(table()), atol=1e-5, rtol=1e-5)
    assert set(dict(scale.named_buffers())) < set(scale.state_dict()) | {""}, "it is kept in checkpoints"


@every
def test_a_column_that_does_not_vary_is_named(name, tmp_path):
    points = np.insert(table(), 1, np.float32(150000.1), axis=1)
    with pytest.raises(UserError, match=r"p.npy: column 1 \(from 0\) is 150000 in every row"):
        trained(name, points, tmp_path)
    points[0, 1] = 0  # in the file it varies, in the part that is learned it does not
    with pytest.raises(UserError, match=r"1 of 4 columns of the points, number 2 \(from 1\), are constant \(150000\)"):
        learn(build(name, **{**small(name), "shape": (4,)}), torch.from_numpy(points[1:]))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "gaussian"])
def test_a_column_that_float32_cannot_tell_apart_is_named(name, tmp_path):
    points = table().astype(np.float64)
    points[:, 2] = points[:, 2] * 5 + 1e8
    with pytest.raises(UserError, match=r"number 3 \(from 1\), vary no more than the rounding .* subtract"):
        trained(name, points.astype(np.float32), tmp_path)


def test_with_a_whitening_in_the_way_the_constant_column_is_named_all_the_same(tmp_path):
    points = np.insert(table(), 1, np.float32(0), axis=1)
    with pytest.raises(UserError, match=r"number 2 \(from 1\), are constant"):
        learn(build("nice", **{**small("nice"), "shape": (4,), "whiten": True}), torch.from_numpy(points))


def test_many_columns_are_counted_and_not_all_listed():
    with pytest.raises(UserError, match=r"30 of 40 columns .*, 10 … \(from 1\)"):
        check_columns(torch.ones(40), torch.cat([torch.zeros(30), torch.ones(10)]), 1e-7)


def both_ranks(rank, file):
    """What two processes that train together know of the units before their first step."""
    runtime = Runtime(torch.device("cpu"), "fp32", rank, 2)
    torch.manual_seed(rank)
    system = build("made", shape=(3,))
    dataset = open_data(DataSettings(file), split="train", quiet=True)
    calibrate(system, dataset, runtime, quiet=True)
    same_weights(system)
    return {k: v for k, v in system.state_dict().items() if k.startswith("scale.")}


def test_ranks_have_one_scale(tmp_path, two_ranks):
    np.save(tmp_path / "p.npy", table() * np.float32(1e4))
    first, second = two_ranks(both_ranks, str(tmp_path / "p.npy"))
    assert bool(first["scale.fitted"])
    assert first["scale.root"].max() < 1e-3
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


# ---- files ---------------------------------------------------------------------------------------------------------------------


def without_scale(path):
    tensors, meta = checkpoint.read(path)
    assert any("scale." in k for k in tensors)
    checkpoint.write(path, {k: v for k, v in tensors.items() if "scale." not in k}, meta)


@pytest.mark.parametrize("name", LEARNT)
def test_the_scale_is_kept_and_files_from_before_it_mean_the_identity(name, tmp_path):
    points = table() * np.float32(100) + np.float32(1000)
    run = trained(name, points, tmp_path, steps=2)
    model = load(run.path)
    scale = model.scale
    assert bool(scale.fitted)
    assert scale.mean.min() > 500
    without_scale(run.path / "model" / "model.safetensors")
    old = load(run.path)
    assert not bool(old.scale.fitted)
    x, z = torch.from_numpy(points), scale(torch.from_numpy(points))[0]
    if "density" in capabilities(old):
        torch.testing.assert_close(old.log_prob(z) + scale.log_det(), model.log_prob(x), rtol=1e-4, atol=1e-4)
    same = scale.inverse(old.sample(20, generator=gen()))
    torch.testing.assert_close(same, model.sample(20, generator=gen()), rtol=1e-5, atol=1e-4)


def test_a_state_of_half_a_scale_is_no_earlier_one():
    system = build("made", shape=(3,))
    state = system.state_dict()
    del state["scale.mean"]
    with pytest.raises(RuntimeError, match=r"scale\.mean"):
        build("made", shape=(3,)).load_state_dict(state)


def test_a_run_from_before_the_scale_goes_on_without_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(MADE, "calibrating", False)  # as that version trained
        runs = [trained("made", table(), tmp_path / part, steps=4) for part in "ab"]
    for file in [*runs[1].states(), runs[1].path / "model" / "model.safetensors"]:
        without_scale(file)
    monkeypatch.setattr(MADE, "calibrate", lambda *_: pytest.fail("surveyed"))
    kept, earlier = (load(resume(run.path, steps=8, quiet=True).path) for run in runs)
    assert not bool(earlier.scale.fitted)
    x = torch.from_numpy(table())
    assert torch.equal(earlier.log_prob(x), kept.log_prob(x))
