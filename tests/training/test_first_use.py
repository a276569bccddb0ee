"""What people do wrong in their first hour, and what machines do to them: each was once misunderstood, lost or answered too late."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.common import waiting
from genzoo.cli.main import main
from genzoo.cli.table import commands, offered
from genzoo.core import schema
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import DiskFull, UserError, disk_full_is_said
from genzoo.core.files import write_atomic
from genzoo.data import DataSettings, open_data, seen_from
from genzoo.metrics.drawing import draw
from genzoo.metrics.measure import choose
from genzoo.naming import registry
from genzoo.runs.folder import open_run
from genzoo.runs.meters import LogFile, pace, read_log
from genzoo.saved.devices import check_memory
from genzoo.saved.loading import load
from genzoo.text.documents import read_toml
from genzoo.training.choices import complete
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume
from genzoo.use.common.pace import words
from genzoo.use.sample import sample
from tests.cli.test_cli import mistake
from tests.conftest import build, data_for

TINY = {"width": 8, "latent": 8, "batch": 4, "device": "cpu", "precision": "fp32", "size": 16, "limit": 8}


def trained(tmp_path, name="run", **more):
    return genzoo.train("dcgan", "digits", name=name, runs=str(tmp_path), quiet=True, **{**TINY, "steps": 1, **more})


# ---- no room ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: Disk quota exceeded (os error 122)")],
)
def test_no_room_is_one_sentence_with_the_file_whatever_library_noticed(tmp_path, error):
    with (
        pytest.raises(DiskFull, match=r"no room to write .*x\.png: 5 bytes are needed.*make room"),
        disk_full_is_said(tmp_path / "x.png", 5),
    ):
        raise error
    with pytest.raises(OSError, match="denied"), disk_full_is_said(tmp_path / "x.png", 5):
        raise OSError(errno.EACCES, "permission denied")


def test_a_picture_on_a_full_disk_is_refused_by_name_and_the_old_one_stays(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "x.png", b"old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskFull, match=r"x\.png"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"


def test_a_log_is_not_lost_where_a_run_is_resumed_on_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"step": i}) + "\n" for i in (1, 2, 3)))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFull):
        LogFile(path, 2)
    monkeypatch.undo()
    assert [line["step"] for line in read_log(path)] == [1, 2, 3]
    LogFile(path, 2).close()
    assert [line["step"] for line in read_log(path)] == [1, 2]


def test_a_run_that_cannot_begin_keeps_no_name(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises((DiskFull, UserError)):
            trained(tmp_path)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="is no run; choose another name"):
        trained(tmp_path)


# ---- going on --------------------------------------------------------------------------------------------------------------------


def test_a_new_total_is_kept_and_a_smaller_one_refused(tmp_path):
    run = trained(tmp_path, steps=2)
    with pytest.raises(UserError, match=r"steps=1: .* has had 2 already"):
        resume(run.path, steps=1, quiet=True)
    resume(run.path, steps=3, quiet=True)
    assert "steps = 3" in (run.path / "config.toml").read_text()
    resume(run.path, quiet=True)  # a run that was stopped on its way to 3 goes on to 3, not to 2
    assert run.log()[-1]["step"] == 3


def test_a_broken_settings_file_is_named(tmp_path):
    run = trained(tmp_path)
    file = run.path / "config.toml"
    text = file.read_text()
    file.write_text(text.replace("[system]", "[system"))
    with pytest.raises(UserError, match=r"config\.toml is not TOML"):
        resume(run.path, quiet=True)
    file.write_text(text.replace("[data]", "[date]"))
    with pytest.raises(UserError, match="has no 'data' any more"):
        resume(run.path, quiet=True)


def test_a_run_can_be_moved_renamed_and_opened_elsewhere(tmp_path, monkeypatch):
    run = trained(tmp_path / "a")
    before = genzoo.sample(run, n=2, seed=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "über alles").mkdir()
    moved = run.path.rename(tmp_path / "über alles" / "my run")
    assert torch.equal(genzoo.sample(moved, n=2, seed=1), before)
    assert torch.equal(genzoo.sample("~/über alles/my run", n=2, seed=1), before)
    assert load("~/über alles/my run").hparams == load(moved).hparams
    assert open_run(moved).name == "my run"


def test_hints_can_be_copied_where_a_folder_has_a_space(tmp_path, capsys):
    runs = tmp_path / "my runs"
    assert main(["train", "dcgan", "digits", "steps=1", f"runs={runs}", *[f"{k}={v}" for k, v in TINY.items()]]) == 0
    assert f"genzoo sample '{runs}/dcgan'" in capsys.readouterr().out
    (tmp_path / "my photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "my photos" / "a.png")
    assert main(["advise", "task=complete", f"data={tmp_path / 'my photos'}", "budget=1min"]) == 0
    assert f"data='{tmp_path}/my photos'" in capsys.readouterr().out


# ---- what is said before and during the work -------------------------------------------------------------------------------------


def test_what_a_run_costs_is_said_before_the_first_step(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genzoo.training.start.LARGE", 1000)
    genzoo.train("dcgan", "digits", runs=str(tmp_path), steps=1, **{**TINY, "limit": 2})
    said = capsys.readouterr().err
    assert "a batch of 4 shows each of 2 examples several times" in said
    assert "GB of memory" in said
    assert "GB of disk" in said


def test_a_network_that_memory_cannot_train_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    run = trained(tmp_path)
    count = sum(p.numel() for p in genzoo.load(run.path).parameters())
    monkeypatch.setattr("genzoo.saved.devices.free_memory", lambda: 24 * count + 8 * count)
    trained(tmp_path, name="fits", ema=0.9)
    monkeypatch.setattr("genzoo.saved.devices.free_memory", lambda: 24 * count - 1)
    with pytest.raises(UserError, match=rf"dcgan has {count:,} parameters .* are free\. Give a smaller size="):
        trained(tmp_path, name="large")
    assert not (tmp_path / "large").exists()


def test_slow_steps_are_told_in_seconds():
    assert (pace(2.0), pace(0.02)) == ("2.0 steps/s", "50.0 s/step")
    assert words(0.1, about=True) == "under a second"


def test_a_command_that_takes_long_says_how_long(capsys):
    system = build("gaussian")
    with waiting("sample", first=0.05):
        draw(system, 300, 0)
        time.sleep(0.3)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("sample: 0:00 so far, 300 of 300 done, about 0:00 left")
    with waiting("sample", first=5):
        pass
    assert capsys.readouterr().err == ""


def test_where_nothing_can_be_written_is_said_before_the_work(tmp_path, capsys, monkeypatch):
    run = trained(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(genzoo, "sample", lambda *_, **__: pytest.fail("samples were drawn first"))
    assert "file is a file" in mistake(capsys, "sample", str(run.path), f"out={tmp_path}/file/x.png")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "no permission" in mistake(capsys, "sample", str(run.path))


# ---- what is typed ---------------------------------------------------------------------------------------------------------------


def test_a_system_that_was_built_without_an_ability_does_not_offer_it(capsys):
    video, film = build("video-gan"), build("video-gan-conditional")
    assert "animates" in capabilities(type(video))
    assert "animates" not in capabilities(video)
    assert "animates" in capabilities(film)
    with pytest.raises(
        UserError, match="animate: this model was trained without first frames; train it with conditional=true"
    ):
        genzoo.animate(video, torch.zeros(1, *video.hparams["shape"][:1], 8, 8))
    assert "completes" not in capabilities(build("made", shape=(2,)))


def test_devices_that_are_not_there_are_said(tmp_path):
    run = trained(tmp_path)
    for device in ("cpu:7", "gpu", *([] if torch.cuda.is_available() else ["cuda"])):
        with pytest.raises(UserError, match=f"device={device} is not here; this machine has cpu"):
            load(run.path, device=device)
    assert load(run.path, device="cpu").device.type == "cpu"


def test_classes_are_asked_for_by_name():
    system = build("cgan", classes=3)
    system.trained = {"class_names": ["Katze", "Hund", "Vogel"]}
    assert torch.equal(sample(system, n=2, label="Hund"), sample(system, n=2, label=1))
    with pytest.raises(
        UserError,
        match=r"label=hund: there is no class of this name — did you mean 'Hund'.* Classes: Katze, Hund, Vogel",
    ):
        sample(system, n=2, label="hund")


def test_numbers_paths_and_arrays_from_python(tmp_path):
    wanted = schema.check(
        DataSettings, {"data": tmp_path, "limit": np.int64(5), "holdout": np.float64(0.5), "size": "1e2"}
    )
    assert (wanted["data"], wanted["limit"], wanted["holdout"], wanted["size"]) == (str(tmp_path), 5, 0.5, 100)
    for bad in ("1.5e0", "1e-3", "0e1"):
        with pytest.raises(UserError, match=f"limit={bad} is not allowed"):
            schema.check(DataSettings, {"data": "x", "limit": bad})
    with pytest.raises(UserError) as caught:
        schema.check(DataSettings, {"data": "x", "size": 5000})
    assert str(caught.value).count("size=5000") == 1
    with pytest.raises(UserError, match=r"not a ndarray; write an array .* numpy\.save"):
        genzoo.train("vae", np.zeros((3, 8, 8)))


def test_sounds_into_a_folder_without_a_number(tmp_path, monkeypatch, capsys):
    data = data_for("wavenet", tmp_path / "sounds")
    keys = [f"{k}={v}" for k, v in build("wavenet").tiny.items() if k != "shape"]
    seconds = [f"seconds={data.seconds}"] if data.seconds else []
    assert (
        main(["train", "wavenet", data.data, *keys, *seconds, "steps=1", "batch=2", f"runs={tmp_path}", "name=w"]) == 0
    )
    monkeypatch.setattr("genzoo.use.sample.USUAL", 2)
    assert main(["sample", str(tmp_path / "w"), f"out={tmp_path}/each/"]) == 0
    assert [p.suffix for p in sorted((tmp_path / "each").iterdir())][:1] == [".wav"]


def test_a_measure_by_its_usual_name_is_the_right_one():
    assert [m.name for m in choose("fid")] == ["frechet"]
    with pytest.raises(UserError, match="did you mean 'frechet'"):
        choose("frechett")


def test_one_empty_domain_is_said(tmp_path):
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainB").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "trainA" / "x.png")
    with pytest.raises(UserError, match="A has images, B has none"):
        open_data(DataSettings(str(tmp_path)), kind="unpaired", quiet=True)


def test_advice_needs_a_task(capsys):
    assert "task= is missing" in mistake(capsys, "advise", "data=digits")


def test_what_a_system_is_for_is_offered_as_it_is_typed():
    names = {name: [c.name for c in offered(capabilities(system), getattr(system, "directions", ()))] for name, system in (
        ("srgan", build("srresnet")), ("colorizer", build("colorizer")), ("pix2pix", build("pix2pix")), ("vae", build("vae")),
    )}  # fmt: skip
    assert names["srgan"] == ["upscale"]
    assert names["colorizer"] == ["colorize"]
    assert names["pix2pix"] == ["translate"]
    assert names["vae"][:2] == ["sample", "walk"]
    assert commands()["upscale"].call("runs/x") == "genzoo upscale runs/x IMAGE_OR_FOLDER"
    assert commands()["sample"].call("runs/x") == "genzoo sample runs/x"


def test_the_second_stage_is_named_after_the_first(tmp_path, capsys):
    tiny = [f"{k}={v}" for k, v in build("vqvae").tiny.items() if k != "shape"]
    assert (
        main(["train", "vqvae", "digits", "size=16", "limit=4", "steps=1", "batch=2", f"runs={tmp_path}", *tiny]) == 0
    )
    assert f"'genzoo train token-prior tokenizer={tmp_path}/vqvae data=...'" in capsys.readouterr().out
    assert main(["show", "srgan"]) == 0
    assert "start=RUN" not in capsys.readouterr().out
    assert main(["show", "token-prior"]) == 0
    assert "tokenizer=RUN" in capsys.readouterr().out


def test_a_name_that_is_taken_is_said_before_data_are_read(tmp_path):
    trained(tmp_path)
    with pytest.raises(UserError, match="a run named 'run' is in"):
        genzoo.train("dcgan", str(tmp_path / "nothing"), name="run", runs=str(tmp_path), quiet=True)


def test_arrays_bytes_and_other_ranges_from_python():
    system = build("vae").eval()
    shape = system.hparams["shape"]
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    x = torch.from_numpy(pixels).float() / 127.5 - 1
    back = genzoo.reconstruct(system, x)
    assert torch.equal(genzoo.reconstruct(system, pixels), back)
    assert torch.equal(genzoo.reconstruct(system, x.double().numpy()), back)
    for bad, said in (
        (x * 127.5 + 127.5, r"values go from .* to 2\d\d"),
        (pixels.astype(int), "no known range"),
        ([1], "not a list"),
        (x[0], "shape"),
        (x[:, :, 1:], "shape"),
    ):
        with pytest.raises(UserError, match=f"reconstruct: .*{said}"):
            genzoo.reconstruct(system, bad)
    with pytest.raises(UserError, match="walk: shape"):
        genzoo.walk(system, images=x[:, :, 1:])


def test_a_run_in_the_folder_of_its_data_is_no_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(f"{i}.png")
    run = genzoo.train(
        "dcgan", ".", runs="runs", steps=1, quiet=True, **{k: v for k, v in TINY.items() if k != "limit"}
    )
    resume(run.path, steps=2, quiet=True)  # "the data has changed" if samples were counted
    again = open_data(DataSettings("."), quiet=True)
    assert sum(again.sizes["image"].values()) == 4
    assert main(["data", "show", ".", "size=16"]) == 0
    page = tmp_path.parent / f"{tmp_path.stem}.png"
    assert page.exists(), "beside the data, not among them"
    page.unlink()
    assert not list(tmp_path.glob("*data*.png"))
    assert main(["sample", str(run.path), "n=2", "out=x.npz"]) == 0


def test_a_run_finds_its_data_from_another_working_folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    run = genzoo.train("gaussian", "photos", quiet=True, device="cpu", precision="fp32", ridge=0.1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "runs" / "gaussian"
    assert resume(path, quiet=True).path == path
    assert "NLL" in genzoo.evaluate(path, measures="nll", n=2)["measures"]
    assert seen_from(DataSettings("digits"), path).data == "digits", "names win over paths"
    assert seen_from(DataSettings("photos"), tmp_path / "elsewhere").data == "photos"
    assert run.path == Path("runs/gaussian")


def test_commands_take_a_device(tmp_path, capsys, monkeypatch):
    run = trained(tmp_path)
    asked = []
    original = genzoo.saved.loading.load
    monkeypatch.setattr(
        "genzoo.saved.loading.load", lambda path, device="cpu": (asked.append(device), original(path))[1]
    )
    assert main(["sample", str(run.path), "n=2", "device=auto"]) == 0
    assert main(["sample", str(run.path), "n=2"]) == 0
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert [d.split(":")[0] for d in asked] == [best, "cpu"]
    assert "device=tpu is not here" in mistake(capsys, "sample", str(run.path), "device=tpu")
    assert main(["help", "sample"]) == 0
    assert "device=cuda" in capsys.readouterr().out


def test_python_calls_leave_the_persons_randomness_and_say_what_is_no_number(tmp_path):
    run = trained(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    drawn = genzoo.sample(run, n=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(genzoo.sample(genzoo.load(run), n=np.int64(2), seed=np.int64(0)), drawn)
    for wrong in ({"n": 2.5}, {"n": "3"}, {"n": 0}, {"n": True}, {"seed": None}, {"seed": -1}):
        with pytest.raises(UserError, match=r"=.* is not allowed; give a whole number, at least"):
            genzoo.sample(run, **{"n": 2, **wrong})


def test_a_resumed_run_says_where_it_goes_on(tmp_path, capsys):
    run = trained(tmp_path, steps=2)
    resume(run.path, steps=3)
    assert "dcgan: going on after step 2 of 3 on cpu, fp32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("place,words\n0.png,a thing\n", "no columns file .* its columns: place, words"),
        ("file,caption\n", "it holds no row"),
        ("", "no columns file .* its columns: none"),
        ("file,caption\nx.png,a thing\n", "none of its 1 files is among the images, the first of them 'x.png'"),
    ],
)
def test_a_table_that_was_asked_for_and_gives_nothing_is_not_passed_over(tmp_path, table, said):
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "captions.csv").write_text("file,caption\n" + "".join(f"{i}.png,a thing {i}\n" for i in range(4)))
    other = tmp_path.parent / f"{tmp_path.name}-other.csv"
    other.write_text(table)
    with pytest.raises(UserError, match=f"captions=.*other.csv: {said}"):
        open_data(DataSettings(str(tmp_path), captions=str(other)), kind="captioned", quiet=True)


def test_what_show_says_to_try_is_data_of_the_right_kind(capsys):
    for name, data in (("gan-cls", "shapes"), ("video-gan", "moving-digits"), ("wavenet", "SOUNDS/")):
        assert main(["show", name]) == 0
        assert f"genzoo train {name} data={data}" in capsys.readouterr().out


def test_an_evaluation_that_cannot_be_kept_is_not_begun(tmp_path, monkeypatch):
    run = trained(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="no permission"):
        genzoo.evaluate(run.path, measures="frechet", n=10)


def test_a_preset_may_have_training_defaults_of_its_own(tmp_path):
    keys = {
        "width": 8,
        "layers": 3,
        "head": 8,
        "kernel": 3,
        "steps": 1,
        "limit": 32,
        "size": 8,
        "runs": str(tmp_path),
        "quiet": True,
    }

    def kept(name, **given):
        run = genzoo.train(name, "digits", **keys, **given)
        training = read_toml(run.path / "config.toml")["training"]
        return training["batch"], training["warmup"]

    assert kept("gated-pixelcnn") == (8, 0.03)
    assert kept("gated-pixelcnn-paper") == (16, 0.0)
    assert kept("gated-pixelcnn-paper", batch=4) == (4, 0.0), "what the person says comes first"


def test_decay_none_is_said_and_not_left_open():
    """`none` is one of decay's values: it switches off the decay that a system has by default; of other settings it means 'not given'."""
    asked, open_ = (
        schema.build(TrainSettings, given, label="training") for given in ({"decay": "none"}, {"ema": "none"})
    )
    infogan = registry.system_class("infogan")
    assert infogan.defaults["decay"] == "linear"
    assert (complete(infogan, asked).decay, complete(infogan, open_).decay) == ("none", "linear")
    assert open_.ema is None
    dcgan = registry.system_class("dcgan")
    assert (complete(dcgan, open_).decay, complete(dcgan, open_, "ns-gan").decay) == ("linear", "none")


def test_pieces_need_less_memory_than_the_whole(monkeypatch):
    system = build("dcgan")
    count = sum(p.numel() for p in system.parameters())
    cpu = torch.device("cpu")
    # gradients, two moments and averages in four pieces, and what the first process writes: weights, moments, averages
    need = 16 * count // 4 + 16 * count
    monkeypatch.setattr("genzoo.saved.devices.free_memory", lambda: need)
    check_memory("dcgan", system, cpu, averaged=True, processes=4)
    monkeypatch.setattr("genzoo.saved.devices.free_memory", lambda: need - 1)
    with pytest.raises(UserError, match="are free"):
        check_memory("dcgan", system, cpu, averaged=True, processes=4)
