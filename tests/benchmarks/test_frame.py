"""What all benchmarks stand on: what is compared, what counts as time, and which case stands beside which."""

import importlib
import re
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import frame, roofline
from benchmarks.bench_cli import HELP, SAMPLE, kept

MODULES = sorted(p.stem for p in (frame.ROOT / "benchmarks").glob("bench_*.py") if "frame.main(" in p.read_text())


def test_the_time_of_a_process_that_has_ended_counts():
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    assert 0.25 < frame.seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True)) < 5


def test_parts_of_a_run_are_multiplied_and_repeats_divided(monkeypatch):
    monkeypatch.setattr(frame, "seconds", lambda work: (work(), 6.0)[1])
    monkeypatch.setattr(frame, "matrix_rate", lambda dtype: 100.0)
    calls = []
    found = frame.rounds_of(frame.Case(lambda: calls.append(1), repeat=3, parts=5), flops=200)
    assert len(calls) == 3
    assert found == {"seconds": 10.0, "share": pytest.approx(0.2)}


def test_operations_are_counted_as_torch_counts_them_and_gradients_of_gradients_with_them():
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(48, 1))
    x = torch.ones(5, 2, 6, 6, requires_grad=True)
    forward = 2 * 5 * (16 * 3 * 2 * 9 + 48)
    with torch.inference_mode():
        assert frame.count(lambda: net(x))[0] == forward
    with FlopCounterMode(display=False) as theirs:
        net(x).sum().backward()
    assert frame.count(lambda: net(x).sum().backward())[0] == theirs.get_total_flops() > 2 * forward

    def penalty() -> None:
        (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()

    assert frame.count(penalty)[0] > 3 * forward


def test_what_two_trees_computed_is_compared(tmp_path):
    for name, value in (("a", [1.0, 2.0]), ("b", [1.0, 2.5]), ("c", [1.0])):
        torch.save(torch.tensor(value), tmp_path / name)
    a, b, c = (tmp_path / name for name in "abc")
    assert frame.compared(a, a) == "values equal"
    assert "50.0000 % of the values differ, by at most 0.5" in frame.compared(a, b)
    assert "DIFFER in shape" in frame.compared(a, c)
    assert frame.compared(a, tmp_path / "none") == "values not compared"


def test_a_line_has_shares_of_the_case_that_is_the_limit(tmp_path):
    times = {"now": [2.0, 4.0, 2.0], "limit": [1.0, 2.0, 1.0], "base": [6.0, 12.0, 6.0]}
    found = {of: [{"seconds": t, "share": 0.0} for t in each] for of, each in times.items()}
    words = " | ".join(frame._told("x", times, found, "", tmp_path))
    assert "now 2.000 (2.000 to 4.000) s, 50.0 % of the limit" in words
    assert "limit 1.000 (1.000 to 2.000) s |" in words
    assert "2.00 (2.00 to 2.00) times the limit" in words
    assert "3.00 (3.00 to 3.00) times as fast as the base" in words


@pytest.mark.parametrize("module", MODULES)
def test_what_a_case_stands_beside_is_a_case_that_is_not_measured_alone(module):
    text = (frame.ROOT / "benchmarks" / f"{module}.py").read_text()
    cases = importlib.import_module(f"benchmarks.{module}").CASES
    beside = {value for _, value in re.findall(r"\b(plain|limit)=\"([^\"{]+)\"", text)}
    assert beside <= set(cases), "a case stands beside one that there is not"
    assert all(name.endswith(("-plain", "-limit")) for name in beside)
    assert any(not name.endswith(("-plain", "-limit")) for name in cases)


def test_a_profile_counts_operations_and_leaves_out_views(capsys):
    a, out = torch.ones(8, 8), torch.empty(8, 8)

    def work() -> None:
        for _ in range(50):
            torch.mm(a.view(8, 8), a, out=out).relu_()

    frame.profile(frame.Case(work), "fifty products")
    told = capsys.readouterr().out
    assert "| mm | 50 |" in told
    assert "| relu_ | 50 |" in told
    assert "clamp" not in told  # which relu_ calls
    assert "100 operations that are no views" in told


def test_promises_of_the_start_are_kept_or_broken():
    assert kept({"help": {"now": [HELP / 2] * 3}, "sample": {"now": [SAMPLE] * 3, "limit": [1.0] * 3}})
    assert kept({})
    assert not kept({"help": {"now": [HELP * 2] * 3}})
    assert not kept({"sample": {"now": [SAMPLE * 2] * 3, "limit": [1.0] * 3}})


@pytest.mark.slow
def test_a_case_takes_turns_with_its_limit_in_processes_of_their_own(capsys):
    found = frame.measure("benchmarks.bench_cli", "import", None, rounds=2)
    assert set(found) == {"now", "limit"}
    assert all(len(each) == 2 for each in found.values())
    assert "times the limit" in capsys.readouterr().out


def test_an_account_names_products_by_their_kind_and_counts_what_torch_counts(capsys):
    conv, x = torch.nn.Conv2d(2, 3, 3, bias=False), torch.ones(1, 2, 5, 5, requires_grad=True)
    by_depth = torch.nn.Conv2d(3, 3, 2, groups=3, bias=False).requires_grad_(False)

    def work() -> None:
        by_depth(conv(x)).exp().sum().backward()

    found = roofline.Account()
    with roofline._Timer(found, roofline.added()):
        work()
    named = {
        "3x3, forward",
        "3x3, gradient of maps and filters",
        "2x2 by depth, forward",
        "2x2 by depth, gradient of maps",
    }
    assert set(found.kinds) == named
    assert roofline.whole(found.kinds).flops == roofline.whole(found.products).flops == frame.count(work)[0] > 0
    assert found.passes["exp"].calls == 1
    assert found.passes["exp"].moved == 2 * 3 * 4 * 4
    roofline.account(frame.Case(work), "small", rounds=1)
    assert "| 3x3, gradient of maps and filters | 1 |" in capsys.readouterr().out
