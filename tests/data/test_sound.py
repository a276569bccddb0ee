"""Sound: what is read, what is left out and why, windows, whole files held out, WAV and spectrograms."""

import io
import wave
import zipfile

import numpy as np
import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import Batches, DataSettings, contact_sheet, describe, open_data, to_float
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.sounds import at_rate, mono, probe, samples
from genzoo.data.drawing.sounds import save_wav, spectrogram, wav
from genzoo.data.kinds import picture
from genzoo.use.common.images import read_sound

pytestmark = pytest.mark.usefixtures("fresh_cache")


def pcm(n, seed=0, channels=1):
    return np.random.default_rng(seed).integers(-32768, 32768, (n, channels)).astype(np.int16)


def write(path, values, rate=8000, width=2):
    """A plain WAV of int16 values [n, channels], at 1 to 4 bytes a sample."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deep = values.astype(np.int64) * 2**16
    raw = {
        1: lambda: ((deep >> 24) + 128).astype(np.uint8).tobytes(),
        2: lambda: values.astype("<i2").tobytes(),
        3: lambda: np.ascontiguousarray(deep.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes(),
        4: lambda: deep.astype("<i4").tobytes(),
    }[width]()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(values.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


def opened(folder, seconds=0.01, **keys):
    split = keys.pop("split", "train")
    return open_data(DataSettings(str(folder), seconds=seconds, **keys), kind="audio", split=split, quiet=True)


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_pcm_of_every_width_is_read_and_16_bit_survives(folder, width, channels):
    values = pcm(50, channels=channels)
    path = write(folder / "a.wav", values, width=width)
    with open(path, "rb") as file:
        said = probe(file)
        file.seek(0)
        read = samples(file).values
    assert (said.rate, said.channels, said.frames) == (8000, channels, 50)
    assert read.dtype == np.int16
    assert np.abs(read.astype(int) - values).max() <= (256 if width == 1 else 0)
    assert np.abs(mono(read) - values.mean(1)).max() <= (256 if width == 1 else 0.5)


@pytest.mark.parametrize(
    ("format_", "subtype"), [("FLAC", "PCM_16"), ("WAV", "FLOAT"), ("OGG", "VORBIS"), ("AIFF", "PCM_24")]
)
def test_other_formats_are_read_by_soundfile(folder, format_, subtype):
    soundfile = pytest.importorskip("soundfile")
    values = (np.sin(np.arange(4000) / 9) * 20000).astype(np.int16)
    path = folder / f"a.{format_.lower()}"
    soundfile.write(path, values / 32768, 8000, format=format_, subtype=subtype)
    with open(path, "rb") as file:
        assert probe(file).frames == 4000
        file.seek(0)
        read = samples(file).values
    assert read.shape == (4000, 1)
    assert np.abs(read[:, 0].astype(int) - values).max() <= (3000 if format_ == "OGG" else 0)


def test_without_soundfile_the_reason_names_the_extra(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "soundfile", None)
    (folder / "a.flac").write_bytes(b"fLaC" + bytes(range(128, 228)))
    with open(folder / "a.flac", "rb") as file, pytest.raises(Rejected, match=r"genzoo\[audio\]"):
        probe(file)


def damaged(folder):
    """Bad files by the word that their reason has to hold."""
    whole = write(folder / "whole.wav", pcm(400)).read_bytes()
    (folder / "whole.wav").unlink()
    made = {
        "empty": b"",
        "text": b"Dear diary, today nothing was recorded.\n",
        "no samples": whole[:44],
        "known format": bytes(range(128, 256)) * 3,
        "1 sample": wav(torch.zeros(1, 1), 8000),
        "shorter": wav(torch.zeros(1, 79), 8000),
    }
    for i, data in enumerate(made.values()):
        (folder / f"bad-{i}.wav").write_bytes(data)
    write(folder / f"bad-{len(made)}.wav", pcm(400, channels=2))
    return {**{f"bad-{i}.wav": word for i, word in enumerate(made)}, f"bad-{len(made)}.wav": "2 channels"}


def test_bad_files_are_left_out_each_with_its_reason(folder):
    words = damaged(folder)
    for i in range(4):
        write(folder / f"good-{i}.wav", pcm(400, i))
    dataset = opened(folder)
    assert {n: w for n, w in words.items() if w not in dict(dataset.report)[n]} == {}
    assert len(dataset.report) == len(words)
    assert sum(dataset.sizes["audio"].values()) == 4 * 5
    mixed = opened(folder, channels=1)
    assert sum(mixed.sizes["audio"].values()) == 5 * 5


def tone(hertz, rate, seconds=1.0):
    return np.rint(8000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


@pytest.mark.parametrize(
    ("rate", "wanted"), [(16000, 8000), (8000, 16000), (44100, 16000), (22050, 8000), (7999, 8000)]
)
def test_another_rate_is_the_same_sound(rate, wanted):
    made, inner = at_rate(tone(440, rate), rate, wanted), slice(wanted // 20, -wanted // 20)
    assert abs(len(made) - wanted) <= 1
    there = min(len(made), wanted)
    assert np.abs(made[:there] - tone(440, wanted)[:there].astype(float))[inner].max() < 8, (
        "a tone of 8,000 levels, to 1 in 1,000"
    )
    constant = at_rate(np.full(rate, 1234, np.int16), rate, wanted)
    assert (constant[inner] == 1234).all()
    if wanted < rate:
        high = 0.6 * min(wanted, rate)  # above half the new rate, below half the old one where that is far enough
        folded = at_rate(tone(high, rate), rate, wanted)[inner]
        assert high > rate / 2 or np.abs(folded.astype(float)).max() < 8, (
            "what the new rate cannot hold is filtered out, not folded back"
        )


def test_files_of_another_rate_are_resampled_and_said(folder):
    for i in range(4):
        write(folder / f"{i}.wav", pcm(400, i))
    write(folder / "fast.wav", np.repeat(pcm(400, 9), 2, 0), rate=16000)
    dataset = opened(folder)
    assert dataset.report == []
    assert sum(dataset.sizes["audio"].values()) == 5 * 5
    assert any(
        "1 files have another rate than most and are resampled to 8000 Hz: 1 of 16000 Hz" in n for n in dataset.notes
    )


def test_a_folder_of_nothing_usable_says_what_was_wrong(folder):
    damaged(folder)
    for bad in folder.glob("*.wav"):
        if bad.stat().st_size > 40 and bad.read_bytes()[:4] == b"RIFF":
            bad.unlink()
    with pytest.raises(UserError, match=r"no usable sound: .* files seen"):
        opened(folder)
    (folder / "nothing").mkdir()
    with pytest.raises(UserError, match="no sounds"):
        opened(folder / "nothing")
    write(folder / "nothing" / "a.wav", pcm(30))
    with pytest.raises(UserError, match="shorter than a window"):
        opened(folder / "nothing")


# ---- windows and splits ----------------------------------------------------------------------------------------------


def test_every_sample_stands_in_one_window_at_most_and_files_are_not_split(folder):
    for i in range(20):
        write(folder / f"{i}.wav", np.full((100 + 90 * i, 1), i, np.int16))
    train, test = opened(folder), opened(folder, split="test")
    assert train.fields["audio"].dtype == np.int16
    assert train.facts() == {"shape": (1, 80), "classes": 0, "rate": 8000}
    files = [{int(v) for v in np.unique(d.fields["audio"])} for d in (train, test)]
    assert not files[0] & files[1], "a file is in both parts"
    assert len(files[1]) == 2
    assert files[0] | files[1] == set(range(20))
    every = np.concatenate([train.fields["audio"], test.fields["audio"]])
    counts = {i: int((every[:, 0, 0] == i).sum()) for i in range(20)}
    assert counts == {i: (100 + 90 * i) // 80 for i in range(20)}
    assert any("not used" in note for note in train.notes)
    assert train.digest != test.digest


def test_subfolders_are_speakers_and_train_and_test_folders_are_splits(folder):
    for split, n in (("train", 4), ("test", 2)):
        for who in ("ann", "ben"):
            for i in range(n):
                write(folder / split / who / f"{i}.wav", np.full((160, 1), {"ann": 7, "ben": 9}[who], np.int16))
    train, test = opened(folder), opened(folder, split="test")
    assert train.class_names == ["ann", "ben"]
    assert (len(train), len(test)) == (16, 8)
    for dataset in (train, test):
        assert (dataset.fields["audio"][:, 0, 0] == np.array([7, 9])[dataset.fields["label"]]).all()
    batch = to_float(Batches(train, 8, 0).at(0), "cpu")
    assert batch["audio"].shape == (8, 1, 80)
    assert batch["audio"].dtype == torch.float32
    assert set(batch["audio"].mul(32768).unique().tolist()) <= {7.0, 9.0}
    assert batch["label"].shape == (8,)


def test_one_file_an_archive_and_a_limit(folder):
    path = write(folder / "a.wav", pcm(800))
    alone = opened(path)
    assert alone.sizes["audio"] == {"train": 9, "test": 1}
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(path, "sounds/a.wav")
    assert np.array_equal(opened(folder / "a.zip").fields["audio"], alone.fields["audio"])
    assert len(opened(path, limit=3)) == 3
    assert opened(path, seconds=0.1).sizes["audio"] == {"train": 1, "test": 1}


def test_keys_for_images_are_refused_for_sound_and_the_other_way_round(folder):
    write(folder / "a.wav", pcm(800))
    for keys in ({"size": 8}, {"flip": True}, {"crop": 4}, {"binarize": "threshold"}):
        with pytest.raises(UserError, match="for images"):
            opened(folder, **keys)
    with pytest.raises(UserError, match="mono"):
        opened(folder, channels=3)
    with pytest.raises(UserError, match="window of sound"):
        open_data(DataSettings("digits", seconds=1.0), quiet=True)
    with pytest.raises(UserError, match="no sound"):
        open_data(DataSettings("digits"), kind="audio", quiet=True)


def test_a_described_set_and_its_page(folder):
    write(folder / "a.wav", pcm(800))
    told = describe(opened(folder))
    assert told["rate"] == 8000
    assert told["shape"] == [1, 80]
    page = contact_sheet(opened(folder), 4)
    assert page.shape == (4, 1, 80)
    assert picture(page).dtype == np.uint8


# ---- files and pictures of sounds ------------------------------------------------------------------------------------


def test_a_wav_holds_the_samples_bit_for_bit(folder):
    values = torch.from_numpy(pcm(500)[:, 0] / np.float32(32768))
    save_wav(folder / "a.wav", values[None], 11025)
    assert torch.equal(read_sound(folder / "a.wav", 11025), values[None])
    loud = samples(io.BytesIO(wav(torch.tensor([[2.0, -2.0, 1.0]]), 8000))).values[:, 0]
    assert loud.tolist() == [32767, -32768, 32767], "clipped, never wrapped"
    two = samples(io.BytesIO(wav(torch.ones(2, 1, 10), 8000, pause=0.001))).values[:, 0]
    assert len(two) == 28
    assert not two[10:18].any()


def test_a_tone_stands_at_its_frequency():
    rate, tone = 8000, 1000
    x = torch.sin(2 * torch.pi * tone * torch.arange(4000) / rate)
    seen = spectrogram(x, rows=128)
    assert seen.shape[0] == 128
    loudest = 127 - seen[:, 20:-20].mean(1).argmax().item()
    assert loudest == tone / rate * 256
    assert seen.max() == 0
    assert torch.isfinite(spectrogram(torch.zeros(300))).all()


def test_a_model_for_sound_is_trained_sampled_and_continued_by_the_command_line(tmp_path, folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(6):
        write(folder / f"{i}.wav", pcm(400, i))
    small = ["layers=2", "stacks=1", "width=4", "skip=4", "steps=2", "batch=2"]
    assert main(["train", "wavenet", f"data={folder}", "seconds=0.01", *small]) in (0, None)
    run = tmp_path / "runs" / "wavenet"
    assert len(list((run / "samples").glob("*.wav"))) == len(list((run / "samples").glob("*.png"))) > 0
    main(["sample", "runs/wavenet", "n=3"])
    drawn = read_sound(run / "outputs" / "sample.wav", 8000)
    assert drawn.shape == (1, 3 * 80 + 2 * 2000)
    assert (run / "outputs" / "sample.png").exists()
    main(["sample", "runs/wavenet", "n=2", "out=each/"])
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == ["0.wav", "1.wav"]
    main(["complete", "runs/wavenet", str(folder / "0.wav"), "after=0.005", "n=2"])
    heard = read_sound(run / "outputs" / "complete.wav", 8000)
    original = read_sound(folder / "0.wav", 8000)[:, :80]
    assert torch.equal(heard[:, :80], original)
    assert torch.equal(heard[:, 2080:2120], original[:, :40])
    assert not torch.equal(heard[:, 2120:2160], original[:, 40:])
    main(["complete", "runs/wavenet", "n=2"])
    found = genzoo.evaluate(run)
    assert found["measures"]["bits/sample"]["value"] == pytest.approx(8, abs=1)
    assert "mu-law" in found["measures"]["bits/sample"]["protocol"]
    capsys.readouterr()
    for words, message in (
        (["complete", "runs/wavenet", "box=0,0,1,1"], "after="),
        (["complete", "runs/wavenet", "after=5"], "window"),
        (["complete", "runs/wavenet", str(folder / "no.wav")], "no file"),
    ):
        assert main(words)
        assert message in capsys.readouterr().err
