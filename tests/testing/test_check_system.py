"""The promises see what is wrong: a toy that keeps them all, and toys with one mistake each."""

import subprocess
import sys
from pathlib import Path

import pytest

from genzoo.core.errors import UserError
from genzoo.naming import own, registry
from genzoo.testing import PROMISES, Case, Skip, check_system
from tests.toy_shades import MyShades

TOY = (Path(__file__).parents[1] / "toy_shades.py").read_text()
BY_NAME = {p.name: p for p in PROMISES}
DECODE = "        return self.up(z).view(-1, *self.shape).tanh()"
LOSS = '        x = batch["image"]\n'
BROKEN = {
    "no_parameter_has_two_owners_and_owned_parameters_are_its_own": ("self.parameters(), self.lr", "self.up.parameters(), self.lr"),
    "each_update_moves_only_what_its_optimizer_owns_and_each_optimizer_moves_something": (
        '"model": torch.optim.Adam(self.parameters(), self.lr)',
        '"model": torch.optim.Adam(self.parameters(), self.lr), "idle": torch.optim.Adam([torch.nn.Parameter(torch.ones(1))])',
    ),
    "learns_in_bf16_with_float32_weights": ('return {"loss": (self', 'return {"loss": float("nan") * (self'),
    "learning_rate_scale_is_finite_and_not_negative": (
        "    def loss(", "    def lr_scale(self, progress):\n        return 0.5 - progress\n\n    def loss(",
    ),
    "trains_from_one_line_stops_and_resumes_bit_for_bit": (
        LOSS, LOSS + "        self.count = getattr(self, 'count', 0) + 1\n        x = x / self.count\n",
    ),
    "same_seed_same_samples_of_the_stated_form": (DECODE, DECODE.replace("tanh()", "mul(3)")),
    "sampling_uses_the_given_generator_only": ("out_features, generator=generator)", "out_features, generator=None)"),
    "fewer_samples_are_the_beginning_of_more": ("draws.randn(", "torch.randn("),
    "save_and_load_give_the_same_outputs": (
        DECODE, DECODE + " * self.scale", "        super().__init__()\n", "        super().__init__()\n        self.scale = torch.rand(1)\n",
    ),
    "using_a_system_is_deterministic_and_changes_no_state": (DECODE, "        self.up.bias.data += 1\n" + DECODE),
    "reconstructions_have_the_shape_of_the_data": (DECODE, DECODE + "[..., :-1]"),
    "gray_data_are_taken_or_refused_with_the_sizes_that_work": (DECODE, "        assert self.shape[0] == 3\n" + DECODE),
    "wide_data_are_taken_or_refused_with_the_sizes_that_work": (DECODE, "        assert self.shape[1] == self.shape[2]\n" + DECODE),
    "an_impossible_shape_is_refused_in_words": (
        "tuple[int, int, int]", "tuple[int, ...]", "        super().__init__()\n", "        super().__init__()\n        shape = (*shape, 1, 1)[:3]\n",
    ),
    "its_methods_take_the_arguments_of_their_capability": (
        "def encode(self, x: Tensor)", "def encode(self, images: Tensor)", "down(x.flatten", "down(images.flatten",
    ),
    "every_argument_is_documented_and_bounded": ("        code: Numbers in the code.\n", ""),
    "a_system_says_what_it_is": (
        "        super().__init__()\n", "        super().__init__()\n        self.lacks = {'density': 'it was never there'}\n",
    ),
}  # fmt: skip
"""Promise -> what is put for what in the toy, so that it breaks it."""


@pytest.fixture(autouse=True)
def given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_given", {})


def toy(*changes):
    text = TOY
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    Path("toy.py").write_text(text)
    return own.opened("toy.py")[0]


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_breaks_its_promise(name):
    cls = toy(*BROKEN[name])
    registry.register(cls)
    with pytest.raises(Exception) as wrong:
        BY_NAME[name].check(Case(cls))
    assert not isinstance(wrong.value, Skip)


def test_a_class_that_keeps_every_promise(capsys):
    results = check_system(MyShades)
    assert {r.state for r in results} == {"kept", "skipped", "advice"}
    assert {r.name for r in results if r.state == "kept"} >= BROKEN.keys()
    assert [r.name for r in results if r.state == "advice"] == ["it_says_where_it_was_published"]
    assert all(r.why for r in results if r.state != "kept")
    assert {r.preset for r in results} == {"", "shades-16"}
    told = capsys.readouterr().out
    assert "kept     Trains by one line, and once killed goes on to the same weights, bit for bit." in told
    assert "is not Tokenizes" in told


def test_all_that_is_broken_is_told_at_once():
    cls = toy(DECODE, DECODE.replace("tanh()", "mul(3)"), *BROKEN["sampling_uses_the_given_generator_only"])
    with pytest.raises(AssertionError, match=r"MyShades breaks \d+ promises") as broken:
        check_system(cls, quiet=True)
    for name in ("same_seed_same_samples_of_the_stated_form", "sampling_uses_the_given_generator_only (shades-16)"):
        assert name in str(broken.value)


def test_the_table_is_a_command():
    toy()
    command = [sys.executable, "-m", "genzoo.testing"]
    done = subprocess.run([*command, "toy.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 broken" in done.stdout
    toy(*BROKEN["its_methods_take_the_arguments_of_their_capability"])
    done = subprocess.run([*command, "toy.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert (
        "MyShades breaks 1 promises:\nits_methods_take_the_arguments_of_their_capability: encode takes" in done.stderr
    )
    assert subprocess.run([*command, "none.py"], capture_output=True).returncode == 2


def test_what_cannot_be_built_at_all_is_refused():
    Path("a.py").write_text(
        "from genzoo import System\nclass A(System):\n    def __init__(self, shape=(1, 8, 8)):\n        super().__init__()\n"
    )
    with pytest.raises(UserError, match="A cannot learn"):
        check_system("a.py")
