"""What the proofs of colours and of hide and seek measure: hues, boldness, texture in holes, what a seeker finds."""

import pytest
import torch

from genzoo.nn.colour import lab_to_rgb, rgb_to_lab
from proofs.colours import chroma, hue_agreement, scaled_to, with_colours
from proofs.restore import found_in, texture


def coloured(angle: float, size: float = 20.0) -> torch.Tensor:
    """One image of middle lightness and a single colour."""
    ab = size * torch.tensor([angle, angle - torch.pi / 2]).cos().view(1, 2, 1, 1)
    return lab_to_rgb(torch.full((1, 1, 4, 4), 60.0), ab.expand(-1, -1, 4, 4))


def test_agreement_of_hues_is_the_cosine_and_knows_no_boldness():
    real = coloured(0.3)
    for angle in (0.3, 1.0, 0.3 + torch.pi):
        wanted = torch.tensor(angle - 0.3).cos().item()
        for size in (10.0, 30.0):
            assert hue_agreement(coloured(angle, size), real).item() == pytest.approx(wanted, abs=0.02)
    assert hue_agreement(coloured(0.3, 0.0), real).item() == pytest.approx(0, abs=0.02), "gray agrees with nothing"


def test_colours_are_scaled_to_a_chroma_and_keep_their_hue():
    gray, ab = coloured(0.0, 0.0), rgb_to_lab(coloured(0.7, 10.0))[1]
    for wanted in (4.0, 10.0, 25.0):
        y = with_colours(gray, scaled_to(ab, gray, wanted))
        assert chroma(y).item() == pytest.approx(wanted, abs=0.2)
        assert hue_agreement(y, coloured(0.7)).item() == pytest.approx(1, abs=0.02)


def test_texture_counts_neighbours_that_both_lie_in_the_hole():
    y = torch.zeros(1, 1, 4, 4)
    y[..., ::2] = 1.0  # columns of 1 and 0: differences of 1 across, 0 down
    hole = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    hole[..., 1:3, 1:3] = True
    assert texture(y, hole).item() == pytest.approx(0.5)
    y[..., 0, :] = 9.0
    assert texture(y, hole).item() == pytest.approx(0.5), "what is around the hole is not looked at"


def test_what_is_found_is_counted_image_by_image():
    known = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    score = torch.stack([known[0].float(), -known[1].float()])
    assert found_in(score, known).tolist() == [1.0, 0.0]
