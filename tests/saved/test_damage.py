"""Files that are damaged or of somebody else: read, or refused in one line; never a traceback, a long wait or a large allocation."""

from __future__ import annotations

import json
import random
import re
import shutil
import tomllib
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.metrics.stopping import advice
from genzoo.naming import registry
from genzoo.runs.card import model_card
from genzoo.runs.folder import open_run
from genzoo.runs.meters import LogFile
from genzoo.saved import checkpoint
from genzoo.use.common.images import data_settings, window_of
from tests.mutations import bytes_changed, check_all, failures, sealed, structure_changed, tensors_changed, toml

MANY = pytest.mark.parametrize("count", [24, pytest.param(300, marks=pytest.mark.slow)])
RUN = {"steps": 2, "batch": 4, "precision": "fp32", "device": "cpu", "quiet": True, "log_every": 1, "save_every": 1}
TINY = {"dcgan": {"width": 4, "latent": 4}, "vqvae": {"codes": 8, "dim": 4, "width": 8, "blocks": 1, "halvings": 1}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("damage")


@pytest.fixture(scope="module")
def data(home):
    rng = np.random.default_rng(0)
    np.savez(home / "data.npz", images=rng.integers(0, 256, (24, 8, 8), dtype=np.uint8), labels=rng.integers(0, 3, 24))
    return str(home / "data.npz")


@pytest.fixture(scope="module")
def run(home, data):
    return genzoo.train(
        "dcgan",
        data,
        runs=str(home / "runs"),
        ema=0.5,
        measure="swd",
        measure_every=1,
        measure_n=10,
        **RUN,
        **TINY["dcgan"],
    )


@pytest.fixture(scope="module")
def prior(home, data):
    inner = genzoo.train("vqvae", data, runs=str(home / "runs"), **RUN, **TINY["vqvae"])
    return genzoo.train(
        "token-prior", data, tokenizer=str(inner.path), width=16, depth=1, heads=2, runs=str(home / "runs"), **RUN
    )


def changed(file: Path, rng: random.Random, inside: str = ""):
    """A checkpoint with anything in it changed: its bytes, its tensors or its description, sealed again."""
    good = file.read_bytes()
    tensors, meta = checkpoint.read(file)
    kind = rng.randrange(4)
    if kind == 0:
        return lambda to: to.write_bytes(bytes_changed(good, rng))
    if kind == 1:
        few = {k: t for k, t in tensors.items() if k.startswith(inside)}
        new = {k: t for k, t in tensors.items() if k not in few} | tensors_changed(few, rng)
        return lambda to: sealed(to, new, meta)
    if inside and kind == 2:
        key = inside.rstrip(".")
        told = {**meta, "hparams": {**meta["hparams"], key: structure_changed(meta["hparams"][key], rng)}}
        return lambda to: sealed(to, tensors, told)
    told = structure_changed(meta, rng)
    return lambda to: sealed(to, tensors, told)


def use(path: Path) -> None:
    system = genzoo.load(path)
    window_of(system)
    data_settings(system, None)
    genzoo.sample(system, n=1)


@MANY
@pytest.mark.parametrize("inside", ["", "tokenizer."])
def test_models(home, run, prior, inside, count):
    source = prior if inside else run

    def cases():
        file = home / "model.safetensors"
        for seed in range(count):
            changed(source.model, random.Random(seed), inside)(file)
            yield f"seed {seed}", lambda: use(file)

    check_all(cases())


def go_on(run, home: Path, change, *, further: bool = False) -> None:
    """Resume a copy of a run with one of its files changed."""
    folder = home / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run.path, folder)
    change(folder)
    genzoo.resume(folder, quiet=True, steps=3 if further else None)


@MANY
def test_states(home, run, count):
    newest, *older = (p.name for p in run.states())

    def cases():
        for seed in range(count):
            rng = random.Random(1000 + seed)
            write = changed(run.path / "state" / newest, rng)

            def change(folder, write=write):
                for name in older:
                    (folder / "state" / name).unlink()
                write(folder / "state" / newest)

            yield f"seed {seed}", lambda change=change, seed=seed: go_on(run, home, change, further=seed % 4 == 0)

    check_all(cases())


def text_changed(text: str, rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return bytes_changed(text.encode(), rng)
    value = structure_changed(tomllib.loads(text), rng)
    return (toml(value) if isinstance(value, dict) else repr(value)).encode("utf-8", "replace")


@MANY
def test_settings(home, run, count):
    text = (run.path / "config.toml").read_text()

    def cases():
        for seed in range(count):
            new = text_changed(text, random.Random(2000 + seed))
            if re.search(rb'steps"? = \d{3}', new):
                continue  # to train longer is a wish
            yield f"seed {seed}", lambda new=new: go_on(run, home, lambda f: (f / "config.toml").write_bytes(new))

    check_all(cases())


def lines_changed(data: bytes, rng: random.Random) -> bytes:
    """A file of JSON lines with bytes, or whole values of some lines, changed."""
    if rng.random() < 0.3:
        return bytes_changed(data, rng)
    lines = data.splitlines()
    for _ in range(rng.choice([1, 2, 5])):
        i = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                lines.insert(i, lines[rng.randrange(len(lines))])
            case 1 if len(lines) > 1:
                del lines[i]
            case _:
                try:
                    lines[i] = json.dumps(structure_changed(json.loads(lines[i]), rng)).encode()
                except ValueError:
                    lines[i] = b"{"
    return b"\n".join(lines) + b"\n" * rng.randrange(2)


@MANY
def test_logs(home, run, count):
    good = (run.path / "log.jsonl").read_bytes()
    file = home / "logged" / "log.jsonl"
    file.parent.mkdir(exist_ok=True)
    shutil.copy(run.path / "config.toml", file.parent)
    meta = genzoo.load(run.path).trained

    def read():
        logged = open_run(file.parent)
        advice([], logged.log())
        model_card(logged, meta, 2, 1.0, {})
        LogFile(file, 1).close()
        assert all(line["step"] <= 1 for line in logged.log())

    def cases():
        for seed in range(count):
            file.write_bytes(lines_changed(good, random.Random(3000 + seed)))
            yield f"seed {seed}", read

    check_all(cases())


@pytest.fixture(scope="module")
def measured(run):
    genzoo.evaluate(run, measures="swd", n=10, n_real=10)
    return run


@MANY
def test_measurements(home, measured, count):
    good = (measured.path / "metrics.json").read_bytes()
    file = home / "other" / "metrics.json"
    file.parent.mkdir(exist_ok=True)
    meta = genzoo.load(measured.path).trained
    shutil.copy(measured.path / "config.toml", file.parent)

    def read():
        model_card(open_run(file.parent), meta, 2, 1.0, {})
        genzoo.compare(measured, file.parent, out=home / "compared", overwrite=True)

    def cases():
        for seed in range(count):
            rng = random.Random(4000 + seed)
            new = json.dumps(structure_changed(json.loads(good), rng)).encode()
            file.write_bytes(new if rng.random() < 0.7 else bytes_changed(good, rng))
            yield f"seed {seed}", read

    check_all(cases())


STUDY = """
name = "small"
systems = ["gaussian", "gaussian-diagonal"]
data = ["digits"]
seeds = 2
draws = 2
samples = 50
also = ["precision"]
[settings]
batch = 32
[settings_on.digits]
size = 8
[settings_for.gaussian]
ridge = 0.01
[search]
ridge = {low = 0.001, high = 0.1, log = true}
"""


@MANY
def test_study_files(home, count):
    pytest.importorskip("optuna")
    from genzoo.studies.plan import read_plan

    def cases():
        for seed in range(count):
            file = home / f"study-{seed}.toml"
            file.write_bytes(text_changed(STUDY, random.Random(5000 + seed)))
            yield f"seed {seed}", lambda file=file, seed=seed: read_plan(file, home / f"study-{seed}")[1].trials()

    check_all(cases())


@pytest.fixture(scope="module")
def studied(home):
    pytest.importorskip("optuna")
    (home / "small.toml").write_text(STUDY)
    return genzoo.study(home / "small.toml", out=home / "small", limit=3, quiet=True)


@MANY
@pytest.mark.parametrize("name", ["journal.log", "trial.json", "study.toml"])
def test_studies(home, studied, name, count):
    from genzoo.studies.page import write_study_page
    from genzoo.studies.plan import read_plan
    from genzoo.studies.report import ranked, summary
    from genzoo.studies.work import rows_of

    count = count if name == "journal.log" else count // 3
    folder = home / "study-copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(studied.path, folder)
    file = next(folder.rglob(name))
    good = file.read_bytes()

    def read():
        plan = read_plan(folder)[1]
        rows = rows_of(folder, plan)
        write_study_page(folder, plan, rows, ranked(plan, summary(plan, rows)), [])

    def cases():
        for seed in range(count):
            rng = random.Random(6000 + seed)
            if name == "study.toml":
                file.write_bytes(text_changed(good.decode(), rng))
            elif name == "trial.json" and rng.random() < 0.7:
                file.write_text(json.dumps(structure_changed(json.loads(good), rng)))
            else:
                file.write_bytes(lines_changed(good, rng))
            yield f"{name}, seed {seed}", read

    check_all(cases())


@MANY
@pytest.mark.parametrize("summed", [False, True])
def test_compressed_files(home, data, count, summed, monkeypatch):
    """The file of `genzoo compress`, with a wrong checksum or as another program could write it, and config.json of its model."""
    monkeypatch.chdir(home)
    maker = home / "runs" / "coder"
    if not maker.exists():
        own = {k: v for k, v in registry.system_class("pixelcnn").tiny.items() if k != "shape"}
        genzoo.train("pixelcnn", data, size=8, name="coder", runs="runs", **own, **RUN)
    images = genzoo.sample(maker, n=3)
    file, config = home / "x.gzoo", maker / "model" / "config.json"
    genzoo.compress(maker, images, file)
    good, told = file.read_bytes(), config.read_bytes()

    def cases():
        for seed in range(count):
            rng = random.Random(7000 + seed)
            body = bytes_changed(good[8:], rng)
            new = good[:4] + zlib.crc32(body).to_bytes(4, "little") + body if summed else bytes_changed(good, rng)
            file.write_bytes(new if seed % 4 else good)
            config.write_bytes(told if seed % 4 else bytes_changed(told, rng))
            yield f"seed {seed}", lambda seed=seed: genzoo.decompress(file, maker if seed % 2 else None)

    try:
        check_all(cases())
    finally:
        config.write_bytes(told)


def test_the_trial_finds_what_it_is_for():
    """An error of a library, a message of two lines, a wait and a large allocation are found; a clear line is not."""
    import torch

    from tests import mutations

    def refuse(text):
        raise UserError(text)

    mutations_seconds, mutations.SECONDS = mutations.SECONDS, 1
    try:
        found = failures(
            [
                ("fine", lambda: None),
                ("clear", lambda: refuse("x.toml is not TOML (line 3)")),
                ("library", lambda: {}["x"]),
                ("two lines", lambda: refuse("this is\nno single line")),
                ("slow", lambda: [None for _ in iter(int, 1) if False]),
                ("large", lambda: torch.ones(2**31, dtype=torch.uint8)),
            ]
        )
    finally:
        mutations.SECONDS = mutations_seconds
    assert [text.split(":")[0] for text in found] == ["library", "two lines", "slow", "large"]


@pytest.mark.parametrize("betas", ["0.9", 0.9, [0.9, 0.99, 0.999], None, [0.9, "0.99"]], ids=str)
def test_an_option_of_another_form_is_not_taken(betas):
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(layer.parameters())
    group = {k: v for k, v in optimizer.state_dict()["param_groups"][0].items() if k != "params"}
    with pytest.raises(ValueError, match="options that this optimizer does not have"):
        checkpoint.restore_optimizer("model", optimizer, {}, {"scalars": {}, "groups": [{**group, "betas": betas}]})
