"""Any size: what tiles share adds to one, tiles give what the whole gives, depth and transparency and originals are kept."""

import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import genzoo
from genzoo.cli.main import main
from genzoo.core.capabilities import Restores, capabilities
from genzoo.core.errors import UserError
from genzoo.data.decode import images as decode
from genzoo.naming import registry
from genzoo.nn.gan.resnet_generator import ResnetGenerator
from genzoo.use.common.files import Photo, change_files, change_photo, gathered, read_photo, save_photo
from genzoo.use.common.images import channels_in
from genzoo.use.common.tiles import cuts, shared_statistics, tiled
from genzoo.use.translate import fitting_size, scale_of, translate
from tests.conftest import build


def noise(h, w, c=3, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype) == np.float32:
        return rng.uniform(-1, 1, (h, w, c)).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, (h, w, c), dtype=dtype)


def convolutions(scale=1, multiple=1, seed=0):
    """A net whose outputs see `7 * multiple` pixels to each side at most."""
    torch.manual_seed(seed)
    down = nn.Conv2d(3, 6, 3, stride=multiple, padding=1)
    up = nn.Sequential(
        nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(6, 3 * (scale * multiple) ** 2, 3, padding=1),
    )
    return nn.Sequential(down, nn.ReLU(), up, nn.PixelShuffle(scale * multiple), nn.Tanh()).eval()


@pytest.mark.parametrize("side", [1, 7, 31, 64, 65, 90, 130, 131, 200, 517, 1000])
@pytest.mark.parametrize(
    ("multiple", "least", "overlap", "tile"),
    [(1, 1, 8, 32), (4, 8, 16, 64), (32, 96, 64, 128), (8, 8, 0, 64), (64, 64, 64, 32)],
)
def test_cuts_cover_the_image_and_weights_add_to_one(side, multiple, least, overlap, tile):
    c = cuts(side, least=least, multiple=multiple, tile=tile, overlap=overlap)
    assert c.tile % multiple == 0
    assert c.tile >= least
    assert all(s % multiple == 0 for s in c.starts), "strided nets see the same phase in every tile"
    assert c.before >= 0
    assert c.whole - c.before >= side
    assert c.count == 1 or c.tile <= max(tile, 2 * c.overlap + multiple, least) + multiple
    for scale in (1, 4):
        total = np.zeros(c.whole * scale, np.float32)
        for i, start in enumerate(c.starts):
            total[start * scale : (start + c.tile) * scale] += c.ramp(i, scale)
        assert np.abs(total - 1).max() < 1e-6
    source = c.source(0, c.whole)
    assert source.min() == 0
    assert source.max() == side - 1
    assert source[c.before : c.before + side].tolist() == list(range(side))


@pytest.mark.parametrize(("scale", "multiple"), [(1, 1), (1, 4), (2, 1), (4, 1)])
@pytest.mark.parametrize("size", [(150, 97), (64, 64), (33, 200)])
def test_tile_by_tile_is_the_whole_for_a_convolutional_net(scale, multiple, size):
    net, image = convolutions(scale, multiple), noise(*size)
    whole = tiled(net, image, scale=scale, multiple=multiple, tile=10_000)
    parts = tiled(net, image, scale=scale, multiple=multiple, tile=80, overlap=32)
    assert parts.shape == whole.shape == (size[0] * scale, size[1] * scale, 3)
    assert parts.dtype == np.uint8
    assert whole.std() > 5
    edge = 24 * scale  # a tile that ends at the border of the image may be enlarged by more than the whole is
    inside = np.abs(parts.astype(int) - whole)[edge:-edge, edge:-edge]
    assert inside.size == 0 or inside.max() <= 1


TRANSLATORS = [n for n in sorted(registry.entries()) if "translates" in capabilities(registry.system_class(n))]


@pytest.mark.parametrize("name", TRANSLATORS)
def test_every_convolutional_translator_gives_tile_by_tile_what_it_gives_whole(name):
    """Within one grey level away from the image's borders, where tiles share four times as far as a change of a pixel reaches."""
    torch.manual_seed(0)
    system = build(name).eval()
    if isinstance(system, Restores) and not system.local:
        pytest.skip("sees the image in one piece, whatever its size")
    for p in system.parameters():
        if p.ndim == 4:
            nn.init.kaiming_normal_(p)  # outputs of some size, so that a difference would show
    direction = system.directions[0]
    least, multiple = fitting_size(system, channels_in(system, direction), direction)
    scale = scale_of(system)

    def change(x):
        return system.translate(x, direction=direction)

    # Instance norms work with the statistics of this sample in all that follows: that they are one for all tiles is another test's matter.
    sample = torch.rand(1, channels_in(system, direction), 8 * least, 8 * least) * 2 - 1
    with shared_statistics(system, lambda: change(sample)):
        side = -(-160 // multiple) * multiple
        here = slice(side // 2 // multiple * multiple, side // 2 // multiple * multiple + multiple)
        plain = torch.zeros(1, sample.shape[1], side, side)
        poked = plain.clone()
        poked[:, :, here, here] = 1
        moved = ((change(poked) - change(plain)).abs().amax((0, 1)) > 1e-5).nonzero().float() / scale
        reach = math.ceil(max((moved.amax() - here.stop + 1).item(), (here.start - moved.amin()).item()))
        assert 0 < reach < side // 2 - multiple, "the net sees everything"
        overlap = 4 * reach
        image = noise(5 * overlap // 2 + 41, 5 * overlap // 2 + 60, sample.shape[1])
        keys = {"scale": scale, "least": least, "multiple": multiple, "overlap": overlap}
        whole = tiled(change, image, **keys, tile=10_000)
        seen = []
        parts = tiled(lambda x: seen.append(x.shape) or change(x), image, **keys, tile=2 * overlap + multiple)
    assert len(seen) >= 4
    assert whole.std() > 3
    edge = scale * (reach + multiple)
    inside = np.abs(parts.astype(int) - whole)[edge:-edge, edge:-edge]
    assert inside.size
    assert inside.max() <= 1


def test_without_overlap_there_are_seams_that_the_overlap_takes_away():
    net, image = convolutions(), noise(128, 128)
    whole = tiled(net, image, tile=1000).astype(int)
    seams = np.abs(tiled(net, image, tile=32, overlap=0) - whole)
    assert seams.max() > 8
    rows = np.flatnonzero(seams[:, 10:22].max((1, 2)) > 1)  # in columns far from a tile's sides
    assert set(rows.tolist()) <= {r + d for r in range(0, 129, 32) for d in (-4, -3, -2, -1, 0, 1, 2, 3)}
    assert np.abs(tiled(net, image, tile=48, overlap=24) - whole)[8:-8, 8:-8].max() <= 1


def test_instance_norms_work_with_one_statistic_in_all_tiles():
    """Left half dark, right half light: with statistics of its own, each tile would lose that."""
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, width=4, blocks=1).eval()
    nn.init.normal_(net.net[-1].weight, 0, 0.3)
    ramp = np.linspace(-0.8, 0.8, 192, dtype=np.float32)
    image = np.clip(ramp[None, :, None] + 0.2 * noise(96, 192, 3, np.float32), -1, 1).astype(np.float32)
    keys = {"least": 8, "multiple": 4, "overlap": 48}
    whole = tiled(net, image, **keys, tile=1000)
    shared = tiled(net, image, **keys, tile=100, net=net)
    apart = tiled(net, image, **keys, tile=100)
    error = [np.abs(x - whole)[24:-24, 24:-24].mean() for x in (shared, apart)]
    assert error[0] < 0.25 * error[1]
    assert not any("forward" in vars(m) for m in net.modules()), "the net is as it was"


def test_shared_statistics_are_those_of_all_examples_together():
    norm = nn.InstanceNorm2d(2, affine=True)
    nn.init.uniform_(norm.weight)
    x = torch.randn(3, 2, 4, 5) * 3 + 1
    with shared_statistics(norm, lambda: norm(x)):
        y = norm(x[:1])
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    expected = (x[:1] - mean) / (var + norm.eps).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]
    assert torch.allclose(y, expected, atol=1e-5)
    assert torch.allclose(norm(x).mean((2, 3)), norm.bias.expand(3, 2), atol=1e-5)


def test_sixteen_bits_pass_a_map_that_changes_nothing():
    image = noise(90, 70, 1, np.uint16)
    for tile in (32, 1000):
        assert np.array_equal(tiled(lambda x: x, image, tile=tile, overlap=8), image)
    eight = noise(90, 70, 3)
    assert np.array_equal(tiled(lambda x: x, eight, tile=32, overlap=8), eight)
    twice = tiled(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3), eight, scale=2, tile=32, overlap=8)
    assert np.array_equal(twice, eight.repeat(2, 0).repeat(2, 1))


def test_networks_see_no_more_than_a_tile_whatever_the_size_of_the_image():
    seen = []

    def change(x):
        seen.append(tuple(x.shape))
        return x

    told = []
    tiled(change, noise(300, 700), tile=64, overlap=16, advance=lambda done, of: told.append((done, of)))
    assert max(h for _, _, h, _ in seen) <= 64
    assert max(w for *_, w in seen) <= 64
    assert {n for n, *_ in seen} == {1}
    assert told[-1] == (len(seen), len(seen))


def test_a_wrong_scale_is_said():
    with pytest.raises(UserError, match="64x64 pixels came back as 64x64, not 128x128"):
        tiled(lambda x: x, noise(64, 64), scale=2)


# ---- files -------------------------------------------------------------------------------------------------------------------------


def test_transparency_and_profile_are_kept_and_orientation_is_applied(tmp_path):
    rgba = noise(20, 31, 4)
    image = Image.fromarray(rgba)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "a.png", icc_profile=b"a profile", exif=exif)
    photo = read_photo(tmp_path / "a.png", 3)
    turned = np.rot90(rgba, -1)
    assert np.array_equal(photo.pixels, turned[..., :3])
    assert np.array_equal(photo.alpha, turned[..., 3])
    twice = change_photo(photo, lambda p: p.repeat(2, 0).repeat(2, 1))
    save_photo(tmp_path / "b.png", twice)
    with Image.open(tmp_path / "b.png") as back:
        assert back.mode == "RGBA"
        assert back.size == (40, 62)
        assert back.info["icc_profile"] == b"a profile"
        assert back.getexif().get(0x0112, 1) == 1
        assert np.array_equal(np.asarray(back)[::2, ::2, :3], turned[..., :3])
        small = np.asarray(back.getchannel("A").resize((20, 31), Image.Resampling.BOX)).astype(int)
        assert np.abs(small - turned[..., 3]).mean() < 25  # of noise; 85 if it were another's


def test_sixteen_bit_gray_is_kept_where_the_system_is_gray(tmp_path):
    deep = noise(9, 12, 1, np.uint16)
    Image.fromarray(deep[..., 0]).save(tmp_path / "deep.png")
    photo = read_photo(tmp_path / "deep.png", 1)
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels, deep)
    save_photo(tmp_path / "back.png", photo)
    assert np.array_equal(read_photo(tmp_path / "back.png", 1).pixels, deep)
    colour = read_photo(tmp_path / "deep.png", 3).pixels
    assert colour.dtype == np.uint16
    assert np.array_equal(colour, deep.repeat(3, 2))
    shallow = read_photo(tmp_path / "deep.png", 3, deep=False).pixels
    assert np.array_equal(shallow[..., 1], ((deep[..., 0].astype(int) + 128) // 257))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_sixteen_bits_of_colours_are_read_and_written_whole(tmp_path, channels, orientation):
    """Pillow reads 8 of them; both bytes must come back in their places, upright, whatever the orientation."""
    deep = noise(9, 12, channels, np.uint16)
    colours = 3 if channels > 2 else 1
    alpha = (deep[..., -1].astype(np.uint32) + 128) // 257 if channels in (2, 4) else None
    photo = Photo(deep[..., :colours], None if alpha is None else alpha.astype(np.uint8), b"a profile")
    save_photo(tmp_path / "deep.png", photo)
    with Image.open(tmp_path / "deep.png") as image:
        assert image.size == (12, 9)
        assert image.info["icc_profile"] == b"a profile"
        eight = np.asarray(image if image.mode != "I;16" else image.convert("I"))
    if channels > 2:
        assert np.array_equal(eight[..., :3], deep[..., :3] >> 8), "other programs read the same colours"
    data = (tmp_path / "deep.png").read_bytes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    at = 33 if orientation % 2 else len(data) - 12  # before the pixels, or after them
    (tmp_path / "turned.png").write_bytes(data[:at] + chunk + data[at:])
    back = read_photo(tmp_path / "turned.png", colours)
    turn = decode._TURN.get(orientation)

    def turned(x):
        return np.asarray(Image.fromarray(x).transpose(turn)) if turn is not None else x

    assert back.pixels.dtype == np.uint16
    for c in range(colours):
        assert np.array_equal(back.pixels[..., c], turned(deep[..., c].astype(np.int32)))
    if alpha is not None:
        assert np.array_equal(back.alpha, turned(photo.alpha))
    with open(tmp_path / "turned.png", "rb") as file:
        shape, _, _, deep = decode.look(file)
        assert (shape[2], deep) == (colours, True)
        assert shape[:2] == back.pixels.shape[:2] or orientation % 2 == 0, (
            "what stands after the pixels is not looked for"
        )
        file.seek(0)
        form = decode.pixels(file, decode.ImageFormat(*back.pixels.shape[:2], colours, bits=16))
    if alpha is None:
        assert np.array_equal(form.transpose(1, 2, 0), back.pixels)
    else:
        share = back.alpha[..., None] / 255
        assert np.abs(form.transpose(1, 2, 0) - (back.pixels * share + 65535 * (1 - share))).max() <= 1, "on white"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_sixteen_bits_of_tiff_colours_are_read_whole(tmp_path, order, compression):
    deep = noise(7, 9, 3, np.uint16)
    (tmp_path / "deep.tif").write_bytes(tiff(deep, order, compression))
    assert np.array_equal(read_photo(tmp_path / "deep.tif", 3).pixels, deep)
    gray = read_photo(tmp_path / "deep.tif", 1).pixels[..., 0]
    assert np.abs(gray - deep @ np.array([0.299, 0.587, 0.114])).max() <= 0.5


def tiff(pixels, order, compression):
    """A TIFF of two strips, written from its specification."""
    h, w, c = pixels.shape
    rows = -(-h // 2)
    strips = [pixels[i : i + rows].astype(f"{order}u2").tobytes() for i in (0, rows)]
    strips = [zlib.compress(s) if compression == 8 else s for s in strips]
    strips = [s + b"\0" * (len(s) % 2) for s in strips]
    offsets = [8, 8 + len(strips[0])]
    entries = [(256, "H", [w]), (257, "H", [h]), (258, "H", [16] * c), (259, "H", [compression]), (262, "H", [2]), (273, "I", offsets),
               (277, "H", [c]), (278, "H", [rows]), (279, "I", [len(s) for s in strips]), (284, "H", [1])]  # fmt: skip
    directory = 8 + sum(map(len, strips))
    table, more = struct.pack(f"{order}H", len(entries)), b""
    for tag, kind, values in entries:
        data = struct.pack(f"{order}{kind * len(values)}", *values)
        if len(data) > 4:
            at = directory + 2 + 12 * len(entries) + 4 + len(more)
            more, data = more + data, struct.pack(f"{order}I", at)
        table += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + data.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    return head + b"".join(strips) + table + struct.pack(f"{order}I", 0) + more


def test_a_folder_is_changed_file_by_file_and_originals_stay(tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(noise(5, 6)).save(tmp_path / "in" / "a.png")
    Image.fromarray(noise(7, 4)).save(tmp_path / "in" / "deep" / "b.png")
    (tmp_path / "in" / "no.txt").write_text("no picture")
    before = (tmp_path / "in" / "a.png").read_bytes()

    def negative(file):
        return change_photo(read_photo(file, 3), lambda p: 255 - p)

    for k in range(3):
        written = change_files(
            tmp_path / "in", tmp_path / "in" if k < 2 else tmp_path / "out", negative, overwrite=k == 1
        )
    assert "no.txt" in capsys.readouterr().err
    assert (tmp_path / "in" / "a.png").read_bytes() == before
    assert (tmp_path / "in" / "a-2.png").exists()
    assert {p.relative_to(tmp_path / "out").as_posix() for p in written} >= {"a.png", "deep/b.png"}
    assert np.array_equal(read_photo(tmp_path / "out" / "a.png", 3).pixels, 255 - noise(5, 6))
    with pytest.raises(UserError, match="is no usable image"):
        change_files(tmp_path / "in" / "no.txt", tmp_path / "out", negative)
    with pytest.raises(UserError, match="is a file; give a folder"):
        change_files(tmp_path / "in", tmp_path / "in" / "no.txt", negative)


def test_a_single_result_goes_where_it_is_asked_for_and_never_over_the_original(runs, tmp_path, capsys):
    run = runs("cyclegan")
    Image.fromarray(noise(20, 24)).save(tmp_path / "a.png")
    Image.fromarray(noise(20, 24)).save(tmp_path / "b.png")
    before = (tmp_path / "a.png").read_bytes()
    words = ["translate", str(run.path), str(tmp_path / "a.png")]
    assert main([*words, "-o", str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").is_file()
    assert main([*words, "-o", str(tmp_path / "out.png")]) == 0
    assert "overwrite=true replaces it" in capsys.readouterr().out
    assert (tmp_path / "out-2.png").is_file()
    assert main([*words, "-o", str(tmp_path / "a.png"), "overwrite=true"]) == 0
    assert (tmp_path / "a.png").read_bytes() == before
    assert (tmp_path / "a-2.png").is_file()
    capsys.readouterr()
    assert main([*words, "-o", str(tmp_path / "out.bmp")]) == 2
    assert "give a name that ends in .png, .jpg or .webp, or a folder" in capsys.readouterr().err
    assert main(["translate", str(run.path), str(tmp_path), "-o", str(tmp_path / "more.png")]) == 2
    assert "more.png names one file; give a folder" in capsys.readouterr().err


def test_results_are_jpeg_and_webp_where_they_are_asked_for(tmp_path):
    rgb, clear = noise(6, 9), noise(6, 9, 4)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(clear).save(tmp_path / "b.png")
    save_photo(tmp_path / "deep.png", Photo(noise(6, 9, 3, np.uint16)))

    def same(file):
        return read_photo(file, 3)

    (webp,) = change_files(tmp_path / "b.png", tmp_path / "b.webp", same)
    with Image.open(webp) as image:
        assert image.format == "WEBP"
        assert np.array_equal(np.asarray(image.convert("RGBA")), clear), (
            "to the bit, with the colours below what is clear"
        )
    (jpeg,) = change_files(tmp_path / "a.png", tmp_path / "new" / "a.JPG", same)
    with Image.open(jpeg) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - rgb).mean() < 12
    written = change_files([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "many" / "*.webp", same)
    assert [p.relative_to(tmp_path).as_posix() for p in written] == ["many/a.webp", "many/b.webp"]
    for name, out, said in (
        ("b.png", "b.jpg", "the picture has transparency, and JPEG has none; give .png or .webp"),
        ("deep.png", "deep.jpg", r"the result has 16 bits in a channel, and such a file 8; give .png, or a folder"),
        ("deep.png", "deep.webp", "16 bits"),
    ):
        with pytest.raises(UserError, match=said):
            change_files(tmp_path / name, tmp_path / out, same)
        assert not (tmp_path / out).exists()


def test_patterns_several_paths_and_frames_in_the_order_of_their_numbers(tmp_path, capsys):
    (tmp_path / "f").mkdir()
    for i in (1, 2, 10):
        Image.fromarray(np.full((8, 10, 3), 20 * i, np.uint8)).save(tmp_path / "f" / f"frame-{i}.png")
    (tmp_path / "f" / "notes.txt").write_text("no picture")
    (tmp_path / "[odd].png").write_bytes((tmp_path / "f" / "frame-1.png").read_bytes())

    def named(*given):
        return [name.as_posix() for _, name in gathered([tmp_path / g for g in given])]

    order = ["frame-1.png", "frame-2.png", "frame-10.png"]
    assert named("f/*.png") == order
    assert named("f") == [*order, "notes.txt"]
    assert named("**/frame-1?.png") == ["frame-10.png"]
    assert named("f/frame-2.png", "[odd].png", "f/*1.png") == ["frame-2.png", "[odd].png", "frame-1.png"]
    assert named("f/frame-2.png", "f/*.png") == ["frame-2.png", "frame-1.png", "frame-10.png"], "each once"
    assert gathered(str(tmp_path / "f" / "*2.png")) == [(tmp_path / "f" / "frame-2.png", Path("frame-2.png"))]
    with pytest.raises(UserError, match=r"no file fits '.*\*\.jgp'"):
        gathered(str(tmp_path / "f" / "*.jgp"))
    with pytest.raises(UserError, match="there is no file or folder"):
        gathered([str(tmp_path / "f"), str(tmp_path / "g")])

    def same(file):
        return read_photo(file, 3)

    (film,) = change_files(str(tmp_path / "f" / "*.png"), tmp_path / "out" / "film.gif", same, per_second=4)
    with Image.open(film) as gif:
        assert (gif.n_frames, gif.size, gif.info["duration"]) == (3, (10, 8), 250)
        gif.seek(2)
        assert abs(int(np.asarray(gif.convert("RGB"))[0, 0, 0]) - 200) < 8
    Image.fromarray(noise(8, 11)).save(tmp_path / "f" / "frame-11.png")
    change_files(tmp_path / "f", tmp_path / "out" / "film.gif", same, overwrite=True)
    assert (
        "frame-11.png': the result is 11x8, and the film's first frame 10x8; frames have one size"
        in capsys.readouterr().err
    )
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["film.gif"]


def test_the_command_takes_patterns_and_several_paths(runs, tmp_path, capsys):
    run = runs("cyclegan")
    for name in ("a", "b"):
        Image.fromarray(noise(20, 24)).save(tmp_path / f"{name}.png")
    words = ["translate", str(run.path)]
    assert main([*words, str(tmp_path / "a.png"), str(tmp_path / "b.png"), f"out={tmp_path}/two"]) == 0
    assert f"wrote 2 images to {tmp_path}/two" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "*.png"), f"out={tmp_path}/three/*.jpg", "direction=b2a"]) == 0
    assert sorted(p.name for p in (tmp_path / "three").iterdir()) == ["a.jpg", "b.jpg"]
    assert main([*words, f"images={tmp_path}/a.png", f"out={tmp_path}/one.webp"]) == 0
    assert f"wrote {tmp_path}/one.webp" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "*.jgp")]) == 2
    assert "no file fits" in capsys.readouterr().err
    assert main(words) == 2
    assert "IMAGES is missing. Usage: genzoo translate RUN IMAGE_OR_FOLDER ..." in capsys.readouterr().err


def test_translation_of_a_large_image_goes_tile_by_tile():
    system = build("cyclegan").eval()
    x = torch.from_numpy(noise(70, 150, 3, np.float32).transpose(2, 0, 1).copy())
    (y,) = genzoo.translate(system, [x], tile=64, overlap=32)
    (whole,) = translate(system, [x], tile=1000)
    assert y.shape == whole.shape == x.shape
    assert not torch.equal(y, whole)
    assert torch.equal(whole, translate(system, x[None])[0])


def test_the_command_takes_tiles_and_keeps_transparency(runs, tmp_path, capsys):
    run = runs("cyclegan")
    Image.fromarray(noise(40, 70, 4)).save(tmp_path / "a.png")
    assert (
        main(["translate", str(run.path), str(tmp_path / "a.png"), "tile=32", "overlap=8", f"out={tmp_path / 'out'}"])
        == 0
    )
    assert f"wrote {tmp_path / 'out' / 'a.png'}" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (70, 40)
        assert np.array_equal(np.asarray(image)[..., 3], noise(40, 70, 4)[..., 3])
