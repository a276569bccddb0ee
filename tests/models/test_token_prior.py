"""The prior over codes: no leaks, exact probabilities, equal caches, filters by brute force, guidance, completion."""

import itertools
import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.losses.likelihoods import pick_from
from genzoo.models.autoencoding.vqvae import VQVAE
from genzoo.models.autoencoding.vqvae2 import VQVAE2
from genzoo.models.autoregressive._token_walk import TokenWalk
from genzoo.models.autoregressive.token_prior import TokenPrior, choices


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def tokenizer(shape=(1, 8, 8), codes=8, **keys):
    return VQVAE(shape=shape, codes=codes, dim=4, width=8, blocks=1, halvings=1, **keys)


def levels(scales=2):
    return VQVAE2(shape=(1, 8, 8), codes=6, dim=4, width=8, blocks=1, halvings=1, scales=scales)


def prior(inner=None, seed=0, **keys):
    """A prior with weights large enough that every code depends on every earlier one."""
    torch.manual_seed(seed)
    inner = inner or tokenizer()
    model = TokenPrior(
        **{"shape": inner.hparams["shape"], "tokenizer": inner, "width": 16, "depth": 2, "heads": 2, **keys}
    )
    for p in [*model.net.parameters(), *model.start.parameters()]:
        p.data.add_(0.3 * torch.randn(p.shape))
    return model.eval()


def codes_of(model, n=3, seed=0):
    return torch.randint(model.codes, (n, model.length), generator=gen(seed))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("inner", [tokenizer, levels])
def test_no_code_sees_itself_or_the_future(mode, inner):
    model = prior(inner(), dropout=0.0).train(mode == "train")
    codes = codes_of(model)
    x = (
        torch.cat([model.start(torch.tensor([0, 0, 0]))[:, None], model.net.embed(codes[:, :-1])], 1)
        .detach()
        .requires_grad_(True)
    )
    logits = model.net(x)
    for t in range(model.length):
        (g,) = torch.autograd.grad(logits[:, t].square().sum(), x, retain_graph=True)
        size = g.abs().sum((0, 2))  # input t + 1 is code t
        assert (size[t + 1 :] == 0).all()
        assert (size[: t + 1] > 0).all()


def test_every_position_of_every_level_reads_its_own_table_and_head():
    model = prior(levels())
    codes = torch.zeros(1, model.length, dtype=torch.long)
    embedded = model.net.embed(codes)
    assert torch.equal(embedded[0, 0], model.net.code.weight[0])
    assert torch.equal(embedded[0, -1], model.net.code.weight[6])
    with torch.no_grad():
        model.net.heads[1].bias[2] += 50
    nats = model._nats(codes + 2, torch.tensor([0]))
    assert (nats[0, 4:] < 1e-3).all()
    assert (nats[0, :4] > 1e-3).any()


@pytest.mark.parametrize("label", [None, 1])
def test_probabilities_of_all_sequences_sum_to_one(label):
    inner = VQVAE(shape=(1, 4, 4), codes=3, dim=2, width=4, blocks=1, halvings=1)
    model = prior(inner, classes=2 if label else 0)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    assert math.isclose(model.code_log_prob(every, label).double().exp().sum().item(), 1, abs_tol=1e-5)


def test_log_prob_of_codes_is_the_product_of_conditionals_read_one_by_one():
    model = prior(classes=3)
    codes, label = codes_of(model, 2), torch.tensor([2, 0])
    total, x, walk = torch.zeros(2), model.start(label), TokenWalk(model.net, 2)
    with torch.no_grad():
        for t in range(model.length):
            total += walk.next(x).log_softmax(-1).gather(1, codes[:, t : t + 1])[:, 0]
            x = walk.embed(codes[:, t])
    assert torch.allclose(model.code_log_prob(codes, label), total, atol=1e-4)
    assert not torch.allclose(
        model.code_log_prob(codes, label), model.code_log_prob(codes, torch.tensor([1, 1])), atol=1e-2
    )


@pytest.mark.parametrize("inner", [tokenizer, levels])
def test_the_logits_of_the_walk_are_those_of_the_parallel_pass(inner):
    model = prior(inner(), classes=3).double()
    with torch.no_grad():
        for p in model.net.parameters():  # livelier than at the start, biases among them
            torch.nn.init.normal_(p, std=0.3)
        codes, x = codes_of(model, 3), model.start(torch.tensor([2, 0, 3]))
        whole = model.net(torch.cat([x[:, None], model.net.embed(codes[:, :-1])], 1))
        walk, apart = TokenWalk(model.net, 3), 0.0
        for t in range(model.length):
            apart = max(apart, float((walk.next(x) - whole[:, t]).abs().max()))
            x = walk.embed(codes[:, t])
    assert whole.std() > 0.3
    assert apart < 1e-10


def test_the_loss_is_the_mean_nats_of_a_code_of_either_class_or_none():
    model = prior(classes=3, class_dropout=0.0, dropout=0.0)
    batch = {"codes": codes_of(model, 4), "label": torch.tensor([0, 1, 2, 1])}
    wanted = -model.code_log_prob(batch["codes"], batch["label"]).mean() / model.length
    assert torch.allclose(model.loss(batch)["loss"], wanted, atol=1e-5)
    half = prior(classes=3, class_dropout=0.5, dropout=0.0)
    torch.manual_seed(0)
    hidden = torch.rand(4) < 0.5
    assert 0 < hidden.sum() < 4
    torch.manual_seed(0)
    wanted = -half.code_log_prob(batch["codes"], torch.where(hidden, 0, batch["label"]))
    none = -half.code_log_prob(batch["codes"])
    wanted = torch.where(hidden, none, wanted).mean() / model.length
    assert torch.allclose(half.loss(batch)["loss"], wanted, atol=1e-5)


def test_bits_of_levels_average_to_the_bits_of_all():
    model = prior(levels(), dropout=0.0)
    logs = model.loss({"codes": codes_of(model)})
    assert torch.allclose((4 * logs["bits_level_1"] + 16 * logs["bits_level_2"]) / 20, logs["bits_per_code"])
    assert torch.allclose(logs["loss"] / math.log(2), logs["bits_per_code"])


@pytest.mark.parametrize("keys", [{}, {"label": 1, "guidance": 2.5}, {"top_k": 5, "top_p": 0.95, "temperature": 3.0}])
@pytest.mark.parametrize("inner", [tokenizer, levels])
def test_cached_drawing_is_uncached_drawing_code_for_code(keys, inner):
    model = prior(inner(), classes=3)
    label = torch.full((4,), keys.get("label", 3))
    rest = {k: v for k, v in keys.items() if k != "label"}
    zero = torch.zeros(4, model.length, dtype=torch.long)
    a, b = (model.complete_codes(zero, zero.bool(), label, generator=gen(5), cached=c, **rest) for c in (True, False))
    assert torch.equal(a, b)
    assert len(a.unique()) > 2
    assert torch.equal(*(model.sample(3, generator=gen(1), cached=c, **keys) for c in (True, False)))


def test_drawn_codes_have_the_models_frequencies():
    inner = VQVAE(shape=(1, 2, 4), codes=3, dim=2, width=4, blocks=1, halvings=1)
    model = prior(inner)
    n = 20000
    zero = torch.zeros(n, 2, dtype=torch.long)
    drawn = model.complete_codes(zero, zero.bool(), torch.zeros(n, dtype=torch.long), generator=gen())
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    p = model.code_log_prob(every).exp()
    counts = torch.stack([(drawn == row).all(1).float().mean() for row in every])
    assert (counts - p).abs().max() < 4 * math.sqrt(0.25 / n)


def test_top_k_and_top_p_by_brute_force():
    """top_p acts with and without top_k, and 1 is off."""
    logits = torch.randn(50, 9, generator=gen()) * 2
    p = logits.softmax(-1)
    for k, top_p in ((None, 1.0), (3, 1.0), (None, 0.6), (4, 0.5), (1, 1.0), (9, 0.999)):
        found = choices(logits, k, top_p)
        for row, got in zip(p.tolist(), found.tolist(), strict=True):
            ranked = sorted(range(9), key=lambda i: -row[i])[: k or 9]
            mass = sum(row[i] for i in ranked)
            kept, total = [], 0.0
            for i in ranked:
                if total >= top_p:
                    break
                kept.append(i)
                total += row[i] / mass
            expected = [row[i] / mass / total if i in kept else 0.0 for i in range(9)]
            assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(got, expected, strict=True))


def test_top_p_keeps_the_likeliest_even_where_it_alone_is_more():
    assert torch.equal(choices(torch.tensor([[5.0, 0.0, 0.0]]), None, 0.01), torch.tensor([[1.0, 0.0, 0.0]]))
    assert (choices(torch.zeros(1, 4), 2) > 0).sum() == 2  # ties do not widen the choice


def test_nothing_of_probability_zero_is_picked_at_either_end():
    p = torch.tensor([[0.0, 0.5, 0.5, 0.0]]).repeat(3, 1)
    assert pick_from(torch.tensor([0.0, 0.5, 1 - 2**-24]), p).tolist() == [1, 2, 2]


def test_guidance_of_one_is_none_and_of_zero_is_the_model_without_class():
    model = prior(classes=3)
    zero = torch.zeros(6, model.length, dtype=torch.long)
    label = torch.tensor([0, 1, 2, 0, 1, 2])

    def draw(label, **keys):
        return model.complete_codes(zero, zero.bool(), label, generator=gen(2), **keys)

    assert torch.equal(draw(label, guidance=1.0), draw(label))
    assert torch.equal(draw(label, guidance=0.0), draw(torch.full((6,), 3)))
    assert not torch.equal(draw(label, guidance=4.0), draw(label))


def test_guidance_by_hand_at_the_first_code():
    model = prior(classes=3)
    with torch.no_grad():
        c, u = (model.net(model.start(torch.tensor([i]))[:, None])[0, 0] for i in (1, 3))
    zero = torch.zeros(4000, model.length, dtype=torch.long)
    kept = torch.ones_like(zero, dtype=torch.bool)
    kept[:, 0] = False
    drawn = model.complete_codes(zero, kept, torch.ones(4000, dtype=torch.long), generator=gen(), guidance=3.0)
    frequency = torch.bincount(drawn[:, 0], minlength=8) / 4000
    assert (frequency - (u + 3 * (c - u)).softmax(-1)).abs().max() < 0.04


def test_completion_keeps_what_is_kept_and_what_comes_after_depends_on_it():
    model = prior()
    codes = codes_of(model, 5)
    kept = torch.rand(5, model.length, generator=gen(3)) < 0.5
    none = torch.zeros(5, dtype=torch.long)
    drawn = model.complete_codes(codes, kept, none, generator=gen(1))
    assert torch.equal(drawn[kept], codes[kept])
    assert not torch.equal(drawn[~kept], codes[~kept])
    other = torch.where(kept, (codes + 1) % 8, codes)
    again = model.complete_codes(other, kept, none, generator=gen(1))
    assert not torch.equal(drawn[~kept], again[~kept])
    assert torch.equal(model.complete_codes(codes, torch.ones_like(kept), none, generator=gen()), codes)


def test_a_code_is_kept_only_where_all_its_pixels_are_known():
    known = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    known[0, 0, 5, 2] = False
    grid = TokenPrior._cells(known, (4, 4)).view(4, 4)
    assert not grid[2, 1]
    assert grid.sum() == 15
    deep = TokenPrior._cells(known, (4, 4, 3)).view(4, 4, 3)
    assert torch.equal(deep, grid[:, :, None].expand(4, 4, 3))
    model = prior()
    x = torch.rand(2, 1, 8, 8, generator=gen()) * 2 - 1
    hidden = x.clone()
    hidden[:, 0, 5, 2] = 0.77
    a, b = (model.complete(v, known.expand(2, -1, -1, -1), generator=gen()) for v in (x, hidden))
    assert torch.equal(a, b), "unknown pixels are not read"


def test_the_bound_on_an_image_is_prior_plus_decoder():
    model = prior()
    x = torch.rand(3, 1, 8, 8, generator=gen()) * 2 - 1
    codes = model.tokenizer.tokenize(x)
    assert torch.allclose(model.log_prob(x), model.code_log_prob(codes) + model.tokenizer.log_likelihood(x, codes))


def test_the_tokenizer_is_frozen_and_never_trains():
    model = prior().train()
    before = {k: v.clone() for k, v in model.tokenizer.state_dict().items()}
    assert not model.tokenizer.training
    optimizer = model.optimizers()["model"]
    for seed in range(3):
        model.train().loss({"image": torch.rand(4, 1, 8, 8, generator=gen(seed)) * 2 - 1})["loss"].backward()
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in model.tokenizer.state_dict().items())
    owned = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert not owned & {id(p) for p in model.tokenizer.parameters()}


def test_it_learns_a_pattern_of_codes():
    torch.manual_seed(0)
    model = TokenPrior((1, 8, 8), tokenizer=tokenizer(), width=32, depth=2, heads=2, dropout=0.0, lr=1e-2)
    optimizer = model.optimizers()["model"]
    codes = torch.arange(model.length).remainder(8).repeat(8, 1)
    codes = (codes + torch.arange(8)[:, None]) % 8  # the first code decides all others
    for _ in range(80):
        loss = model.train().loss({"codes": codes})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.5 * math.log(8) / model.length
    drawn = model.eval().complete_codes(
        codes[:2] * 0, torch.zeros(2, model.length, dtype=torch.bool), torch.zeros(2, dtype=torch.long), generator=gen()
    )
    assert ((drawn.diff(dim=1) % 8) == 1).float().mean() > 0.9


def test_mistakes_are_told():
    with pytest.raises(UserError, match="tokenizer=runs"):
        TokenPrior(shape=(1, 8, 8))
    with pytest.raises(UserError, match=r"takes a system that tokenizes, not runs/vqvae; .*genzoo\.load"):
        TokenPrior(shape=(1, 8, 8), tokenizer="runs/vqvae")
    with pytest.raises(UserError, match="1x8x8"):
        TokenPrior(shape=(3, 8, 8), tokenizer=tokenizer())
    with pytest.raises(UserError, match="multiple of heads"):
        prior(width=10, heads=4)
    with pytest.raises(UserError, match="without labels"):
        prior().sample(1, generator=gen(), label=0)
    with pytest.raises(UserError, match="0 to 2"):
        prior(classes=3).sample(1, generator=gen(), label=3)
    strict = prior(classes=3, class_dropout=0.0)
    assert strict.sample(1, generator=gen()).shape == (1, 1, 8, 8)
    with pytest.raises(UserError, match="class_dropout"):
        strict.sample(1, generator=gen(), label=0, guidance=2.0)
    with pytest.raises(UserError, match="class_dropout"):
        strict.log_prob(torch.zeros(1, 1, 8, 8))


# ---- captions ----------------------------------------------------------------------------------------------------------------------

WORDS = ("a", "red", "blue", "circle")


def told(encoder="gru", **keys):
    return prior(vocabulary=WORDS, encoder=encoder, length=4, **keys)


def test_a_caption_stands_before_the_first_code_and_a_missing_one_is_none():
    model = told(class_dropout=0.0, dropout=0.0)
    codes, caption = codes_of(model, 3), torch.tensor([[2, 3], [2, 4], [0, 0]])
    start = model._start(model._labels(None, 3), model.text(caption))
    assert torch.allclose(start[:, 0], model.start.weight[0] + model.say(model.text(caption)))
    logs = model.loss({"codes": codes, "caption": caption})
    alone = [model._nats(codes[i : i + 1], model._labels(None, 1), model.text(caption[i : i + 1])) for i in (0, 1)]
    silent = model._nats(codes[2:], model._labels(None, 1))
    assert torch.allclose(logs["loss"], torch.cat([*alone, silent]).mean(), atol=1e-5)
    hidden = told(class_dropout=0.999999, dropout=0.0)
    plain = hidden._nats(codes, hidden._labels(None, 3)).mean()
    assert torch.allclose(hidden.loss({"codes": codes, "caption": caption})["loss"], plain, atol=1e-5)


def test_the_encoder_learns_with_the_prior():
    model = told()
    owned = {id(p) for g in model.optimizers()["model"].param_groups for p in g["params"]}
    assert {id(p) for p in model.parameters() if p.requires_grad} == owned
    model.loss({"codes": codes_of(model, 4), "caption": torch.tensor([[2, 3]] * 4)})["loss"].backward()
    assert model.text.encoder.table.weight.grad[1].abs().sum() > 0


def test_prompts_are_obeyed_cached_and_guided():
    model = told().eval()
    first, second = (model.sample(3, generator=gen(), prompt=p) for p in ("a red circle", "a blue circle"))
    assert not torch.equal(first, second)
    assert torch.equal(first, model.sample(3, generator=gen(), prompt="a red circle", cached=False))
    zero = torch.zeros(2, model.length, dtype=torch.long)
    keys = {"generator": gen(), "sentence": model._told("a red circle", 2)}
    no_class = model._labels(None, 2)
    nothing = model.complete_codes(zero, zero.bool(), no_class, generator=gen())
    assert torch.equal(model.complete_codes(zero, zero.bool(), no_class, guidance=0.0, **keys), nothing)
    for cached in (True, False):
        x = model.sample(2, generator=gen(), prompt="a red circle", guidance=3.0, cached=cached)
        assert torch.equal(x, model.sample(2, generator=gen(), prompt="a red circle", guidance=3.0))
    assert model.sample(2, generator=gen()).shape == first[:2].shape


def test_prompts_that_cannot_be_read_are_refused():
    assert told().unread("a green circle") == ["green"]
    with pytest.raises(UserError, match="takes no prompt"):
        prior().sample(1, generator=gen(), prompt="a red circle")
    with pytest.raises(UserError, match="prompt is empty"):
        told().sample(1, generator=gen(), prompt=" ")
    strict = told(class_dropout=0.0)
    strict.sample(1, generator=gen(), prompt="red")
    for refused in (
        lambda: strict.code_log_prob(codes_of(strict, 1)),
        lambda: strict.sample(1, generator=gen(), prompt="red", guidance=2.0),
    ):
        with pytest.raises(UserError, match="without its caption"):
            refused()
