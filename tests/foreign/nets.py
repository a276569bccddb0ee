"""Networks of other programs, stated again with their names: each takes its tensors by name and says with it what shape they have."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


class Weights(dict):
    """Random tensors by name, made where a network first asks for them: the file that the other program would write."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, name, *shape, around=0.0, spread=None):
        if name not in self:
            fan = math.prod(shape[1:]) or 1
            spread = (1 / math.sqrt(fan) if len(shape) > 1 else 0.3) if spread is None else spread
            self[name] = around + spread * torch.randn(shape, generator=self.generator)
        assert self[name].shape == shape, name
        return self[name]

    def conv(self, x, name, outputs, kernel, *, bias=True, **options):
        w = self(f"{name}.weight", outputs, x.shape[1], kernel, kernel)
        return F.conv2d(x, w, self(f"{name}.bias", outputs) if bias else None, **options)

    def up(self, x, name, outputs, kernel, *, bias=True, **options):
        w = self(f"{name}.weight", x.shape[1], outputs, kernel, kernel)
        return F.conv_transpose2d(x, w, self(f"{name}.bias", outputs) if bias else None, **options)

    def batch_norm(self, x, name, *, own=False):
        c = x.shape[1]
        w, b = self(f"{name}.weight", c, around=1.0), self(f"{name}.bias", c)
        mean, var = self(f"{name}.running_mean", c), self(f"{name}.running_var", c, around=1.0, spread=0.1)
        self.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        return F.batch_norm(x, None, None, w, b, True) if own else F.batch_norm(x, mean, var, w, b)

    def instance_norm(self, x, name):
        c = x.shape[1]
        return F.instance_norm(x, weight=self(f"{name}.weight", c, around=1.0), bias=self(f"{name}.bias", c))

    def group_norm(self, x, name):
        c = x.shape[1]
        return F.group_norm(x, 32, self(f"{name}.weight", c, around=1.0), self(f"{name}.bias", c), 1e-6)


# ---- DCGAN ----------------------------------------------------------------------------------------------------------------------


def dcgan_generator(w, z, width, channels):
    x = F.relu(w.batch_norm(w.up(z[:, :, None, None], "main.0", 8 * width, 4, bias=False), "main.1"))
    for i, k in enumerate((4, 2, 1)):
        x = w.up(x, f"main.{3 + 3 * i}", k * width, 4, bias=False, stride=2, padding=1)
        x = F.relu(w.batch_norm(x, f"main.{4 + 3 * i}"))
    return torch.tanh(w.up(x, "main.12", channels, 4, bias=False, stride=2, padding=1))


def dcgan_discriminator(w, x, width):
    x = F.leaky_relu(w.conv(x, "main.0", width, 4, bias=False, stride=2, padding=1), 0.2)
    for i, k in enumerate((2, 4, 8)):
        x = w.conv(x, f"main.{2 + 3 * i}", k * width, 4, bias=False, stride=2, padding=1)
        x = F.leaky_relu(w.batch_norm(x, f"main.{3 + 3 * i}"), 0.2)
    return torch.sigmoid(w.conv(x, "main.11", 1, 4, bias=False)).flatten()


def omniart_generator(w, z, y, width):
    x = w.up(torch.cat([z, y], 1)[:, :, None, None], "main.0", 16 * width, 4, bias=False)
    x = F.relu(w.batch_norm(x, "main.1"))
    for i, k in enumerate((8, 4, 2, 1)):
        x = w.up(x, f"main.{4 + 3 * i}", k * width, 4, bias=False, stride=2, padding=1)
        x = F.relu(w.batch_norm(x, f"main.{5 + 3 * i}"))
    return torch.tanh(w.up(x, "main.16", 3, 4, bias=False, stride=2, padding=1))


# ---- translation ----------------------------------------------------------------------------------------------------------------


def resnet(
    w, x, width, blocks, *, halvings=2, channels=3, root="model", second=5, end=True, block="conv_block", affine=False
):
    """A ResNet of translation with instance norm; `second` is the place of a block's second convolution (6 with dropout)."""

    def norm(x, name):
        return F.relu(w.instance_norm(x, name) if affine else F.instance_norm(x))

    x, at = norm(w.conv(F.pad(x, [3] * 4, "reflect"), f"{root}.1", width, 7), f"{root}.2"), 4
    for i in range(halvings):
        h = w.conv(x, f"{root}.{at}", width * 2 ** (i + 1), 3, stride=2, padding=1)
        x, at = norm(h, f"{root}.{at + 1}"), at + 3
    for _ in range(blocks):
        x, at = residual(w, x, f"{root}.{at}.{block}", second, affine), at + 1
    for i in reversed(range(halvings)):
        x = w.up(x, f"{root}.{at}", width * 2**i, 3, stride=2, padding=1, output_padding=1)
        x, at = norm(x, f"{root}.{at + 1}"), at + 3
    return torch.tanh(w.conv(F.pad(x, [3] * 4, "reflect"), f"{root}.{at + 1}", channels, 7)) if end else x


def residual(w, x, root, second=5, affine=False):
    def norm(x, at):
        return w.instance_norm(x, f"{root}.{at + 1}") if affine else F.instance_norm(x)

    h = F.relu(norm(w.conv(F.pad(x, [1] * 4, "reflect"), f"{root}.1", x.shape[1], 3), 1))
    return x + norm(w.conv(F.pad(h, [1] * 4, "reflect"), f"{root}.{second}", x.shape[1], 3), second)


def enhanced(w, x, width, blocks, inside):
    """A global generator and one local enhancer."""
    norm, small = F.instance_norm, F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    coarse = resnet(w, small, 2 * width, blocks, end=False)
    h = F.relu(norm(w.conv(F.pad(x, [3] * 4, "reflect"), "model1_1.1", width, 7)))
    h = F.relu(norm(w.conv(h, "model1_1.4", 2 * width, 3, stride=2, padding=1))) + coarse
    for i in range(inside):
        h = residual(w, h, f"model1_2.{i}.conv_block")
    h = w.up(h, f"model1_2.{inside}", width, 3, stride=2, padding=1, output_padding=1)
    return torch.tanh(w.conv(F.pad(F.relu(norm(h)), [3] * 4, "reflect"), f"model1_2.{inside + 4}", 3, 7))


def patchgan(w, x, width, layers, *, name="model.{at}".format, padding=1, norm=None):
    """A discriminator of patches; `name(at=, layer=)` names a convolution, and `norm(x, at)` normalizes, without biases before it."""
    bias, norm = norm is None, norm or (lambda x, at: F.instance_norm(x))
    x = F.leaky_relu(w.conv(x, name(at=0, layer=0), width, 4, stride=2, padding=padding), 0.2)
    for i in range(1, layers + 1):
        at = 3 * i - 1
        c, stride = width * min(2**i, 8), 2 if i < layers else 1
        x = w.conv(x, name(at=at, layer=i), c, 4, bias=bias, stride=stride, padding=padding)
        x = F.leaky_relu(norm(x, at), 0.2)
    return w.conv(x, name(at=3 * layers + 2, layer=layers + 1), 1, 4, padding=padding)


def unet(w, x, width, depth, *, own, channels=3):
    """A U-Net with batch norm, by each image's `own` statistics or by the running ones."""

    def inside(x, i, root):
        c = width * min(2**i, 8)
        h = w.conv(F.leaky_relu(x, 0.2), f"{root}.1", c, 4, bias=False, stride=2, padding=1)
        if i == depth - 1:
            y, up, norm = h, 3, 4
        else:
            h = w.batch_norm(h, f"{root}.2", own=own)
            y, up, norm = inside(h, i + 1, f"{root}.3.model"), 5, 6
        y = w.up(F.relu(y), f"{root}.{up}", x.shape[1], 4, bias=False, stride=2, padding=1)
        return torch.cat([x, w.batch_norm(y, f"{root}.{norm}", own=own)], 1)

    h = inside(w.conv(x, "model.model.0", width, 4, bias=False, stride=2, padding=1), 1, "model.model.1.model")
    return torch.tanh(w.up(F.relu(h), "model.model.3", channels, 4, stride=2, padding=1))


# ---- SRGAN, as Keras keeps it ---------------------------------------------------------------------------------------------------


def keras_srgan(w, pixels, width, blocks, first=0):
    """Enlarge pixels [B, 3, H, W] from 0 to 255 four times; layers are counted from `first` on, as in a session with other networks."""
    counts = {}

    def layer(kind):
        at = counts[kind] = counts.get(kind, first - 1) + 1
        return f"{kind}_{at}" if at else kind

    def conv(x, outputs, side):
        name = layer("conv2d")
        k = w(f"{name}/kernel", side, side, x.shape[1], outputs, spread=1 / math.sqrt(side * side * x.shape[1]))
        return F.conv2d(x, k.permute(3, 2, 0, 1), w(f"{name}/bias", outputs), padding=side // 2)

    def norm(x):
        name, c = layer("batch_normalization_v1"), x.shape[1]
        scale, shift = w(f"{name}/gamma", c, around=1.0), w(f"{name}/beta", c)
        mean, var = w(f"{name}/moving_mean", c), w(f"{name}/moving_variance", c, around=0.3, spread=0.05).abs_()
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    def rectified(x):
        return F.prelu(x, w(f"{layer('p_re_lu')}/alpha", 1, 1, x.shape[1]).flatten())

    def doubled(x):
        b, c, h, v = x.shape
        return x.view(b, 2, 2, c // 4, h, v).permute(0, 3, 4, 1, 5, 2).reshape(b, c // 4, 2 * h, 2 * v)

    start = x = rectified(conv(pixels / 255, width, 9))
    for _ in range(blocks):
        x = x + norm(conv(rectified(norm(conv(x, width, 3))), width, 3))
    x = start + norm(conv(x, width, 3))
    for _ in range(2):
        x = rectified(doubled(conv(x, 4 * width, 3)))
    return (torch.tanh(conv(x, 3, 9)) + 1) * 127.5


# ---- StyleGAN2, as NVIDIA's programs name it --------------------------------------------------------------------------------------


def rectified(x):
    return math.sqrt(2) * F.leaky_relu(x, 0.2)


def dense(w, x, name, outputs, *, rate=1.0, around=0.0):
    weight = w(f"{name}.weight", outputs, x.shape[1], spread=1 / rate)
    return x @ weight.T * rate / math.sqrt(x.shape[1]) + rate * w(
        f"{name}.bias", outputs, around=around, spread=0.3 / rate
    )


def filtered(x, gain, pad):
    c = x.shape[1]
    return F.conv2d(F.pad(x, [pad[0], pad[1]] * 2), gain * FILTER.expand(c, 1, 4, 4), groups=c)


def spaced(x):
    n, c, h, v = x.shape
    return torch.stack([x, torch.zeros_like(x)], 4).reshape(n, c, h, 1, 2 * v).expand(-1, -1, -1, 2, -1).mul(
        torch.tensor([1.0, 0.0]).view(1, 1, 1, 2, 1)
    ).reshape(n, c, 2 * h, 2 * v)  # fmt: skip


def modulated(w, x, style, name, outputs, kernel, *, up=False, demodulate=True):
    """Weights of its own for every example, one example after the other."""
    s = dense(w, style, f"{name}.affine", x.shape[1], around=1.0)
    kernels = w(f"{name}.weight", outputs, x.shape[1], kernel, kernel, spread=1.0)
    s = s if demodulate else s / math.sqrt(x.shape[1] * kernel * kernel)
    found = []
    for one, scale in zip(x, s, strict=True):
        k = kernels * scale.view(1, -1, 1, 1)
        if demodulate:
            k = k / (k.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            found.append(filtered(F.conv_transpose2d(one[None], k.transpose(0, 1), stride=2), 4, (1, 1)))
        else:
            found.append(F.conv2d(one[None], k, padding=kernel // 2))
    return torch.cat(found)


def mapping(w, z, y, depth, dim=None, root="mapping", broadcast=True):
    def normal(t):
        return t / (t.square().mean(1, keepdim=True) + 1e-8).sqrt()

    parts = [] if z is None else [normal(z)]
    if y is not None:
        parts.append(normal(dense(w, y, f"{root}.embed", dim or z.shape[1])))
    x = torch.cat(parts, 1)
    for i in range(depth):
        x = rectified(dense(w, x, f"{root}.fc{i}", dim or z.shape[1], rate=0.01))
    if broadcast:
        w(f"{root}.w_avg", x.shape[1])
    return x


def synthesis(w, styles, widths, channels):
    """Styles [B, 2 · sizes, dim]; the noise is the constant one."""

    def layer(x, style, name, outputs, size, up):
        x = modulated(w, x, style, name, outputs, 3, up=up)
        noise = w(f"{name}.noise_const", size, size, spread=1.0) * w(f"{name}.noise_strength")
        w[f"{name}.resample_filter"] = FILTER
        return rectified(x + noise + w(f"{name}.bias", outputs).view(1, -1, 1, 1))

    x, image = w("synthesis.b4.const", widths[0], 4, 4, spread=1.0).expand(len(styles), -1, -1, -1), 0
    for k, c in enumerate(widths):
        size, root = 4 * 2**k, f"synthesis.b{4 * 2**k}"
        if k:
            x = layer(x, styles[:, 2 * k - 1], f"{root}.conv0", c, size, True)
            image = filtered(spaced(image), 4, (2, 1))
        x = layer(x, styles[:, 2 * k], f"{root}.conv1", c, size, False)
        colours = modulated(w, x, styles[:, 2 * k + 1], f"{root}.torgb", channels, 1, demodulate=False)
        image = image + colours + w(f"{root}.torgb.bias", channels).view(1, -1, 1, 1)
    return image


def critic(w, x, widths, y=None, depth=8):
    """Scores of images whose batch is one group."""

    def layer(x, name, outputs, kernel, down=False, bias=True):
        k = w(f"{name}.weight", outputs, x.shape[1], kernel, kernel, spread=1.0) / math.sqrt(
            x.shape[1] * kernel * kernel
        )
        w[f"{name}.resample_filter"] = FILTER
        pad = (kernel + 1) // 2 if kernel > 1 else 1
        x = F.conv2d(filtered(x, 1, (pad, pad)), k, stride=2) if down else F.conv2d(x, k, padding=kernel // 2)
        return x + w(f"{name}.bias", outputs).view(1, -1, 1, 1) if bias else x

    size = 4 * 2 ** (len(widths) - 1)
    x = rectified(layer(x, f"b{size}.fromrgb", widths[-1], 1))
    for c in reversed(widths[:-1]):
        skip = layer(x, f"b{size}.skip", c, 1, down=True, bias=False)
        h = rectified(layer(x, f"b{size}.conv0", x.shape[1], 3))
        x, size = (rectified(layer(h, f"b{size}.conv1", c, 3, down=True)) + skip) / math.sqrt(2), size // 2
    spread = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
    x = torch.cat([x, spread.expand(len(x), 1, 4, 4)], 1)
    x = rectified(layer(x, "b4.conv", widths[0], 3))
    x = dense(w, rectified(dense(w, x.flatten(1), "b4.fc", widths[0])), "b4.out", 1 if y is None else widths[0])
    if y is None:
        return x.squeeze(1)
    return (x * mapping(w, None, y, depth, widths[0], broadcast=False)).sum(1) / math.sqrt(widths[0])


# ---- progressive growing ------------------------------------------------------------------------------------------------------------


def constrained(w, x, name, outputs, kernel=0):
    """A layer whose output is multiplied by √(2 / fan-in), its bias too."""
    shape = (outputs, x.shape[1], kernel, kernel) if kernel else (outputs, x.shape[1])
    weight, bias = w(f"{name}.module.weight", *shape, spread=1.0), w(f"{name}.module.bias", outputs)
    y = F.conv2d(x, weight, bias, padding=kernel // 2) if kernel else F.linear(x, weight, bias)
    return y * math.sqrt(2 / weight[0].numel())


def progan_generator(w, z, widths):
    def normal(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    x = normal(F.leaky_relu(constrained(w, normal(z), "formatLayer", 16 * widths[0]), 0.2).view(len(z), -1, 4, 4))
    x = normal(F.leaky_relu(constrained(w, x, "groupScale0.0", widths[0], 3), 0.2))
    constrained(w, x, "toRGBLayers.0", 3, 1)
    for k, c in enumerate(widths[1:]):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        for i in range(2):
            x = normal(F.leaky_relu(constrained(w, x, f"scaleLayers.{k}.{i}", c, 3), 0.2))
        image = constrained(w, x, f"toRGBLayers.{k + 1}", 3, 1)
    return image


def progan_discriminator(w, x, widths):
    """Scores of four images, one group."""
    for k, c in enumerate(widths[:-1]):
        w(f"fromRGBLayers.{k}.module.weight", c, x.shape[1], 1, 1)
        w(f"fromRGBLayers.{k}.module.bias", c)
    x = F.leaky_relu(constrained(w, x, f"fromRGBLayers.{len(widths) - 1}", widths[-1], 1), 0.2)
    for k in reversed(range(len(widths) - 1)):
        x = F.leaky_relu(constrained(w, x, f"scaleLayers.{k}.0", widths[k + 1], 3), 0.2)
        x = F.avg_pool2d(F.leaky_relu(constrained(w, x, f"scaleLayers.{k}.1", widths[k], 3), 0.2), 2)
    x = torch.cat([x, x.std(0).mean().expand(len(x), 1, 4, 4)], 1)
    x = F.leaky_relu(constrained(w, x, "groupScaleZero.0", widths[0], 3), 0.2).flatten(1)
    return constrained(
        w, F.leaky_relu(constrained(w, x, "groupScaleZero.1", widths[0]), 0.2), "decisionLayer", 1
    ).flatten()


# ---- codes ------------------------------------------------------------------------------------------------------------------------


def vqvae2(w, x, width, blocks, inner, dim, codes):
    """Return the codes of both grids, the coarse ones first, and the reconstruction."""

    def stack(x, root, at):
        for _ in range(blocks):
            h = w.conv(F.relu(x), f"{root}.blocks.{at}.conv.1", inner, 3, padding=1)
            x, at = x + w.conv(F.relu(h), f"{root}.blocks.{at}.conv.3", width, 1), at + 1
        return F.relu(x), at + 1

    def encode(x, root, strided):
        for i in range(strided):
            c = width if i else width // 2
            x = F.relu(w.conv(x, f"{root}.blocks.{2 * i}", c, 4, stride=2, padding=1))
        return stack(w.conv(x, f"{root}.blocks.{2 * strided}", width, 3, padding=1), root, 2 * strided + 1)[0]

    def decode(x, root, outputs, strided):
        x, at = stack(w.conv(x, f"{root}.blocks.0", width, 3, padding=1), root, 1)
        for i in range(strided):
            last = i == strided - 1
            x = w.up(x, f"{root}.blocks.{at}", outputs if last else width // 2, 4, stride=2, padding=1)
            x, at = x if last else F.relu(x), at + 2
        return x

    def quantize(z, root):
        book = w(f"{root}.embed", dim, codes, spread=0.2)
        w(f"{root}.embed_avg", dim, codes)
        w(f"{root}.cluster_size", codes, around=5.0)
        index = torch.cdist(z.permute(0, 2, 3, 1).reshape(-1, dim), book.T).argmin(1)
        return book.T[index].reshape(len(z), *z.shape[2:], dim).permute(0, 3, 1, 2), index.view(len(z), -1)

    fine = encode(x, "enc_b", 2)
    top, c_top = quantize(w.conv(encode(fine, "enc_t", 1), "quantize_conv_t", dim, 1), "quantize_t")
    known = torch.cat([decode(top, "dec_t", dim, 1), fine], 1)
    bottom, c_bottom = quantize(w.conv(known, "quantize_conv_b", dim, 1), "quantize_b")
    up = w.up(top, "upsample_t", dim, 4, stride=2, padding=1)
    return torch.cat([c_top, c_bottom], 1), decode(torch.cat([up, bottom], 1), "dec", x.shape[1], 2)


def vqgan(w, x, width, multiples, blocks, attended, dim, codes):
    """Return codes and reconstruction; attention at the sizes `attended`."""

    def block(x, root, c):
        h = w.conv(F.silu(w.group_norm(x, f"{root}.norm1")), f"{root}.conv1", c, 3, padding=1)
        h = w.conv(F.silu(w.group_norm(h, f"{root}.norm2")), f"{root}.conv2", c, 3, padding=1)
        return h + (w.conv(x, f"{root}.nin_shortcut", c, 1) if x.shape[1] != c else x)

    def attention(x, root):
        h, c = w.group_norm(x, f"{root}.norm"), x.shape[1]
        q, k, v = (w.conv(h, f"{root}.{n}", c, 1).flatten(2) for n in "qkv")
        share = (q.mT @ k / math.sqrt(c)).softmax(2)
        return x + w.conv((v @ share.mT).view(x.shape), f"{root}.proj_out", c, 1)

    def middle(x, root):
        c = x.shape[1]
        return block(attention(block(x, f"{root}.mid.block_1", c), f"{root}.mid.attn_1"), f"{root}.mid.block_2", c)

    def level(x, root, c, n, i):
        for j in range(n):
            x = block(x, f"{root}.block.{j}", c)
            x = attention(x, f"{root}.attn.{j}") if i in attended else x
        return x

    widths = [width * m for m in multiples]
    h = w.conv(x, "encoder.conv_in", width, 3, padding=1)
    for i, c in enumerate(widths):
        h = level(h, f"encoder.down.{i}", c, blocks, i)
        if i < len(widths) - 1:
            h = w.conv(F.pad(h, (0, 1, 0, 1)), f"encoder.down.{i}.downsample.conv", c, 3, stride=2)
    h = F.silu(w.group_norm(middle(h, "encoder"), "encoder.norm_out"))
    z = w.conv(w.conv(h, "encoder.conv_out", dim, 3, padding=1), "quant_conv", dim, 1)
    book = w("quantize.embedding.weight", codes, dim, spread=0.2)
    index = torch.cdist(z.permute(0, 2, 3, 1).reshape(-1, dim), book).argmin(1)
    q = book[index].reshape(len(z), *z.shape[2:], dim).permute(0, 3, 1, 2)
    h = middle(w.conv(w.conv(q, "post_quant_conv", dim, 1), "decoder.conv_in", widths[-1], 3, padding=1), "decoder")
    for i in reversed(range(len(widths))):
        h = level(h, f"decoder.up.{i}", widths[i], blocks + 1, i)
        if i:
            h = w.conv(F.interpolate(h, scale_factor=2.0), f"decoder.up.{i}.upsample.conv", widths[i], 3, padding=1)
    h = F.silu(w.group_norm(h, "decoder.norm_out"))
    return index.view(len(x), -1), w.conv(h, "decoder.conv_out", x.shape[1], 3, padding=1)


# ---- colourization ------------------------------------------------------------------------------------------------------------------


def colourization(w, lightness, width, colours):
    """Return ab at a quarter of the size, from L [B, 1, H, W] in 0 .. 100."""
    x, wide = (lightness - 50) / 100, 8 * width
    for stack, (n, c, step) in enumerate(((2, width, 2), (2, 2 * width, 2), (3, 4 * width, 2), (3, wide, 1)), 1):
        for i in range(n):
            x = F.relu(w.conv(x, f"model{stack}.{2 * i}", c, 3, stride=step if i == n - 1 else 1, padding=1))
        x = w.batch_norm(x, f"model{stack}.{2 * n}")
    for stack, wide_apart in ((5, 2), (6, 2), (7, 1)):
        for i in range(3):
            x = F.relu(w.conv(x, f"model{stack}.{2 * i}", wide, 3, padding=wide_apart, dilation=wide_apart))
        x = w.batch_norm(x, f"model{stack}.6")
    x = F.relu(w.up(x, "model8.0", 4 * width, 4, stride=2, padding=1))
    for i in (2, 4):
        x = F.relu(w.conv(x, f"model8.{i}", 4 * width, 3, padding=1))
    w.setdefault("model_out.weight", (colours / 110).T[:, :, None, None].contiguous())
    share = w.conv(x, "model8.6", len(colours), 1).softmax(1)
    return 110 * F.conv2d(share, w["model_out.weight"])
