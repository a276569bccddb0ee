"""Compressed images come back bit for bit, in as many bits as the model says, and every wrong file is refused in words."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.capabilities import Compresses
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.models.autoregressive.pixelcnn import PixelCNN
from genzoo.use.common import codec
from tests.compress_help import CODERS, gen, images, ready, sharp

pytest.importorskip("constriction")

every_coder = pytest.mark.parametrize("name", CODERS)


# ---- the conditionals ------------------------------------------------------------------------------------------------------------


@every_coder
@pytest.mark.parametrize("channels", [1, 3])
def test_the_factors_multiply_to_the_likelihood_and_give_the_images_back(name, channels):
    shape = (channels, 6, 5)
    model = ready(name, shape=shape)
    assert isinstance(model, Compresses)
    x = images(3, shape)
    symbols, total = model.symbols(x), torch.zeros(3)
    assert symbols.shape == (3, channels * 30)
    assert symbols.dtype == torch.int64

    def choose(i, log_p):
        nonlocal total
        assert log_p.shape == (3, 256)
        assert log_p.dtype == torch.float32
        assert torch.allclose(log_p.exp().sum(1), torch.ones(3), atol=1e-4)
        total = total + log_p.gather(1, symbols[:, i : i + 1])[:, 0]
        return symbols[:, i]

    assert torch.allclose(model.code(3, choose), x, atol=1e-6)
    assert torch.allclose(total, model.log_prob(x), atol=0.02)


# ---- the file --------------------------------------------------------------------------------------------------------------------


@every_coder
@pytest.mark.parametrize(("shape", "levels"), [((1, 8, 8), 256), ((3, 4, 5), 256), ((1, 8, 8), 2)])
def test_images_come_back_bit_for_bit(name, shape, levels):
    model = ready(name, shape=shape, levels=levels)
    for n in (1, 5):
        x = images(n, shape, levels)
        data, _ = codec.encode(model, x)
        back, header = codec.decode(model, data)
        assert torch.equal(((back + 1) * 127.5).round(), ((x + 1) * 127.5).round())
        assert (header.count, header.shape, header.levels, header.system) == (n, shape, levels, name)


def test_more_images_than_go_through_together(monkeypatch):
    monkeypatch.setattr(codec, "CHUNK", 4)
    model, x = sharp(), images(9)
    back, _ = codec.decode(model, codec.encode(model, x)[0])
    assert torch.equal(((back + 1) * 127.5).round(), ((x + 1) * 127.5).round())


@pytest.mark.parametrize("make", [sharp, lambda: ready("pixelcnn")])
def test_the_file_is_as_long_as_the_likelihood_says(make):
    model, x = make(), images(64)
    x = model.sample(64, generator=torch.Generator().manual_seed(1)) if make is sharp else x
    data, bits = codec.encode(model, x)
    reported = -model.log_prob(x).double().sum().item() / math.log(2)
    assert bits == pytest.approx(reported, rel=1e-4)
    _, words = codec.unpack(data, "")
    assert reported - 1 <= 8 * len(words) <= 1.001 * reported + 64, "the coder ends on a whole word, at most two more"
    assert len(data) - len(words) < 70, "the header"


def test_frequencies_are_whole_positive_sum_exactly_and_follow_the_probabilities():
    log_p = (torch.randn(50, 256, generator=torch.Generator().manual_seed(0)) * 8).log_softmax(1)
    log_p[0] = torch.full((256,), -math.inf)
    log_p[0, 7] = 0.0
    f = codec.frequencies(log_p)
    assert (f == np.floor(f)).all()
    assert (f >= 1).all()
    assert (f.sum(1) == codec.TOTAL).all()
    assert np.abs(f / codec.TOTAL - log_p.double().exp().numpy()).max() < 256 / codec.TOTAL
    assert np.array_equal(f, codec.frequencies(log_p.clone()))


def test_what_the_model_thinks_impossible_is_coded_all_the_same():
    model = sharp()
    with torch.no_grad():
        model.net.out.bias[0], model.net.out.bias[1:] = 500.0, -500.0
    x = images(2)
    data, bits = codec.encode(model, x)
    assert bits > 50 * len(data), "hundreds of bits a pixel by the likelihood, 24 by the coder"
    assert torch.equal(codec.decode(model, data)[0], codec.decode(model, data)[0])
    assert torch.allclose(codec.decode(model, data)[0], x, atol=1e-6)


@pytest.fixture
def threads():
    """Set the number of threads; afterwards it is what it was."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@every_coder
def test_the_number_of_threads_around_it_does_not_matter(name, threads):
    model, x = ready(name, shape=(1, 6, 5)), images(3, (1, 6, 5))
    files = []
    for number in (1, 2, 4):
        threads(number)
        files.append(codec.encode(model, x)[0])
        assert torch.get_num_threads() == number
    assert files[0] == files[1] == files[2]
    for number in (4, 2, 1):
        threads(number)
        assert torch.equal(codec._grey(codec.decode(model, files[0])[0]), codec._grey(x))


class Dense(System):
    """Codes by one dense layer of all that stands so far, whose rows come out otherwise in a batch of another size.

    Args:
        shape: Of an image.
        table: What becomes of its table of log-probabilities: nothing, a view of another layout, or numbers that are none.
        at: The symbol from which `table` has its effect.
    """

    def __init__(self, shape: tuple[int, int, int] = (1, 8, 8), table: str = "", at: int = 0) -> None:
        super().__init__()
        self.table, self.at = table, at
        self.layers = torch.nn.Sequential(torch.nn.Linear(math.prod(shape), 512), torch.nn.Linear(512, 256))

    def symbols(self, x):
        return ((x + 1) * 127.5).round().long().flatten(1)

    @torch.no_grad()
    def code(self, n, choose):
        x = torch.zeros(n, math.prod(self.hparams["shape"]))
        for i in range(x.shape[1]):
            log_p = (40 * self.layers(x)).log_softmax(1)
            if self.table and i >= self.at:
                log_p = {
                    "view": lambda t: t.T.contiguous().T,
                    "nan": lambda t: t * math.nan,
                    "inf": lambda t: t + math.inf,
                    "none": lambda t: t - math.inf,
                    "barred": lambda t: t.scatter(1, torch.arange(0, 256, 2).expand(len(t), -1), -math.inf),
                }[self.table](log_p)
            x[:, i] = choose(i, log_p) / 127.5 - 1
        return x.view(n, *self.hparams["shape"])


def dense(table="", at=0):
    torch.manual_seed(0)
    return Dense(table=table, at=at).eval()


EVERY = [pytest.param(lambda name=name: ready(name, shape=(1, 8, 8)), id=name) for name in CODERS]


@pytest.mark.parametrize("make", [*EVERY, pytest.param(dense, id="dense")])
def test_an_image_has_the_same_probabilities_whatever_stands_beside_it(make, monkeypatch):
    """A file of a hundred and files of parts of them, whole batches and the last one: one batch size for all."""
    model, x, seen, sizes = make(), images(codec.CHUNK + 3), [], set()
    exact, code = codec.frequencies, model.code
    monkeypatch.setattr(codec, "frequencies", lambda log_p: seen.append(exact(log_p)) or seen[-1])
    monkeypatch.setattr(model, "code", lambda n, choose: sizes.add(n) or code(n, choose))
    tables = []
    for part in (x, x[: codec.CHUNK], x[:7], x[:1]):
        seen.clear()
        data, _ = codec.encode(model, part)
        tables.append([t[0] for t in seen[:64]])
        assert torch.equal(codec._grey(codec.decode(model, data)[0]), codec._grey(part))
    assert sizes == {codec.CHUNK}
    for other in tables[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(tables[0], other, strict=True))


def test_a_table_that_lies_in_memory_by_columns_is_read_by_rows():
    plain, view = dense(), dense("view")
    x = plain.code(40, lambda i, log_p: torch.multinomial(log_p.exp(), 1, generator=gen(i))[:, 0])
    assert not view.layers(torch.zeros(9, 64)).log_softmax(1).T.contiguous().T.is_contiguous()
    (data, bits), (turned, as_many) = codec.encode(plain, x), codec.encode(view, x)
    assert codec.unpack(data, "")[1] == codec.unpack(turned, "")[1]
    assert as_many == bits
    assert 8 * len(codec.unpack(turned, "")[1]) == pytest.approx(bits, rel=2e-3, abs=64)
    assert torch.equal(codec._grey(codec.decode(view, turned)[0]), codec._grey(x))


@pytest.mark.parametrize("table", ["nan", "inf", "none"])
def test_a_model_without_numbers_is_named_before_anything_is_written(table, tmp_path):
    model, x = dense(table, at=5), images(3)
    with pytest.raises(
        UserError, match=r"gives probabilities that are not numbers .* at symbol 5 .* weights are finite.*Nothing"
    ):
        genzoo.compress(model, x, tmp_path / "x.gzoo")
    broken = ready("pixelcnn")
    with torch.no_grad():
        broken.net.out.bias[3] = math.nan
    with pytest.raises(UserError, match=r"pixelcnn gives .* 1 of its tensors hold NaN .*net\.out\.bias first"):
        genzoo.compress(broken, x, tmp_path / "x.gzoo")
    assert not list(tmp_path.iterdir())


def test_levels_that_are_ruled_out_are_coded_and_the_size_is_said_in_words(tmp_path, monkeypatch, capsys):
    model, x = dense("barred"), images(3)
    data, bits = codec.encode(model, x)
    assert math.isinf(bits)
    assert torch.equal(codec._grey(codec.decode(model, data)[0]), codec._grey(x))
    monkeypatch.setattr("genzoo.cli.compress.open_system", lambda run: model)
    Image.fromarray(codec._grey(x)[0, 0].byte().numpy()).save(tmp_path / "a.png")
    assert main(["compress", "it", str(tmp_path / "a.png"), "-o", str(tmp_path / "x.gzoo")]) == 0
    assert "zero for a level that is there" in capsys.readouterr().out


# ---- the commands ----------------------------------------------------------------------------------------------------------------


def test_compress_and_decompress_by_words(runs, capsys, tmp_path, monkeypatch):
    run = runs("pixelcnn")
    monkeypatch.chdir(run.path.parents[1])
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    names = ["in/a.png", "in/b.bmp", "in/deep/c.png"]
    arrays = [rng.integers(0, 256, (8, 8), dtype=np.uint8) for _ in names]
    for name, array in zip(names, arrays, strict=True):
        Image.fromarray(array).save(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    out = tmp_path / "x.gzoo"
    assert main(["compress", str(run.path), str(tmp_path / "in"), "-o", str(out), "names=true"]) == 0
    said = capsys.readouterr().out
    assert "3 images" in said
    assert "bits/dim" in said
    assert main(["decompress", str(out), "-o", str(tmp_path / "back")]) == 0, "the run is found by its digest"
    for name, array in zip(("a.png", "b.png", "deep/c.png"), arrays, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "back" / name)), array)
    one, two = str(tmp_path / names[0]), str(tmp_path / names[1])
    assert main(["compress", str(run.path), one, two, f"out={out}"]) == 0
    assert "overwrite=true" in capsys.readouterr().out
    assert main(["decompress", str(tmp_path / "x-2.gzoo"), str(run.path)]) == 0
    assert [p.name for p in sorted((tmp_path / "x-2").iterdir())] == ["0.png", "1.png"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x-2" / "1.png")), arrays[1])

    def mistake(*words):
        assert main(list(words)) == 2
        said = capsys.readouterr().err
        assert len(said.strip().splitlines()) == 1
        return said

    capsys.readouterr()
    assert "there is no file" in mistake("decompress", str(tmp_path / "y.gzoo"))
    assert "the compressed file comes first" in mistake("decompress", "zoo:pixelcnn-digits", str(tmp_path / "y.gzoo"))
    assert "the compressed file comes first" in mistake("decompress", str(tmp_path), str(tmp_path / "y.gzoo"))
    assert "not written by" in mistake("decompress", one)
    assert "not both" in mistake("compress", str(run.path), one, "data=digits")
    monkeypatch.chdir(tmp_path)
    assert "name the run" in mistake("decompress", str(out))


def test_a_name_in_a_file_never_leads_out_of_the_folder(runs, tmp_path):
    run = runs("pixelcnn")
    genzoo.compress(run, images(2), tmp_path / "x.gzoo", names=("../../evil.png", "/etc/evil"))
    assert main(["decompress", str(tmp_path / "x.gzoo"), str(run.path), f"out={tmp_path / 'safe' / 'x'}"]) == 0
    assert sorted(p.name for p in (tmp_path / "safe" / "x").rglob("*.png")) == ["evil.png"]
    assert not (tmp_path / "evil.png").exists()


def test_the_public_functions(tmp_path):
    model, x = sharp(), images(3)
    done = genzoo.compress(model, x, tmp_path / "x.gzoo")
    assert done.size == (tmp_path / "x.gzoo").stat().st_size
    assert done.bits_per_dim == pytest.approx(8 * done.size / 192)
    assert torch.allclose(genzoo.decompress(tmp_path / "x.gzoo", model), x, atol=1e-6)
    assert isinstance(model, PixelCNN)
