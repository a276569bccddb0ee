"""Video GAN: two streams and a mask, what is static and what moves, the first frame."""

import pytest
import torch

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.adversarial.video_gan import KEPT, VideoGAN
from genzoo.nn.gan.volumetric import Discriminator3d, Synthesis3d, strides
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater

TINY = {"shape": (3, 4, 8, 8), "latent": 4, "width": 4}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def built(**more):
    torch.manual_seed(0)
    return VideoGAN(**{**TINY, **more}).eval()


def spread(system):
    """Wider weights: those of a fresh net make everything nearly the same."""
    with torch.no_grad():
        for p in system.parameters():
            if p.ndim > 1:
                p.mul_(20)
    return system


def test_the_clip_is_the_blend_of_its_streams():
    system = spread(built())
    z = system.sample_prior(5, generator=gen())
    clip, mask, front, back = system.streams(z)
    assert clip.shape == front.shape == (5, 3, 4, 8, 8)
    assert mask.shape == (5, 1, 4, 8, 8)
    assert back.shape == (5, 3, 1, 8, 8), "one image for all times"
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert torch.equal(clip, mask * front + (1 - mask) * back)
    assert torch.equal(clip, system.decode(z))
    assert mask.std() > 0.01
    assert front[:, :, 0].sub(front[:, :, -1]).abs().max() > 0.01


def test_where_the_mask_is_nought_the_background_stands_still_to_the_last_bit():
    system = spread(built())
    with torch.no_grad():
        system.G.moving.out.bias[-1] = -1e4
    clip, mask, _, back = system.streams(system.sample_prior(3, generator=gen()))
    assert not mask.any()
    assert torch.equal(clip, back.expand_as(clip))
    assert torch.equal(clip[:, :, 0], clip[:, :, -1])
    with torch.no_grad():
        system.G.moving.out.bias[-1] = 1e4
    clip, mask, front, _ = system.streams(system.sample_prior(3, generator=gen()))
    assert (mask == 1).all()
    assert torch.equal(clip, front)


def test_the_mask_cuts_both_streams_gradients():
    """d clip / d background is 1 - m and d clip / d foreground is m, through the net as well."""
    system = spread(built())
    with torch.no_grad():
        system.G.moving.out.bias[-1] = -1e4
    system.G(torch.randn(2, 4))[0].sum().backward()
    assert not system.G.moving.out.weight.grad.any(), "nothing reaches the foreground where it is not seen"
    assert system.G.still.project.weight.grad.abs().sum() > 0


class Recorded:
    """An update that keeps the losses."""

    step, steps, progress = 0, 1, 0.0

    def __init__(self):
        self.losses = {}

    def __call__(self, name, loss):
        self.losses[name] = loss


def test_the_generators_loss_has_the_masks_mean_and_the_gradient_reaches_every_part():
    batch = {"video": torch.rand(4, 3, 4, 8, 8, generator=gen()) * 2 - 1}
    found = {}
    for weight in (0.0, 2.0):
        system, update = built(sparsity=weight).train(), Recorded()
        torch.manual_seed(1)
        logs = system.training_step(batch, update)
        found[weight] = update.losses["g"]
        grads = torch.autograd.grad(update.losses["g"], [*system.G.parameters()])
        assert all(g.abs().sum() > 0 for g in grads)
        assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake", "mask"}
    assert (found[2.0] - found[0.0]).item() == pytest.approx(2 * logs["mask"].item(), abs=1e-5)
    d = torch.autograd.grad(update.losses["d"], [*system.D.parameters()])
    assert all(g.abs().sum() > 0 for g in d)


def test_the_discriminator_has_no_gradient_into_the_generator():
    system, update = built().train(), Recorded()
    system.training_step({"video": torch.zeros(2, 3, 4, 8, 8)}, update)
    grads = torch.autograd.grad(update.losses["d"], [*system.G.parameters()], allow_unused=True)
    assert all(g is None for g in grads)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((32, 64, 64), [(2, 2, 2)] * 4),
        ((16, 32, 32), [(2, 2, 2)] * 3),
        ((4, 64, 64), [(1, 2, 2)] * 3 + [(2, 2, 2)]),
        ((2, 8, 8), [(1, 2, 2)]),
    ],
)
def test_doublings_start_from_four_pixels_and_two_frames(size, wanted):
    assert strides(size) == wanted


@pytest.mark.parametrize("size", [(2, 8, 8), (5, 8, 11), (7, 20, 16), (3, 17, 30)])
def test_every_size_is_made_and_judged(size):
    net, judge = Synthesis3d(size, 4, 4, 2), Discriminator3d(size, 2, 4)
    made = net(torch.randn(2, 4))
    assert made.shape == (2, 2, *size)
    assert judge(made).shape == (2,)


def test_the_papers_nets():
    """512-256-128-64 channels from 2 x 4 x 4, five layers of each net with the projection and the verdict."""
    system = VideoGAN()
    assert system.G.moving.start == (512, 2, 4, 4)
    channels = [m.out_channels for m in system.G.moving.modules() if isinstance(m, torch.nn.ConvTranspose3d)]
    assert channels == [256, 128, 64, 4], "three colours and the mask"
    assert [b[0].out_channels for b in system.D.blocks] == [64, 128, 256, 512]
    assert system.sparsity == 0.1


def conditional(**more):
    system = built(conditional=True, **more)
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    x = torch.rand(40, 3, 4, 8, 8, generator=gen(1)) * 2 - 1
    for step in range(3):
        update.begin(step, 3)
        logs = system.train().training_step({"video": x}, update)
        update.end()
    return system.eval(), x, logs


def test_a_conditional_model_goes_on_from_a_frame_and_samples_from_frames_that_it_has_seen():
    system, x, logs = conditional()
    assert int(system.kept) == KEPT
    assert torch.equal(system.firsts[:40], x[:, :, 0])
    assert torch.equal(system.firsts[40:], x[: KEPT - 40, :, 0])
    clips = system.animate(x[:3, :, 0])
    assert clips.shape == (3, 3, 4, 8, 8)
    assert torch.equal(clips, system.decode(system.E(x[:3, :, 0])))
    every = system.animate(system.firsts)
    sample = system.sample(4, generator=gen())
    distance = (sample[:, None] - every[None]).abs().flatten(2).amax(2).amin(1)
    assert distance.max() < 1e-5, "every sample is the animation of a frame that was kept"
    assert logs["first_error"] > 0


def test_the_first_frame_is_learned():
    """With the first frame's error alone the error falls; with none of it the encoder has no such pull."""
    torch.manual_seed(0)
    x = torch.zeros(8, 1, 4, 8, 8)
    x[::2, :, :, :4], x[1::2, :, :, :, :4] = 0.9, -0.9
    errors = []
    system = VideoGAN(shape=(1, 4, 8, 8), latent=4, width=8, conditional=True, first_weight=100.0, lr=3e-3).train()
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    for step in range(60):
        update.begin(step, 60)
        errors.append(system.training_step({"video": x}, update)["first_error"].item())
        update.end()
    assert errors[-1] < 0.35 * errors[0]


def test_without_first_frames_it_says_so(tmp_path):
    with pytest.raises(UserError, match="conditional=true"):
        built().animate(torch.zeros(1, 3, 8, 8))
    system, x, _ = conditional()
    with pytest.raises(UserError, match="3x8x8"):
        genzoo.animate(system, torch.zeros(1, 1, 8, 8))
    assert torch.equal(genzoo.animate(system, x[:2, :, 0]), system.animate(x[:2, :, 0]))


def test_wrong_shapes_are_refused_with_the_sizes_that_work():
    for shape in ((3, 1, 8, 8), (3, 4, 4, 8), (3, 4, 8, 512)):
        with pytest.raises(UserError, match="8 to 256"):
            VideoGAN(shape=shape)


def test_what_it_can_do():
    assert set(capabilities(VideoGAN)) == {"samples", "decodes", "animates", "judges"}
