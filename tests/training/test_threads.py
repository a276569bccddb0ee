"""threads=auto times a step with each number of threads, keeps what it took, and leaves no trace in the training."""

import re

import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.saved import threads as module
from genzoo.saved.checkpoint import read
from genzoo.saved.threads import candidates, computing_with, fastest
from genzoo.text.documents import read_toml


class Machine:
    """A call whose time depends on the number of threads, and the clock that shows it."""

    def __init__(self, **costs):
        self.now, self.costs, self.calls = 0.0, {int(k[1:]): v for k, v in costs.items()}, []

    def call(self):
        count = torch.get_num_threads()
        self.calls.append(count)
        self.now += self.costs.get(count, 0.0)

    def clock(self):
        return self.now


def test_the_number_that_is_fastest_is_taken_and_a_hopeless_one_is_tried_once():
    with computing_with(2):
        free, busy = Machine(n1=1.0, n2=0.5), Machine(n1=1.0, n2=30.0)
        assert fastest(free.call, [1, 2], free.clock) == (2, {1: 1.0, 2: 0.5})
        count, seconds = fastest(busy.call, [1, 2], busy.clock)
        assert (count, seconds[1]) == (1, 1.0)
        assert busy.calls[1:].count(2) == 1, "the first call of all is not counted"
        assert torch.get_num_threads() == 2
        even = Machine(n1=1.0, n2=1.0)
        assert fastest(even.call, [1, 2], even.clock)[0] == 1


def test_candidates_are_few():
    assert [candidates(n) for n in (1, 2, 3, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8]]


def train(tmp_path, name, **more):
    settings = {
        "steps": 3,
        "batch": 4,
        "width": 4,
        "size": 16,
        "limit": 8,
        "device": "cpu",
        "precision": "fp32",
        "sample_every": 100,
    }
    return genzoo.train(
        "dcgan", "digits", runs=str(tmp_path), name=name, quiet=more.pop("quiet", True), **settings, **more
    ).path


def weights(path):
    return read(sorted((path / "state").glob("*.safetensors"))[-1])[0]


def test_what_auto_took_is_kept_and_a_run_with_that_number_is_the_same(tmp_path, monkeypatch, capsys):
    """Bit for bit: the trial steps of the choice are those of a copy."""
    monkeypatch.setattr(module, "ROUNDS", 1)
    with computing_with(2):
        auto = train(tmp_path, "auto", threads="auto", quiet=False)
        assert torch.get_num_threads() == 2, "who trains in Python gets the threads back"
    count = int(re.search(r"threads=auto: (\d)", capsys.readouterr().err)[1])
    assert read_toml(auto / "config.toml")["training"]["threads"] == count
    again = train(tmp_path, "again", threads=count)
    a, b = weights(auto), weights(again)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_wrong_number_is_refused_in_words(tmp_path):
    for wrong in (0, "many"):
        with pytest.raises(UserError, match=f"threads={wrong} is not allowed"):
            train(tmp_path, "wrong", threads=wrong)
