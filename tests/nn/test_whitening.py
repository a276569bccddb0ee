"""A whitening fitted in one pass: exact density, exact inverse, one fit for all ranks, and nothing of it is found anew on resuming."""

import math

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.capabilities import Calibrates
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.models.flows.nice import NICE
from genzoo.nn.dequantize import dequantize
from genzoo.nn.whitening import MOST_WHITENED, Whitening
from genzoo.saved.loading import load
from genzoo.training.prepare import calibrate
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from tests.models.test_flows import gen

CPU = Runtime(torch.device("cpu"), "fp32")


def smooth(n, shape=(1, 4, 4), seed=0):
    """Images whose neighbours are alike, in [-1, 1] on 256 grey levels."""
    drawn = torch.randn(n, math.prod(shape) + 2, generator=gen(seed))
    grey = drawn.unfold(1, 3, 1) @ torch.tensor([20.0, 30.0, 20.0]) + 128
    return (grey.round().clamp(0, 255) / 127.5 - 1).view(n, *shape)


def surveyed(x, **kw):
    torch.manual_seed(0)
    model = NICE(tuple(x.shape[1:]), width=8, depth=1, whiten=True, **kw).to(x.dtype)
    for part in x.split(100):
        model.calibrate({"image" if x.ndim == 4 else "points": part})
    model.finish_calibration()
    return model.eval()


def test_the_training_set_leaves_with_mean_zero_and_covariance_one():
    x = smooth(4000)
    layer = surveyed(x).flow[0]
    u = dequantize(x, 256, gen(7)).flatten(1)
    before, z = u.T.cov(), layer(u)[0]
    assert before[3, 4] / before[3, 3] > 0.5, "neighbours were alike"
    assert z.mean(0).abs().max() < 3e-3
    assert (z.T.cov() - torch.eye(16)).abs().max() < 1e-2


def test_a_whitened_flow_before_its_first_step_is_the_gaussian_of_the_data():
    """With a normal prior the density is N(μ, Σ + variance of the noise) itself: the determinant is all there."""
    x = smooth(500)
    model = surveyed(x, prior="normal")
    centres = ((x + 1) * 127.5).round().double().flatten(1) / 256 + 0.5 / 256
    covariance = centres.T.cov(correction=0) + torch.eye(16) / (12 * 256**2)
    normal = torch.distributions.MultivariateNormal(centres.mean(0), covariance)
    expected = normal.log_prob(dequantize(x, 256, gen()).double().flatten(1)) - 16 * math.log(256)
    assert torch.allclose(model.log_prob(x, generator=gen()).double(), expected, atol=2e-3)
    points = torch.randn(300, 2, generator=gen()) @ torch.tensor([[2.0, 0.0], [1.9, 0.1]])
    model = surveyed(points, prior="normal")
    normal = torch.distributions.MultivariateNormal(points.mean(0), points.T.cov(correction=0))
    assert torch.allclose(model.log_prob(points), normal.log_prob(points), atol=1e-4)


def test_log_det_is_the_autograd_jacobians_after_the_fit():
    model = surveyed(smooth(300).double())
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=gen(1)))
    u = torch.rand(2, 1, 4, 4, generator=gen(), dtype=torch.float64)
    z, log_det = model(u)
    for i in range(2):
        exact = torch.autograd.functional.jacobian(lambda v: model(v)[0][0], u[i : i + 1]).reshape(16, 16)
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(exact)[1].item(), abs=1e-9)
    assert (model.inverse(z) - u).abs().max() < 1e-12
    assert log_det[0].item() > 16, "the map stretches: its determinant is far from one"


@torch.no_grad()
def test_inverse_and_codes_are_exact_in_float32_and_under_autocast():
    x = smooth(200, (3, 8, 8))
    model = surveyed(smooth(600, (3, 8, 8), seed=1))
    u = dequantize(x, 256, gen())
    z = model(u)[0]
    assert (model.inverse(z) - u).abs().max() < 1e-5
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-6)
    plain = model.flow[0](u.flatten(1))[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.flow[0](u.flatten(1))[0], plain)
        assert (model.flow[0].inverse(plain) - u.flatten(1)).abs().max() < 1e-5


def test_a_survey_sees_every_example_once_in_order_and_draws_no_random_number(tmp_path):
    data = DataSettings(str(_file(tmp_path, 2300)), size=8, flip=True)
    seen = []

    class Watcher(NICE):
        def calibrate(self, batch):
            seen.append(batch["image"])
            super().calibrate(batch)

    model = Watcher((1, 8, 8), width=8, whiten=True)
    dataset = open_data(data, split="train", quiet=True)
    before = torch.get_rng_state()
    calibrate(model, dataset, CPU, quiet=True)
    assert torch.equal(before, torch.get_rng_state())
    stored = torch.from_numpy(np.array(dataset.fields["image"][:])).float() / 127.5 - 1
    assert torch.allclose(torch.cat(seen), stored), "not mirrored"
    assert not model.calibrating
    calibrate(model, dataset, CPU, quiet=True)
    assert len(torch.cat(seen)) == len(dataset), "it is not looked through again"


def _file(folder, n=60, seed=0):
    x = ((smooth(n, (1, 8, 8), seed) + 1) * 127.5).round().byte().numpy()[:, 0]
    np.savez(folder / "data.npz", images=x)
    return folder / "data.npz"


def test_a_run_surveys_before_its_first_step_and_a_resumed_one_never(tmp_path, monkeypatch):
    data = DataSettings(str(_file(tmp_path)), size=8)
    settings = {"batch": 8, "steps": 4, "runs": str(tmp_path), "ema": 0.5, "seed": 3, "device": "cpu"}
    own = {"width": 8, "depth": 1, "whiten": True}
    whole = train("nice", data, TrainSettings(name="whole", **settings), own, quiet=True)
    half = train("nice", data, TrainSettings(name="half", **{**settings, "steps": 2}), own, quiet=True)
    monkeypatch.setattr(NICE, "calibrate", lambda *_: pytest.fail("surveyed again"))
    again = resume(half.path, steps=4, quiet=True)
    models = [load(run.path) for run in (whole, again)]
    first, second = (m.state_dict() for m in models)
    constant = [k for k in first if k.startswith("flow.0.")]
    assert len(constant) == 3
    assert all(torch.equal(first[k], second[k]) for k in constant)
    assert bool(models[0].flow[0].fitted)
    assert not torch.equal(models[0].flow[0].root, torch.eye(64))
    assert not any(k.startswith("flow.0.") for k, _ in models[0].named_parameters()), "the optimizer leaves it alone"
    u = torch.rand(3, 1, 8, 8, generator=gen())
    assert (models[0].inverse(models[0](u)[0]) - u).abs().max() < 1e-5
    assert genzoo.sample(models[0], n=2, seed=0).shape == (2, 1, 8, 8)


def test_the_first_rank_surveys_before_its_buffers_are_given_to_the_others(tmp_path, monkeypatch):
    data = DataSettings(str(_file(tmp_path)), size=8)
    other = NICE((1, 8, 8), width=8, whiten=True)
    calibrate(other, open_data(data, split="train", quiet=True), Runtime(torch.device("cpu"), "fp32", 1, 2), quiet=True)
    assert other.calibrating, "the second rank leaves it to the first"
    given = []
    monkeypatch.setattr("genzoo.training.start.same_weights", lambda m: given.append(bool(m.flow[0].fitted)))
    settings = TrainSettings(steps=1, batch=8, runs=str(tmp_path), device="cpu", ema=0.5)
    train("nice", data, settings, {"width": 8, "depth": 1, "whiten": True}, quiet=True)
    assert given == [True]


def test_without_whitening_there_is_nothing_to_survey():
    model = NICE((1, 4, 4), width=8)
    assert isinstance(model, Calibrates)
    assert not model.calibrating
    assert not any("root" in k for k in model.state_dict())


def test_data_of_fewer_dimensions_and_too_large_a_matrix_are_refused_in_words():
    line = torch.randn(50, 1, generator=gen()) * torch.tensor([[1.0, 2.0]])
    with pytest.raises(UserError, match=r"singular.*whiten=false"):
        surveyed(line)
    with pytest.raises(UserError, match=rf"at most {MOST_WHITENED}"):
        Whitening(MOST_WHITENED + 1)
    flat = surveyed(-torch.ones(40, 1, 4, 4))  # images that are all black: the noise alone has a variance
    assert flat.flow[0].root.diagonal() == pytest.approx(torch.full((16,), math.sqrt(12) * 256), rel=1e-4)
