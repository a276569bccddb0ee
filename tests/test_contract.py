"""What every registered system promises: one test a promise, over the whole registry. A skip is by missing capability, never by name."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import os
import signal

import pytest
import torch

from genzoo.core import loading, registry, schema
from genzoo.core.capabilities import (
    CAPABILITIES,
    Animates,
    Calibrates,
    Completes,
    Conditioned,
    Decodes,
    Density,
    Encodes,
    Fits,
    Prompted,
    Samples,
    Tokenizes,
    Translates,
    capabilities,
)
from genzoo.core.errors import UserError
from genzoo.core.loading import load
from genzoo.core.system import System
from genzoo.metrics.drawing import EACH, rows_by_label, rows_by_prompt, takes_labels, takes_prompts
from genzoo.runs.folder import newest_state
from genzoo.training.loop import Trainer
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train
from genzoo.training.update import Updater
from tests.conftest import batch_for, build, data_for

NAMES = sorted(registry.names())
SYSTEMS = sorted(registry.entries())
CPU = Runtime(torch.device("cpu"), "fp32")

every_name = pytest.mark.parametrize("name", NAMES)
every_system = pytest.mark.parametrize("name", SYSTEMS)


def needs(system: System, *protocols: type) -> None:
    for protocol in protocols:
        if not isinstance(system, protocol):
            pytest.skip(f"is not {protocol.__name__}")


def ready(name: str, **overrides: object) -> System:
    """A tiny system that has seen data, in eval mode: what a loaded one is."""
    return copy.deepcopy(_learnt(name, **overrides))


@functools.cache
def _learnt(name: str, **overrides: object) -> System:
    torch.manual_seed(0)
    system = build(name, **overrides)
    learn(system, steps=2)
    return system.eval()


def learn(system: System, steps: int) -> None:
    if isinstance(system, Fits):
        passes = 0
        while not system.converged and passes < 3:
            for seed in range(4):
                system.partial_fit(batch_for(system, 24, seed))
            system.finish_pass()
            passes += 1
        return
    if isinstance(system, Calibrates) and system.calibrating:
        for seed in range(40):  # enough for a covariance of full rank
            system.calibrate(batch_for(system, 24, seed))
        system.finish_calibration()
    update = Updater(system, CPU)
    for step in range(steps):
        update.begin(step, steps)
        system.train().training_step(batch_for(system, seed=step), update)
        update.end()


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data_batch(system: System) -> torch.Tensor:
    batch = batch_for(system)
    return next(batch[k] for k in ("image", "a", "points", "audio", "video", "voxels") if k in batch)


# ---- learning ----------------------------------------------------------------------------------------------------------------------


@every_name
def test_no_parameter_has_two_owners_and_owned_parameters_are_its_own(name):
    system = build(name)
    owned = [p for o in system.optimizers().values() for g in o.param_groups for p in g["params"]]
    assert len({id(p) for p in owned}) == len(owned)
    assert {id(p) for p in owned} <= {id(p) for p in system.parameters()}
    if isinstance(system, Fits):
        assert not owned
    else:
        assert {id(p) for p in owned} == {id(p) for p in system.parameters() if p.requires_grad}


@every_name
def test_each_update_moves_only_what_its_optimiser_owns_and_each_optimizer_moves_something(name):
    torch.manual_seed(0)
    system = build(name)
    if isinstance(system, Fits):
        pytest.skip("learns without optimizers")
    update, names, moved = Updater(system, CPU), {p: n for n, p in system.named_parameters()}, set()

    class Watched:
        step, steps, progress = 0, 20, 0.0

        def __call__(self, player, loss):
            before = {n: p.detach().clone() for n, p in system.named_parameters()}
            update(player, loss)
            changed = {n for n, p in system.named_parameters() if not torch.equal(p, before[n])}
            assert changed <= {names[p] for p in update.owned[player]}
            moved.update({player} if changed else set())
            assert all(p.grad is None for p in system.parameters())

    watched = Watched()
    for step in range(12):
        update.begin(step, 20)
        watched.step, watched.progress = step, step / 20
        logs = system.train().training_step(batch_for(system, seed=step), watched)
        assert all(
            not v.requires_grad and v.ndim == 0 and torch.isfinite(v)
            for v in logs.values()
            if torch.is_tensor(v) and v is not logs.get("loss")
        )
    assert moved == set(system.optimizers())


@every_system
def test_learns_in_bf16_with_float32_weights(name):
    torch.manual_seed(0)
    system = build(name)
    if isinstance(system, Fits):
        pytest.skip("learns without networks")
    half = Runtime(torch.device("cpu"), "bf16")
    update = Updater(system, half)
    for step in range(3):
        update.begin(step, 3)
        with half.autocast():
            logs = system.train().training_step(batch_for(system, seed=step), update)
        update.end()
    assert all(torch.isfinite(v) for v in logs.values())
    assert sum(update.counts().values()) == 0
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in system.parameters())


@every_system
def test_whole_numbers_serve_where_numbers_are_asked_for(name):
    """Adam takes its decays as floats only: beta1=0 from Python is 0.0 by the time it gets there."""
    decays = [k for k, v in build(name).hparams.items() if "beta" in k and isinstance(v, float)]
    system = build(name, **dict.fromkeys(decays, 0))
    assert all(isinstance(system.hparams[k], float) for k in decays)
    system.optimizers()


@every_name
def test_an_exact_likelihood_of_images_has_no_statistics_over_the_batch(name):
    """In training they would tell a pixel of those after it, by way of the other images."""
    system = build(name)
    if not str(getattr(system, "likelihood", "")).startswith("exact"):
        pytest.skip("gives no exact likelihood")
    assert not [m for m in system.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


@every_name
def test_learning_rate_scale_is_finite_and_not_negative(name):
    system = build(name)
    assert all(0 <= system.lr_scale(p / 50) <= 1.5 for p in range(50))


@every_system
def test_trains_from_one_line_stops_and_resumes_bit_for_bit(name, tmp_path, monkeypatch):
    cls = registry.system_class(name)
    data = data_for(name, tmp_path / "data")
    tiny = {k: v for k, v in cls.tiny.items() if k not in schema.FROM_DATA}
    settings = {
        "batch": 4,
        "runs": str(tmp_path),
        "device": "cpu",
        "precision": "fp32",
        "sample_every": 1000,
        "ema": 0.5,
        "seed": 3,
    }
    if "fits" not in capabilities(cls):
        settings["steps"] = 5
    whole = train(name, data, TrainSettings(name="whole", **settings), tiny, quiet=True)
    original = Trainer._one

    def one(self, batch):
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one", one)
        try:
            train(name, data, TrainSettings(name="cut", **settings), tiny, quiet=True)
        except RuntimeError as stopped:
            assert "SIGTERM" in str(stopped)
    cut = resume(tmp_path / "cut", quiet=True)
    (step_a, ((a, _),)), (step_b, ((b, _),)) = newest_state(whole, 1), newest_state(cut, 1)
    assert step_a == step_b
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a), [k for k in a if not torch.equal(a[k], b[k])]
    first, second = load(whole.path), load(cut.path)
    if isinstance(first, Samples):
        assert torch.equal(first.sample(2, generator=gen()), second.sample(2, generator=gen()))


# ---- using -------------------------------------------------------------------------------------------------------------------------


@every_name
def test_same_seed_same_samples_of_the_stated_form(name):
    system = ready(name)
    needs(system, Samples)
    a, b, c = (system.sample(3, generator=gen(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.dtype == torch.float32
    assert not a.requires_grad
    if a.ndim >= 4:
        assert a.shape == (3, *system.hparams["shape"])
        assert a.min() >= -1
        assert a.max() <= 1
    else:
        assert a.shape == (3, *system.hparams["shape"])
        assert torch.isfinite(a).all()


@every_name
def test_sampling_uses_the_given_generator_only(name):
    system = ready(name)
    needs(system, Samples)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    system.sample(2, generator=gen())
    assert torch.equal(before, torch.get_rng_state())


@every_name
def test_a_label_is_obeyed_or_refused_in_words(name):
    """One generator, another label: another image; without a label the classes are drawn; rows are in the order of classes."""
    system = ready(name)
    needs(system, Conditioned)
    if not system.labels:
        pytest.skip("was built without classes")
    first, second = (system.sample(4, generator=gen(), label=k) for k in (0, system.labels - 1))
    assert first.shape == second.shape == (4, *system.hparams["shape"])
    assert not torch.equal(first, second)
    assert not torch.equal(system.sample(4, generator=gen()), first)
    for label in (system.labels, -1):
        with pytest.raises(UserError, match=str(system.labels - 1)):
            system.sample(1, generator=gen(), label=label)
    assert takes_labels(system)
    rows = rows_by_label(system, gen())
    assert rows.shape == (system.labels * EACH, *system.hparams["shape"])
    assert torch.equal(rows[:EACH], system.sample(EACH, generator=gen(), label=0).float())


@every_name
def test_a_prompt_is_obeyed_or_refused_in_words(name):
    """One generator, another sentence: another image; without one, captions of the training are drawn; unknown words are told."""
    system = ready(name)
    needs(system, Prompted)
    if not system.words:
        pytest.skip("was built without captions")
    first, second = (system.sample(4, generator=gen(), prompt=word) for word in system.words[1:3])
    assert first.shape == second.shape == (4, *system.hparams["shape"])
    assert not torch.equal(first, second)
    assert not torch.equal(system.sample(4, generator=gen()), first)
    assert system.unread(f"{system.words[1]} qqq") == ["qqq"]
    for prompt, said in (("  ", "empty"), ("qqq", "qqq")):
        with pytest.raises(UserError, match=said):
            system.sample(1, generator=gen(), prompt=prompt)
    assert takes_prompts(system)
    rows = rows_by_prompt(system, list(system.words[1:3]), gen, n=4)
    assert torch.equal(rows, torch.cat([first, second]).float())


@every_system
def test_cached_drawing_is_uncached_drawing(name):
    system = ready(name)
    if "cached" not in inspect.signature(getattr(system, "sample", len)).parameters:
        pytest.skip("has no cache")
    one, other = (system.sample(2, generator=gen(5), cached=cached) for cached in (True, False))
    assert torch.allclose(one, other, atol=1e-5)
    assert one.unique().numel() > 1


@every_name
def test_save_and_load_give_the_same_outputs(name):
    system = ready(name)
    other = build(name).eval()
    other.load_state_dict({k: v.clone() for k, v in system.state_dict().items()})
    for output in outputs(system):
        a, b = output(system), output(other)
        assert torch.equal(a, b)


def outputs(system: System):
    """Every output that a system can give, each a function of the system."""
    x = data_batch(system)
    if isinstance(system, Samples):
        yield lambda s: s.sample(2, generator=gen())
    if scores(system):
        yield lambda s: s.log_prob(x, generator=gen())
    if isinstance(system, Encodes):
        yield lambda s: s.encode(x)
    if isinstance(system, Decodes):
        z = system.sample_prior(2, generator=gen())
        yield lambda s: s.decode(z)
    if isinstance(system, Translates):
        for direction in system.directions:
            yield lambda s, d=direction: s.translate(x, direction=d)
    if isinstance(system, Tokenizes):
        yield lambda s: s.tokenize(x)
        codes = system.tokenize(x)
        yield lambda s: s.detokenize(codes)
    if isinstance(system, Animates):
        with contextlib.suppress(UserError):  # it may have been trained without first frames, and says so
            system.animate(x[:, :, 0])
            yield lambda s: s.animate(x[:, :, 0])
    if isinstance(system, Completes):
        known = torch.ones_like(x[:, :1], dtype=torch.bool)
        known[..., 3:6] = False
        yield lambda s: s.complete(x, known, generator=gen())


def scores(system: System) -> bool:
    """True where the system scores the data that it is given (a classic objective may not be a likelihood, and says so)."""
    if not isinstance(system, Density):
        return False
    try:
        system.log_prob(data_batch(system), generator=gen())
    except UserError:
        return False
    return True


@every_name
def test_using_a_system_is_deterministic_and_changes_no_state(name):
    system = ready(name)
    before = {k: v.clone() for k, v in system.state_dict().items()}
    for output in outputs(system):
        assert torch.equal(output(system), output(system))
    after = system.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not system.training


@every_name
def test_an_image_is_scored_by_its_grey_levels(name):
    """Of 4 levels one is ⌊grey / 64⌋: what is below says nothing, or the masses of all images would add up to more than one."""
    if "levels" not in schema.settings(registry.system_class(name)):
        pytest.skip("has no levels")
    try:
        system = ready(name, levels=4)
    except UserError:
        pytest.skip("takes no such levels")
    if not scores(system) or data_batch(system).ndim != 4:
        pytest.skip("gives no likelihood of images")
    grey = torch.randint(0, 256, data_batch(system).shape, generator=gen())
    whole, high = (system.log_prob(g / 127.5 - 1, generator=gen()) for g in (grey, grey // 64 * 64))
    torch.testing.assert_close(whole, high, rtol=1e-4, atol=1e-3)


@every_system
def test_values_out_of_range_are_refused_before_they_give_a_number(name):
    """Pixels from 0 to 255 would be clamped to white."""
    system = ready(name)
    x = data_batch(system)
    if x.ndim == 2:
        pytest.skip("points have any values")
    calls = []
    if scores(system):
        calls.append(lambda x: system.log_prob(x, generator=gen()))
    if isinstance(system, Completes):
        calls.append(lambda x: system.complete(x, torch.ones_like(x[:, :1], dtype=torch.bool), generator=gen()))
    for call in calls:
        with pytest.raises(UserError, match=r"values from .*\[-1, 1\]"):
            call((x + 1) * 127.5)


@every_name
def test_log_prob_is_one_finite_number_an_example_and_independent_of_its_neighbours(name):
    system = ready(name)
    if not scores(system):
        pytest.skip("gives no likelihood")
    x = data_batch(system)
    together = system.log_prob(x, generator=gen())
    assert together.shape == (len(x),)
    assert torch.isfinite(together).all()
    assert not together.requires_grad
    assert isinstance(system.likelihood, str)
    if system.likelihood.startswith("exact"):
        alone = torch.cat([system.log_prob(x[i : i + 1], generator=gen()) for i in range(len(x))])
        assert torch.allclose(together, alone, rtol=1e-4, atol=1e-3)


# ---- describing --------------------------------------------------------------------------------------------------------------------


@every_system
def test_what_old_files_stand_for_is_an_argument_that_now_has_another_default(name):
    cls = registry.system_class(name)
    settings = schema.settings(cls)
    for key, value in cls.formerly.items():
        assert not settings[key].required
        assert value != settings[key].default
        assert loading.build({"system": name, "hparams": cls.tiny}).hparams[key] == value


@every_system
def test_a_system_says_what_it_is(name):
    cls = registry.system_class(name)
    entry = registry.entries()[name]
    assert entry.idea.endswith(".")
    assert (entry.paper, entry.data, entry.presets) == (cls.paper, cls.data, tuple(cls.presets))
    assert cls.paper
    assert capabilities(cls)
    built = build(name)  # may lack, in words, what its class can do with other settings
    assert [c for c in capabilities(cls) if c not in built.lacks] == list(capabilities(built))
    assert set(built.lacks) <= set(capabilities(cls))


@every_system
def test_bounds_are_enforced(name):
    """Every numeric argument with a bound refuses the value just outside of it."""
    cls = registry.system_class(name)
    found = 0
    for key, s in schema.settings(cls).items():
        low = inspect_bound(s.annotation)
        if low is None:
            continue
        found += 1
        with pytest.raises(UserError, match=key):
            build(name, **{key: low})
    assert found, "no argument of this system has a lower bound"


def inspect_bound(annotation: object) -> float | None:
    for extra in getattr(annotation, "__metadata__", ()):
        for constraint in getattr(extra, "metadata", ()):
            if getattr(constraint, "ge", None) is not None:
                return constraint.ge - 1
            if getattr(constraint, "gt", None) is not None:
                return constraint.gt
    return None


def test_capabilities_are_methods_with_the_protocols_arguments():
    for name in SYSTEMS:
        cls = registry.system_class(name)
        for capability, protocol in CAPABILITIES.items():
            if capability not in capabilities(cls):
                continue
            for method, function in inspect.getmembers(protocol, inspect.isfunction):
                if method.startswith("_"):
                    continue
                wanted = list(inspect.signature(function).parameters)
                given = inspect.signature(getattr(cls, method)).parameters
                assert list(given)[: len(wanted)] == wanted or set(wanted) <= set(given), f"{name}.{method}"
