"""Speech as it is published: LJSpeech and VCTK, and folders that only look like them."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from genzoo.data import DataSettings, open_data
from tests.data.test_sound_files import PCM, RATE, riff

pytestmark = pytest.mark.usefixtures("fresh_cache")


def tone(path, hertz, n=RATE // 2):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.rint(9000 * np.sin(2 * np.pi * hertz * np.arange(n) / RATE)).astype("<i2")
    path.write_bytes(riff(PCM, values.tobytes()))
    return values


def opened(folder, **keys):
    return open_data(DataSettings(str(folder), **{"seconds": 0.5, "holdout": 0, **keys}), kind="audio", quiet=True)


def lj(folder, n=4):
    folder.mkdir(parents=True)
    for i in range(n):
        tone(folder / "wavs" / f"LJ001-{i:04d}.wav", 200 + 50 * i)
    lines = [f'LJ001-{i:04d}|Printing, in "the|Printing, in {i}' for i in range(n - 1)]
    (folder / "metadata.csv").write_text("\n".join([*lines, "LJ001-0099|gone|gone"]))
    (folder / "README").write_text("LJSpeech")
    return folder


def test_ljspeech_is_read_with_its_table_of_texts_told(folder):
    dataset = opened(lj(folder / "LJSpeech-1.1"))
    assert dataset.fields["audio"].shape == (4, 1, RATE // 2)
    assert not dataset.class_names
    assert any(
        "LJSpeech's layout: one speaker; metadata.csv has the texts of 3 of 4 sounds" in n for n in dataset.notes
    )
    assert ("LJ001-0099", "1 of the lines of metadata.csv, without a sound in wavs/") in [
        tuple(r) for r in dataset.report
    ]
    assert not any("no columns file" in reason for _, reason in dataset.report)


def test_ljspeech_in_an_archive(folder):
    root = lj(folder / "LJSpeech-1.1")
    with zipfile.ZipFile(folder / "lj.zip", "w") as archive:
        for file in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    assert any("LJSpeech's layout" in n for n in opened(folder / "lj.zip").notes)


@pytest.mark.parametrize("table", ["file,caption\na.wav,x\n", "a|b|c|d|e\n", "nothing|of|these\n", ""])
def test_another_table_beside_wavs_is_none_of_ljspeech(folder, table):
    for i in range(2):
        tone(folder / "wavs" / f"{i}.wav", 300)
    (folder / "metadata.csv").write_text(table)
    assert not any("LJSpeech" in n for n in opened(folder).notes)


@pytest.mark.parametrize("top", ["wav48_silence_trimmed", "wav48"])
def test_vctk_has_speakers_as_labels_and_one_microphone(folder, top):
    """A sentence stands once, whichever microphones heard it; one that only the second heard stays."""
    hertz = {"p225": 300, "p226": 500, "s5": 700}
    for who, f in hertz.items():
        for i in range(1, 4):
            if top == "wav48":
                tone(folder / "VCTK" / top / who / f"{who}_{i:03d}.wav", f)
            else:
                for mic in (1, 2):
                    if (who, i, mic) != ("s5", 3, 1):
                        tone(folder / "VCTK" / top / who / f"{who}_{i:03d}_mic{mic}.wav", f + 1000 * (mic - 1))
            text = folder / "VCTK" / "txt" / who / f"{who}_{i:03d}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("Please call Stella.")
    (folder / "VCTK" / "speaker-info.txt").write_text("ID  AGE  GENDER\np225  23  F\n")
    dataset = opened(folder / "VCTK")
    assert dataset.class_names == ["p225", "p226", "s5"]
    assert len(dataset.fields["audio"]) == 9
    heard = [int(np.abs(np.fft.rfft(row[0].astype(float))).argmax()) * 2 for row in dataset.fields["audio"]]
    for label, found in zip(dataset.fields["label"], heard, strict=True):
        assert found % 1000 == list(hertz.values())[int(label)]
    second = sum(f > 1000 for f in heard)
    assert second == (top != "wav48")
    assert any("VCTK's layout: 3 speakers, which are labels" in n for n in dataset.notes)
    assert any("8 sounds of the second microphone are left out" in n for n in dataset.notes) == (top != "wav48")
    assert not dataset.report  # the texts are no faults


def test_folders_of_speakers_that_are_no_vctk_are_classes_as_ever(folder):
    for who in ("p1", "p2"):
        tone(folder / who / "a.wav", 300)
    dataset = opened(folder)
    assert dataset.class_names == ["p1", "p2"]
    assert not any("VCTK" in n for n in dataset.notes)
