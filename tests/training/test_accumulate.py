"""A batch that is shown in parts: the updates are those of the whole batch, and no more is held than of one part."""

import contextlib
import weakref

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.ranks.batch import examples_before, examples_in_all, one_batch
from genzoo.ranks.parts import train_step
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater
from tests.one_batch import SENSITIVE, apart, learn

SAME = [
    *("autoencoder", "cyclegan", "elementwise-flow", "gan", "gated-pixelcnn", "glow", "linear-flow", "made", "multiscale-pixelcnn", "nice"),
    *("pix2pix", "pix2pixhd", "pixelcnn", "pixelcnnpp", "pixelrnn", "realnvp", "token-prior", "vae", "wavenet"),
]  # fmt: skip
"""Systems whose losses are means over examples that know nothing of each other: one objective, or several players."""
ALONE = {"began": {"pull": 0.0}, "dcgan": {"g_norm": "none", "d_norm": "none"}}
"""Systems of which the same is true without one of their parts."""
QUICK = ["vae", "gan", "cyclegan", "pixelcnnpp", "token-prior"]
"""One objective, two players, three with pools, dropout, a system in a system."""
CPU = Runtime(torch.device("cpu"), "fp32")


@pytest.mark.parametrize("name", QUICK)
def test_parts_learn_what_the_whole_batch_teaches(name):
    """Weights, pools, counts and the state of the generators, in double precision."""
    whole, parts = learn(0, 1, name, torch.float64, steps=3), learn(0, 1, name, torch.float64, steps=3, parts=4)
    difference, where = apart(whole, parts)
    assert difference <= 1e-10, f"{where} is {difference:.1e} away"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SAME, *ALONE])
def test_parts_learn_what_the_whole_batch_teaches_everywhere(name):
    """The same of all of them; in single precision by plain steps, which have the length of the gradient: Adam divides rounding by itself."""
    more = ALONE.get(name, {})
    whole, *cut = (learn(0, 1, name, torch.float64, steps=10, parts=n, **more) for n in (1, 2, 4))
    for parts in cut:
        difference, where = apart(whole, parts)
        assert difference <= (1e-8 if name in ("pix2pixhd", "realnvp") else 1e-10), f"{where} is {difference:.1e} away"
    if name in SENSITIVE:  # rounding grows in them, with the whole batch as well
        return
    whole, parts = (learn(0, 1, name, steps=5, sgd=1e-3, parts=n, **more) for n in (1, 2))
    weights = {k: v for k, v in whole.items() if v.is_floating_point()}
    scale = max(float(v.abs().max()) for v in weights.values() if v.numel())
    assert apart(weights, parts)[0] <= 1e-6 * scale


@pytest.mark.parametrize("name", ["pix2pix", "progan"])
def test_ranks_that_show_parts_learn_it_too(name, two_ranks):
    """The reducer sends what all parts have given, also of parameters without a gradient (ProGAN's levels)."""
    parts = learn(0, 1, name, torch.float64, steps=4, parts=2)
    whole = parts if name == "progan" else learn(0, 1, name, torch.float64, steps=4)
    found = two_ranks(learn, 2, name, torch.float64, 16, 4, None, False, 2)
    assert apart(*found)[0] == 0
    if name != "progan":
        assert apart(whole, found[0])[0] <= 1e-10


def test_what_is_drawn_is_a_function_of_the_place_in_the_batch():
    def drawn(part, parts):
        torch.manual_seed(5)
        n, p = 8 // parts, torch.linspace(0, 1, 8).chunk(parts)[part]
        with one_batch(n, part, parts):
            found = [
                torch.randn(n, 5),
                torch.bernoulli(p),
                torch.normal(p, p + 1),
                torch.multinomial(p[:, None] + 1.0, 1),
                torch.rand(2 * n)[:n],
            ]
            return [*found, torch.tensor([examples_before(), examples_in_all(n)])], torch.get_rng_state()

    whole, state = drawn(0, 1)
    parts = [drawn(k, 4) for k in range(4)]
    for k, draw in enumerate(whole[:-1]):
        assert torch.equal(torch.cat([found[k] for found, _ in parts]), draw), f"draw {k}"
    assert [found[-1].tolist() for found, _ in parts] == [[0, 8], [2, 8], [4, 8], [6, 8]]
    assert all(torch.equal(after, state) for _, after in parts)


class Box:
    """What a forward pass has kept, as long as it is kept."""

    def __init__(self, x):
        """Keep it."""
        self.x = x


class Game(System):
    """Two players and a clamp: D moves twice and is clamped, and G sees it as it then is; `seen` counts examples, `mean` follows them."""

    averaged = ("mean",)

    def __init__(self, width: int = 3) -> None:
        """Build both.

        Args:
            width: Of the images.
        """
        super().__init__()
        self.G, self.D = nn.Linear(2, width), nn.Linear(width, 1)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.looks, self.shown, self.alive, self.most = 0, [], [], 0

    def optimizers(self):
        return {k: torch.optim.Adam(m.parameters(), lr=0.05) for k, m in (("d", self.D), ("g", self.G))}

    def keep(self, x):
        self.alive.append(weakref.ref(box := Box(x)))
        return box

    def training_step(self, batch, update):
        real = batch["image"]
        with torch.autograd.graph.saved_tensors_hooks(self.keep, lambda box: box.x):
            fake = self.G(torch.randn(len(real), 2))
            d = (self.D(fake.detach()) ** 2).mean() - self.D(real).tanh().mean()
        update("d", d)
        update("d", self.D.weight.square().sum() + self.D(real).cos().mean())
        with torch.no_grad():
            self.D.weight.clamp_(-0.3, 0.3)
        self.shown.append(self.D.weight.detach().clone())
        g = (self.D(fake) - real[:, :1]).square().mean()
        self.most = max(self.most, sum(r() is not None for r in self.alive))
        update("g", g)
        self.seen += len(real)
        self.mean.lerp_(real.mean(), 0.5)
        return {"d": d.detach(), "g": g.detach(), "k": self.D.weight.sum().detach()}


def played(parts, steps=3, bad=None):
    torch.manual_seed(0)
    system = Game().double().train()
    update = Updater(system, CPU)
    logs = []
    for step in range(steps):
        update.begin(step, steps)
        image = torch.rand(8, 3, dtype=torch.float64)
        if bad == step:
            image[5, 0] = float("nan")
        logs.append(train_step(system, {"image": image}, update, parts, contextlib.nullcontext))
        update.end()
    return system, update, logs


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_every_player_sees_the_others_as_they_are_at_its_turn(parts, double):
    one, _, whole = played(1)
    some, _, logs = played(parts)
    for a, b in zip(one.state_dict().values(), some.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert some.seen == 24, "each example is counted once"
    for a, b in zip(whole, logs, strict=True):
        for k in a:
            assert float(a[k]) == pytest.approx(float(b[k]), abs=1e-6), k
    weights = one.shown[-1]
    assert all(torch.allclose(w, weights) for w in some.shown[-parts:]), "G is taught by the clamped D, in every part"


def test_nothing_of_an_earlier_update_is_held(double):
    """When G learns, of what D's loss had kept nothing is there any more: of one part as of the whole batch."""
    assert played(1)[0].most == played(4)[0].most <= 2


def test_one_bad_part_skips_the_update_of_all(double):
    system, update, _ = played(4, steps=2, bad=1)
    before, _, _ = played(4, steps=1)
    assert update.counts() == {"d": 2, "g": 1}
    assert all(
        torch.equal(a, b) for a, b in zip(before.state_dict().values(), system.state_dict().values(), strict=True)
    )


def test_parts_that_differ_say_so(double):
    class Moody(Game):
        def training_step(self, batch, update):
            if batch["image"][0, 0] == 1:
                update("g", self.G(batch["image"][:, :2]).mean())
            update("d", self.D(batch["image"]).mean())
            return {}

    system = Moody().train()
    update = Updater(system, CPU)
    for first in (0.0, 1.0):
        update.begin(0, 1)
        image = torch.full((4, 3), 1 - first)
        image[:2] = first
        with pytest.raises(UserError, match="the parts of this batch made different updates"):
            train_step(system, {"image": image}, update, 2, contextlib.nullcontext)


def test_a_run_takes_it_says_it_and_goes_on_exactly(tmp_path):
    keys = {
        "batch": 8,
        "accumulate": 4,
        "runs": str(tmp_path),
        "quiet": True,
        "device": "cpu",
        "warmup": 0.0,
        "decay": "none",
    }
    run = genzoo.train("gan-points", "ring", steps=4, name="whole", **keys)
    assert "accumulate = 4" in (run.path / "config.toml").read_text()
    assert "Each batch of 8 was shown in 4 parts." in (run.path / "README.md").read_text()
    part = genzoo.train("gan-points", "ring", steps=2, name="two", **keys)
    part = genzoo.resume(part.path, steps=4, quiet=True)
    one, two = (genzoo.load(r.path).state_dict() for r in (run, part))
    assert all(torch.equal(a, b) for a, b in zip(one.values(), two.values(), strict=True))


@pytest.mark.parametrize(
    ("system", "more", "says"),
    [
        ("gan-points", {"batch": 10, "accumulate": 4}, "accumulate=4: batch=10 cannot be cut into 4 equal parts; give a multiple of 4"),
        ("gmm", {"accumulate": 2}, "accumulate=2 adds up gradients, and .* is fitted without any; leave it out"),
        ("gan-points", {"accumulate": 0}, "accumulate"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_made(system, more, says, tmp_path):
    with pytest.raises(UserError, match=says):
        genzoo.train(system, "ring", steps=2, runs=str(tmp_path), quiet=True, device="cpu", **more)
    assert list(tmp_path.iterdir()) == []
