"""What looks at features alone is measured as samples are drawn: the same numbers, and no samples kept."""

import numpy as np
import torch

import genzoo
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw, drawing
from genzoo.metrics.features.extractors import Rows, cached_features
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.measure import table
from genzoo.metrics.real import digest_of_rows
from genzoo.metrics.records import content_digest


def system():
    torch.manual_seed(0)
    return genzoo.create("dcgan", shape=(3, 8, 8), width=4).eval()


def test_features_of_samples_that_are_not_kept_are_those_of_samples_that_are():
    made = {
        kept: Comparison(test=None, net=extractor("random"), system=system(), n=300, kept=kept)
        for kept in (True, False)
    }
    torch.testing.assert_close(made[False].fake_features, made[True].fake_features)
    assert "fake" in vars(made[True])
    assert "fake" not in vars(made[False])
    assert torch.equal(made[False].fake, made[True].fake), "who asks for them all the same gets them"


def test_samples_are_drawn_into_one_piece_of_memory():
    s = system()
    parts = list(drawing(s, 300, 7, chunk=128))
    assert [len(part) for part in parts] == [128, 128, 44]
    assert torch.equal(draw(s, 300, 7, chunk=128), torch.cat(parts))


def test_rows_are_copied_as_they_are_looked_at(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (700, 3, 8, 8), dtype=np.uint8)
    rows = np.random.default_rng(1).permutation(700)[:600]
    some, net = Rows(images, rows), extractor("random")
    assert (len(some), some.shape, some.dtype) == (600, (600, 3, 8, 8), np.uint8)
    np.testing.assert_array_equal(some[250:510], images[rows][250:510])
    assert digest_of_rows(some) == content_digest(images[rows])
    torch.testing.assert_close(cached_features(images, rows, "content", net), net(images[rows]))


def test_measures_of_features_alone_say_so():
    looks = {name: m.looks for name, m in table().items()}
    assert not looks["frechet"]
    assert not looks["kid"]
    assert looks["swd"]
    assert looks["memorization"]
