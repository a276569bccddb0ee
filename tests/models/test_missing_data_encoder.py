"""Missing data encoder: fragments, planes, hide and seek, completion, extrapolation and colourization from one model."""

import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.losses.perceptual import feature_distance
from genzoo.metrics.maths.outliers import auroc
from genzoo.models.translation.missing_data_encoder import MissingDataEncoder, _auroc
from genzoo.naming.registry import create
from genzoo.nn.colour import fade_to_fit, luma, rgb_to_ycc, ycc_to_rgb
from genzoo.saved.loading import build
from tests.models.test_srgan import Update, photo

TINY = {"shape": (3, 16, 16), "width": 8, "d_width": 4, "perceptual": "none"}
CPU = torch.device("cpu")


# ---- fragments -----------------------------------------------------------------------------------------------------------------


def test_fragments_are_drawn_for_every_channel_by_itself():
    torch.manual_seed(0)
    known = create("mde-channel-wise", **TINY).draw_known(1000, 0, CPU)
    assert known.shape == (1000, 3, 16, 16)
    assert known.dtype == torch.bool
    assert known.flatten(1).any(1).all(), "something is known of every image"
    share = known.flatten(2).float().mean(2)
    luma_alone = (share[:, 0] == 1) & (share[:, 1:] == 0).all(1)
    assert 0.15 < luma_alone.float().mean() < 0.25
    assert torch.corrcoef(share[~luma_alone].T).triu(1).abs().max() < 0.12
    assert 0.4 < share.mean() < 0.6
    assert (known.float().mean((0, 1)) > 0.2).all()


def test_a_fragment_is_a_rectangle_or_all_but_one():
    torch.manual_seed(0)
    known = MissingDataEncoder(**TINY).draw_known(200, 80, CPU).flatten(0, 1)
    for m in known:
        inside = m if m[0, 0] == 0 and m[-1, -1] == 0 and m[0, -1] == 0 and m[-1, 0] == 0 else ~m
        rows, columns = inside.any(1), inside.any(0)
        box = rows[:, None] & columns[None, :]
        other = ~inside
        filled = torch.equal(inside, box)
        assert filled or torch.equal(other, other.any(1)[:, None] & other.any(0)[None, :])


def test_shared_fragments_are_the_same_in_all_channels():
    torch.manual_seed(0)
    system = create("mde-shared", **TINY)
    assert system.whole_pixels == 1
    known = system.draw_known(50, 50, CPU)
    assert torch.equal(known[:, 0], known[:, 1])
    assert torch.equal(known[:, 0], known[:, 2])
    assert known.flatten(1).any(1).all()
    assert (~known).flatten(1).any(1).float().mean() > 0.9


def test_some_images_lose_whole_pixels_and_luma_alone_stays_as_frequent():
    torch.manual_seed(0)
    system = MissingDataEncoder(**TINY, whole_pixels=0.4)
    known = system.draw_known(1000, 400, CPU)
    alike = (known == known[:, :1]).flatten(1).all(1)
    assert alike[:400].all()
    assert alike[400:].float().mean() < 0.05
    shares = known[:400].flatten(1).float().mean(1)
    assert ((shares > 0) & (shares < 1)).float().mean() > 0.99, "no such image is known, or missing, as a whole"
    share = known.flatten(2).float().mean(2)
    assert 0.16 < ((share[:, 0] == 1) & (share[:, 1:] == 0).all(1)).float().mean() < 0.24
    assert known.flatten(1).any(1).all()


def test_old_files_keep_their_masks_and_their_rate():
    system = build({"system": "missing-data-encoder", "hparams": {**TINY, "lr": 3e-4, "fragments": "channel-wise"}})
    assert system.whole_pixels == 0
    assert system.optimizers()["d"].param_groups[0]["lr"] == 3e-4
    assert create("missing-data-encoder", **TINY, d_lr=2e-3).optimizers()["d"].param_groups[0]["lr"] == 2e-3


# ---- planes --------------------------------------------------------------------------------------------------------------------


def test_planes_are_luma_and_two_differences_and_can_be_undone():
    x = torch.rand(2, 3, 5, 7) * 2 - 1
    planes = rgb_to_ycc(x)
    assert planes.abs().max() <= 1 + 1e-6
    assert torch.allclose(ycc_to_rgb(planes), x, atol=1e-5)
    gray = torch.full((1, 3, 2, 2), 0.4)
    assert torch.allclose(rgb_to_ycc(gray)[:, 1:], torch.zeros(1, 2, 2, 2), atol=1e-6)
    red = rgb_to_ycc(torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1))
    assert red.flatten().tolist() == pytest.approx([2 * 0.299 - 1, -2 * 0.299 / 1.772, 1.0], abs=1e-6)


def test_luma_stays_where_a_colour_does_not_exist():
    torch.manual_seed(0)
    y, differences = torch.rand(1, 1, 20, 20) * 2 - 1, torch.rand(1, 2, 20, 20) * 2 - 1
    x = fade_to_fit(y, differences)
    assert x.abs().max() <= 1
    assert torch.allclose(luma(x), y, atol=1e-5)
    assert (ycc_to_rgb(torch.cat([y, differences], 1)).abs() > 1).any(), "the test has colours that do not exist"
    pale = 0.1 * differences * (1 - y.abs())
    assert torch.allclose(fade_to_fit(y, pale), ycc_to_rgb(torch.cat([y, pale], 1)), atol=1e-5)


# ---- learning ------------------------------------------------------------------------------------------------------------------


def test_objective_by_hand():
    torch.manual_seed(0)
    system = MissingDataEncoder(**{**TINY, "perceptual": "vgg16-random"}, adversarial=0.3, perceptual_weight=0.2)
    image, update = photo(), Update(system)
    torch.manual_seed(5)
    whole = int(system.whole_pixels * 2 + float(torch.rand(())))
    known = system.draw_known(2, whole, CPU)
    assert whole == 1
    with torch.no_grad():
        x = rgb_to_ycc(image)
        y = system.fill(x, known)
        made = torch.where(known, x, y)
        logits = system.D(made)
        d = F.binary_cross_entropy_with_logits(logits, known.float())
        seen = feature_distance(system.features(ycc_to_rgb(y)), system.features(image), relative=True).mean()
        completion = (y - x).abs().mean()
    torch.manual_seed(5)
    logs = system.training_step({"image": image}, update)
    assert [name for name, _ in update.calls] == ["d", "g"]
    assert update.calls[0][1] == pytest.approx(d.item(), rel=1e-4)
    with torch.no_grad():  # the generator is scored by the seeker that has just moved
        hides = -system.D(made).sigmoid().log()[~known].mean()
    assert logs["g_hides"] == pytest.approx(hides.item(), rel=1e-3)
    wanted = completion + 0.2 * seen + 0.3 * hides
    assert update.calls[1][1] == pytest.approx(wanted.item(), rel=1e-3)
    score = logits[:1].mean(1, keepdim=True)
    seen = auroc(-score[known[:1, :1]], -score[~known[:1, :1]])
    assert logs["seeker_auroc"] == pytest.approx(seen, abs=1e-5)


def test_how_well_the_seeker_finds_whole_pixels():
    torch.manual_seed(0)
    score, known = torch.randn(3, 40, 40).mul(2).round(), torch.rand(3, 40, 40) < 0.3
    assert _auroc(score, known) == pytest.approx(auroc(-score[known], -score[~known]), abs=1e-5), "with ties"
    assert _auroc(known.float(), known) == 1
    assert _auroc(score, torch.ones_like(known)).isnan(), "nothing is missing: there is no answer"
    system = create("mde-channel-wise", **TINY)
    assert "seeker_auroc" not in system.training_step({"image": photo()}, Update(system))


def test_a_seeker_of_whole_pixels_finds_them():
    """What the masks of whole pixels are for: on noise beside gray the seeker is right in some steps, and without them it never saw such holes."""
    torch.manual_seed(0)
    system = MissingDataEncoder(**TINY, whole_pixels=1.0, d_lr=1e-2)
    update, found = Update(system), []
    for _ in range(30):
        logs = system.training_step({"image": torch.rand(8, 3, 16, 16) * 2 - 1}, update)
        found.append(float(logs["seeker_auroc"]))
    assert sum(found[-5:]) / 5 > 0.9


def test_the_generator_cannot_see_what_is_missing():
    torch.manual_seed(0)
    system = MissingDataEncoder(**TINY)
    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    known = system.draw_known(2, 1, CPU)
    system.fill(x, known).sum().backward()
    assert (x.grad[~known] == 0).all()
    assert (x.grad[known] != 0).any()


def test_hiding_moves_what_was_made_and_nothing_that_was_known():
    torch.manual_seed(0)
    system = MissingDataEncoder(**TINY)
    known = system.draw_known(2, 1, CPU)
    y = torch.randn(2, 3, 16, 16, requires_grad=True)
    made = torch.where(known, torch.randn(2, 3, 16, 16), y)
    (F.softplus(-system.D(made)) * ~known).sum().backward()
    assert (y.grad[known] == 0).all()
    assert (y.grad[~known] != 0).any()


def test_without_adversary_it_learns_to_complete():
    torch.manual_seed(0)
    system = create("mde-no-adversary", **TINY, lr=3e-3)
    assert system.D is None
    update = Update(system)
    errors = [float(system.training_step({"image": photo(i % 3, n=8)}, update)["missing_error"]) for i in range(40)]
    assert sum(errors[-5:]) < 0.7 * sum(errors[:5])


# ---- using ---------------------------------------------------------------------------------------------------------------------


def test_one_model_fills_extrapolates_and_colours():
    torch.manual_seed(0)
    system = MissingDataEncoder(**TINY).eval()
    x = photo()
    centre = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    centre[..., 4:12, 4:12] = True
    for known in (centre, ~centre):
        y = genzoo.complete(system, x, known)
        assert torch.equal(y[known.expand_as(x)], x[known.expand_as(x)])
        other = torch.where(known, x, torch.zeros(()))
        assert torch.allclose(genzoo.complete(system, other, known), y, atol=1e-6)
    coloured = genzoo.translate(system, luma(x))
    assert coloured.shape == x.shape
    assert torch.allclose(luma(coloured), luma(x), atol=1e-4)
    assert torch.allclose(genzoo.translate(system, x), coloured, atol=1e-5), "colours that are given are not looked at"
    assert genzoo.translate(system, photo(shape=(3, 23, 40), n=1)).shape == (1, 3, 23, 40)
    assert (coloured - luma(x)).abs().max() > 0.01


def test_gray_images_are_completed_and_not_coloured():
    torch.manual_seed(0)
    system = MissingDataEncoder(**{**TINY, "shape": (1, 16, 16)}).eval()
    assert system.directions == ()
    with pytest.raises(UserError, match="trained on gray images"):
        genzoo.translate(system, photo(shape=(1, 16, 16)))
    with pytest.raises(UserError, match="trained on gray images"):
        system.translate(photo(shape=(1, 16, 16)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shape": (3, 20, 18)}, "multiples of 4"),
        ({"shape": (2, 16, 16)}, "channels"),
        ({"shape": (3, 4, 4)}, "from 8 on"),
    ],
)
def test_what_is_not_possible_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        MissingDataEncoder(**{**TINY, **keys})
    system = MissingDataEncoder(**TINY).eval()
    with pytest.raises(UserError, match="covers the whole image"):
        genzoo.complete(system, photo(), torch.zeros(16, 16, dtype=torch.bool))
    with pytest.raises(UserError, match=r"weights of vgg16 are missing.*perceptual=none \(preset mde-no-features\)"):
        MissingDataEncoder(**{**TINY, "perceptual": "vgg16"}).optimizers()
