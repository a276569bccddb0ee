"""Names of measures as others say them: each resolves to a measure with the protocol it stands for, or says what is other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.metrics.choice import agreed, unlike
from genzoo.metrics.measure import alternatives, asked

NOTHING = {"n": None, "n_real": None, "split": None, "extractor": None, "k": None}
FREE = dict.fromkeys(NOTHING)


@pytest.mark.parametrize(
    ("words", "measure"),
    [
        ("FID fid", "frechet"),
        ("fid50k FID-50K fid_50k fid50k_full fid10k", "frechet"),
        ("KID kid", "kid"),
        ("kid50k kid50k_full", "kid-subsets"),
        ("pr50k3 pr50k3_full precision_recall precision-recall improved_precision_recall precision", "prdc"),
        ("ppl_zfull ppl_wfull PPL path_length", "ppl"),
        ("IS is inception-score inception_score InceptionScore is50k", "score"),
        ("LPIPS", "lpips"),
        ("PSNR SSIM", "reconstruction"),
        ("NLL bpd bits_per_dim bits/dim", "nll"),
        ("MS-SSIM ms_ssim msssim", "diversity"),
        ("cmmd", "mmd"),
        ("FVD", "statistics"),
    ],
)
def test_a_name_finds_its_measure_however_it_is_written(words, measure):
    for word in words.split():
        (found,) = asked(word)
        assert found.measures[0].name == measure, word


def test_lpips_is_that_of_what_the_system_makes():
    assert [m.name for m in asked("LPIPS")[0].measures] == ["lpips", "restored-lpips"]


@pytest.mark.parametrize(
    ("word", "fixed"),
    [
        ("fid50k", {"n": 50_000, "n_real": 50_000, "split": "train", "extractor": "inception"}),
        ("fid50k_full", {"n": 50_000, "n_real": -1, "split": "train", "extractor": "inception"}),
        ("kid50k", {"n": 50_000, "n_real": 50_000, "split": "train", "extractor": "inception"}),
        ("pr50k3", {"n": 50_000, "n_real": 50_000, "split": "train", "extractor": "vgg16", "k": 3}),
        ("is50k", {"n": 50_000}),
        ("FID", {"extractor": "inception"}),
        ("PPL (LPIPS)", {"extractor": "vgg16"}),
        ("frechet", {}),
        ("precision", {}),
    ],
)
def test_what_a_name_fixes_is_taken(word, fixed):
    found, notes = agreed(asked(word), ("samples", "decodes"), NOTHING)
    assert found == {**FREE, **fixed}
    assert bool(notes) == (word in ("fid50k", "fid50k_full", "kid50k", "pr50k3", "is50k"))


def test_what_stands_for_another_protocol_is_told():
    for word, said in (
        ("IS", "ImageNet"),
        ("cmmd", "CLIP"),
        ("fvd", "I3D"),
        ("pr50k3", "another layer"),
        ("precision_recall", "Sajjadi"),
    ):
        (note,) = agreed(asked(word), ("samples",), NOTHING)[1]
        assert note.startswith(f"{word}: ")
        assert said in note


@pytest.mark.parametrize(
    ("word", "given", "said"),
    [
        ("fid50k", {"n": 1000}, r"fid50k is with n=50,000, and you gave n=1,000; measures=frechet leaves it open"),
        ("fid50k", {"split": "test"}, "fid50k is with split=train, and you gave split=test"),
        ("fid50k_full", {"n_real": 10}, "n_real=all, and you gave n_real=10"),
        ("pr50k3", {"k": 5}, "k=3, and you gave k=5"),
        (
            "fid50k,pr50k3",
            {},
            "pr50k3 is with extractor=vgg16, and fid50k with extractor=inception; ask for one after the other",
        ),
    ],
)
def test_what_contradicts_a_name_is_refused(word, given, said):
    with pytest.raises(UserError, match=said):
        agreed(asked(word), ("samples",), {**NOTHING, **given})


def test_path_lengths_are_of_the_latents_that_the_system_has():
    assert agreed(asked("ppl_wfull"), ("decodes", "mixes"), NOTHING)[0]["extractor"] == "vgg16"
    assert agreed(asked("ppl_zfull"), ("decodes",), NOTHING)[0]["extractor"] == "vgg16"
    with pytest.raises(UserError, match=r"latents other than those .*ask for ppl-zfull or ppl"):
        agreed(asked("ppl_wfull"), ("decodes",), NOTHING)
    with pytest.raises(UserError, match=r"latents other than those .*ask for ppl-wfull or ppl"):
        agreed(asked("ppl_zfull"), ("decodes", "mixes"), NOTHING)


@pytest.mark.parametrize(
    ("word", "said"),
    [("ppl2_wend", "ends of paths"), ("fd_dinov2", "DINOv2"), ("fid50k_ful", "did you mean 'fid50k-full'")],
)
def test_what_there_is_not_says_what_is_nearest(word, said):
    with pytest.raises(UserError, match=said):
        asked(word)


def test_a_training_refuses_what_fixes_numbers_and_tells_what_is_other(capsys):
    with pytest.raises(UserError, match=r"fid50k stands for n=50000.*'genzoo evaluate' takes; here ask for frechet"):
        alternatives("fid50k")
    assert [m.name for m in alternatives("IS")[0]] == ["score"]


def test_a_value_of_another_network_than_its_name_says_is_told():
    assert unlike(asked("FID"), ["FD-mine"]) == [
        "FID: with this network and these data it is FD-mine, which is not FID"
    ]
    assert not unlike(asked("FID"), ["FID"])
    assert not unlike(asked("frechet,precision"), ["FLD", "precision", "recall"])


def test_given_samples_are_as_many_as_the_name_says(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "samples.npz", samples=rng.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8))
    with pytest.raises(UserError, match="is50k is of 50,000 samples, and there are 12; ask for score alone"):
        genzoo.evaluate(tmp_path / "samples.npz", "digits", measures="is50k")


def test_the_words_reach_the_notes_of_an_evaluation(runs):
    found = genzoo.evaluate(runs("dcgan"), measures="fid", extractor="random", n=8)
    assert any("which is not FID" in note for note in found["notes"])
    assert torch.isfinite(torch.tensor([m["value"] for m in found["measures"].values()])).all()
