"""Files of sound as programs write them: lengths that are wrong, codings, floats of any range, joined streams, what is named."""

import io
import struct

import numpy as np
import pytest

from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.joined import links
from genzoo.data.decode.sounds import peak, probe, samples, scale_of
from genzoo.use.common.images import read_sound

pytestmark = pytest.mark.usefixtures("fresh_cache")

RATE = 8000
TONE = np.rint(16000 * np.sin(2 * np.pi * 440 * np.arange(400) / RATE)).astype(np.int16)
"""What every file of this module holds, as integers of 16 bits."""


def riff(form, data, *, stated=None, whole=None, top=b"RIFF", before=b"", after=b""):
    """A WAV file from its parts; `stated` and `whole` are the lengths that its header gives."""
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form
    body += b"data" + struct.pack("<I", len(data) if stated is None else stated) + data + b"\0" * (len(data) % 2)
    return top + struct.pack("<I", len(body) + len(after) if whole is None else whole) + body + after


def form(coding, width, channels=1, bits=None):
    return struct.pack("<HHIIHH", coding, channels, RATE, RATE * width * channels, width * channels, bits or 8 * width)


def extensible(coding, width, bits=None):
    guid = struct.pack("<H", coding) + bytes.fromhex("000000001000800000aa00389b71")
    return form(0xFFFE, width) + struct.pack("<HHI", 22, bits or 8 * width, 4) + guid


PCM = form(1, 2)
RAW = TONE.astype("<i2").tobytes()
DEEP = (TONE.astype("<i4") * 65536).tobytes()
THREE = np.frombuffer(DEEP, np.uint8).reshape(-1, 4)[:, 1:].tobytes()
LIST = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"
FILES = {
    "length of a pipe of ffmpeg": (riff(PCM, RAW, stated=0xFFFFFFFF, whole=0xFFFFFFFF), "pipe"),
    "length of a pipe of sox": (riff(PCM, RAW, stated=0x7FFFFFFF - 36, whole=0x7FFFFFFF), "pipe"),
    "no length at all": (riff(PCM, RAW, stated=0, whole=0), "pipe"),
    "RIFF length 0": (riff(PCM, RAW, whole=0), ""),
    "RIFF length too large": (riff(PCM, RAW, whole=10**6), ""),
    "RF64": (
        riff(PCM, RAW, stated=0xFFFFFFFF, whole=0xFFFFFFFF, top=b"RF64",
             before=b"ds64" + struct.pack("<IQQQI", 28, 900, len(RAW), len(TONE), 0), after=LIST),
        "",
    ),
    "cut": (riff(PCM, RAW, stated=2 * len(RAW)), "cut"),
    "cut within a sample": (riff(PCM, RAW + b"\x01", stated=2 * len(RAW))[:-1], "cut"),
    "chunks around the samples": (riff(PCM, RAW, before=LIST, after=LIST), ""),
    "another file behind": (riff(PCM, RAW, after=riff(PCM, RAW)), "joined"),
    "extensible, 16 bits": (riff(extensible(1, 2), RAW), ""),
    "extensible, 24 bits": (riff(extensible(1, 3), THREE), ""),
    "extensible, 24 of 32 bits": (riff(extensible(1, 4, bits=24), DEEP), ""),
    "extensible floats": (riff(extensible(3, 4), (TONE / 32768).astype("<f4").tobytes()), ""),
    "24 bits": (riff(form(1, 3), THREE), ""),
    "32 bits": (riff(form(1, 4), DEEP), ""),
    "floats": (riff(form(3, 4), (TONE / 32768).astype("<f4").tobytes()), ""),
    "doubles": (riff(form(3, 8), (TONE / 32768).astype("<f8").tobytes()), ""),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_every_wav_gives_the_samples_that_are_in_it(what):
    data, mark = FILES[what]
    said, read = probe(io.BytesIO(data)), samples(io.BytesIO(data))
    assert (said.rate, said.channels, said.frames) == (RATE, 1, len(TONE))
    assert read.values.dtype == np.int16
    assert np.array_equal(read.values[:, 0], TONE)
    assert read.mark == mark
    assert (read.full, read.over) == (0, 0)


@pytest.mark.parametrize(("coding", "subtype"), [(6, "ALAW"), (7, "ULAW")])
def test_a_law_and_mu_law_are_what_the_library_says_byte_by_byte(coding, subtype):
    data = riff(form(coding, 1), bytes(range(256)))
    read = samples(io.BytesIO(data))
    steps = np.abs(read.values[:, 0].astype(int))
    assert steps.max() == {6: 32256, 7: 32124}[coding], "ITU-T G.711"
    assert read.full == 2, "both loudest codes"
    soundfile = pytest.importorskip("soundfile")
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        assert file.subtype == subtype
        assert np.array_equal(file.read(dtype="int16"), read.values[:, 0])


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + PCM, "no samples; export"),
        (b"RIFF\x24\0\0\0WAVEdata\x04\0\0\0abcd", "nothing says how"),
        (riff(form(1, 2, channels=0), RAW), "0 channels"),
        (riff(PCM, b""), "no samples"),
        (riff(form(3, 4), np.full(9, np.nan, "<f4").tobytes()), "not finite"),
        (riff(form(3, 4), np.full(9, np.inf, "<f4").tobytes()), "not finite"),
        (riff(form(3, 4), struct.pack("<I", 0x7FA00000) * 9), "not finite"),  # a signalling NaN
    ],
)
def test_a_damaged_wav_has_a_reason(data, word):
    with pytest.raises(Rejected, match=word):
        samples(io.BytesIO(data))


# ---- ranges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peaks", "scale"),
    [
        ([], 1), ([0, 0], 1), ([0.01, 0.5], 1), ([0.9, 1.3, 3.9], 1), ([0.5, 0.5, 30000], 1), ([12000, 31000, 0.9], 2**15),
        ([36000], 2**15), ([40, 900, 31000], 2**15), ([8e6, 5e6], 2**23), ([2e9, 1e9], 2**31), ([1e20], 2**31),
    ],
)  # fmt: skip
def test_one_range_is_found_for_all_floats_of_a_set(peaks, scale):
    assert scale_of(peaks) == scale


def test_floats_of_any_size_are_handled_without_a_warning():
    data = riff(form(3, 8), np.array([1e308, -1e308, 0.5], "<f8").tobytes())
    with pytest.raises(Rejected, match=r"2 of its 3 samples lie beyond full scale \(the loudest 3.05e\+95 times\)"):
        samples(io.BytesIO(data))
    read = samples(io.BytesIO(riff(form(3, 8), np.array([1.01, -1.01, 0.5], "<f8").tobytes())))
    assert read.values[:, 0].tolist() == [32767, -32768, 16384]
    assert read.over == 2  # a little beyond is no square wave


def floats(folder, name, values, coding=(3, 4)):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.wav").write_bytes(riff(form(*coding), np.asarray(values, f"<f{coding[1]}").tobytes()))


def opened(folder, **keys):
    return open_data(DataSettings(str(folder), **{"seconds": 0.05, **keys}), kind="audio", quiet=True)


@pytest.mark.parametrize(
    ("factor", "words"), [(1, ""), (2**15, "16-bit integers"), (2**23, "24-bit"), (2**31, "32-bit")]
)
def test_floats_of_every_integer_range_are_the_same_sound(folder, factor, words):
    for i in range(2):
        floats(folder, i, TONE / 32768 * factor, (3, 8))
    dataset = opened(folder, holdout=0)
    assert dataset.fields["audio"].shape == (2, 1, 400)
    assert all(np.array_equal(row[0], TONE) for row in dataset.fields["audio"])
    assert any("taken for" in note and words in note for note in dataset.notes) == bool(words)
    assert not any("clip" in note for note in dataset.notes)
    heard = read_sound(folder / "0.wav", RATE)
    assert np.array_equal(np.rint(heard[0].numpy() * 32768), TONE)


def test_a_file_of_another_range_than_the_rest_is_left_out(folder):
    for i in range(3):
        floats(folder, i, TONE / 32768)
    floats(folder, "loud", TONE)
    assert dict(opened(folder).report).keys() == {"loud.wav"}
    assert "reach 16000, and those of most files of the set are [-1, 1]" in dict(opened(folder).report)["loud.wav"]
    for i in range(3):
        floats(folder / "b", i, TONE)
    floats(folder / "b", "quiet", TONE / 32768)
    assert dict(opened(folder / "b").report).keys() == {"quiet.wav"}


def test_what_is_beyond_full_scale_is_clipped_and_counted(folder):
    loud = TONE / 16000.0  # reaches 1
    loud[100:104] = [1.5, -1.5, 1.25, 1.0]
    floats(folder, "a", loud)
    floats(folder, "b", TONE / 32768)
    dataset = opened(folder, holdout=0)
    rows = {int(np.abs(r.astype(int)).max()): r[0] for r in dataset.fields["audio"]}
    assert rows[32768][100:104].tolist() == [32767, -32768, 32767, 32767]
    assert any("3 samples (0.38 %) in 1 of 2 files lie beyond full scale and are clipped" in n for n in dataset.notes)


def test_floats_that_would_be_a_square_wave_are_left_out(folder):
    """A sine of three times full scale is beyond it for four fifths of the time."""
    tone = TONE / 16000.0
    for name, factor in (("a", 0.5), ("b", 0.9), ("loud", 3.0)):
        floats(folder, name, factor * tone)
    dataset = opened(folder, holdout=0)
    (reason,) = [r for n, r in dataset.report if n == "loud.wav"]
    n = int((np.abs(3 * tone) * 32768 > 32768.5).sum())
    assert (
        f"{n} of its 400 samples lie beyond full scale (the loudest 3 times) and would be cut to a square wave"
        in reason
    )
    assert len(dataset.fields["audio"]) == 2
    assert not any("beyond" in n for n in dataset.notes)
    with pytest.raises(UserError, match=r"loud\.wav' is no usable sound: .* square wave; bring them to \[-1, 1\]"):
        read_sound(folder / "loud.wav", RATE)


def test_sounds_that_clip_are_said_with_their_share_and_quiet_ones_too(folder):
    square = np.where(TONE >= 0, 32767, -32768).astype("<i2")
    (folder / "a.wav").write_bytes(riff(PCM, square.tobytes()))
    (folder / "b.wav").write_bytes(riff(PCM, RAW))
    (note,) = [n for n in opened(folder).notes if "clip" in n]
    assert "sounds clip: 50 % of the samples are at full scale, most of them in 1 of 2 files" in note
    (folder / "eight").mkdir()
    (folder / "eight" / "a.wav").write_bytes(riff(form(1, 1), np.where(TONE >= 0, 255, 0).astype(np.uint8).tobytes()))
    assert any("sounds clip: 100 %" in n for n in opened(folder / "eight").notes), "8 bits end at 127 of 128"
    (folder / "low").mkdir()
    (folder / "low" / "a.wav").write_bytes(riff(PCM, (TONE // 100).astype("<i2").tobytes()))
    assert any("at 0.49 % of full scale: sounds fill less than a tenth" in n for n in opened(folder / "low").notes)
    (folder / "fine").mkdir()
    (folder / "fine" / "a.wav").write_bytes(riff(PCM, RAW))
    assert not any("full scale" in n for n in opened(folder / "fine").notes)


def test_marks_of_files_are_counted_in_notes(folder):
    for i, (data, _) in enumerate(FILES.values()):
        (folder / f"{i}.wav").write_bytes(data)
    notes = " | ".join(opened(folder).notes)
    n = len(FILES)
    for count, words in (
        (3, "do not state their length"),
        (2, "end before their stated length"),
        (1, "have another sound"),
    ):
        assert f"{count} of {n} files {words}" in notes


# ---- joined streams --------------------------------------------------------------------------------------------------


def encoded(values, format_, subtype, rate=RATE):
    soundfile = pytest.importorskip("soundfile")
    buffer = io.BytesIO()
    soundfile.write(buffer, values, rate, format=format_, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format_", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")]
)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_joined_sounds_are_read_to_the_end(format_, subtype, count):
    at = np.arange(6000) / RATE
    parts = [0.5 * np.sin(2 * np.pi * hertz * at) for hertz in (300, 600, 1200)[:count]]
    data = b"".join(encoded(p, format_, subtype) for p in parts)
    assert len(links(io.BytesIO(data))) == count
    assert probe(io.BytesIO(data)).frames == 6000 * count
    read = samples(io.BytesIO(data))
    assert (read.values.shape, read.mark) == ((6000 * count, 1), "links" if count > 1 else "")
    for i, hertz in enumerate((300, 600, 1200)[:count]):
        inner = read.values[6000 * i + 2000 : 6000 * i + 4000, 0]
        spectrum = np.abs(np.fft.rfft(inner * np.hanning(2000)))
        assert spectrum.argmax() * RATE / 2000 == hertz
        assert np.abs(inner.astype(int)).max() == pytest.approx(16384, rel=0.2 if subtype == "OPUS" else 0.05)


def test_joined_sounds_are_told(folder):
    at = np.arange(6000) / RATE
    part = encoded(0.5 * np.sin(2 * np.pi * 300 * at), "OGG", "VORBIS")
    (folder / "a.ogg").write_bytes(2 * part)
    (folder / "b.ogg").write_bytes(part)
    dataset = opened(folder, holdout=0)
    assert "1 of 2 files are several sounds joined in one: all are read, one after the other" in dataset.notes
    assert len(dataset.fields["audio"]) == 3 * 15


def test_joined_sounds_of_two_rates_are_refused(folder):
    data = encoded(TONE / 32768, "OGG", "VORBIS") + encoded(TONE / 32768, "OGG", "VORBIS", 16000)
    with pytest.raises(Rejected, match="8000 Hz with 1 channel and 16000 Hz with 1 channel are joined"):
        probe(io.BytesIO(data))


def test_of_a_cut_flac_what_is_there_is_used(folder):
    values = np.random.default_rng(0).uniform(-0.5, 0.5, 60000)
    whole = encoded(values, "FLAC", "PCM_16")
    read = samples(io.BytesIO(whole[: len(whole) // 2]))
    assert read.mark == "cut"
    assert 20000 < len(read.values) < 30001
    assert np.abs(read.values[:, 0] / 32768 - values[: len(read.values)]).max() < 1e-4


def test_floats_in_other_containers_have_a_range_too():
    data = encoded(TONE.astype(np.float64), "AU", "FLOAT")
    assert probe(io.BytesIO(data)).floats
    assert peak(io.BytesIO(data)) == 16000
    assert np.array_equal(samples(io.BytesIO(data), 2.0**15).values[:, 0], TONE)


# ---- what a file is --------------------------------------------------------------------------------------------------

NAMED = {
    "a.m4a": (struct.pack(">I", 24) + b"ftypM4A \0\0\0\0" + bytes(400), "M4A"),
    "a.aac": (b"\xff\xf1\x50\x80" + bytes(400), "AAC"),
    "a.wma": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(400), "Windows Media"),
    "a.mid": (b"MThd\0\0\0\x06" + bytes(400), "MIDI"),
    "a.amr": (b"#!AMR\n" + bytes(400), "AMR"),
    "a.png": (b"\x89PNG\r\n\x1a\n" + bytes(400), "PNG"),
    "a.wav": (b"Dear diary, today nothing was recorded.\n", "text"),
    "cut.flac": (b"fLaC" + bytes(range(128, 228)), "damaged"),
    "noise.bin": (bytes(range(128, 256)) * 3, "known format"),
    "none.ogg": (b"", "empty"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_read_is_named_in_words_of_our_own(folder, name):
    pytest.importorskip("soundfile")
    data, word = NAMED[name]
    (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=word) as refused:
        opened(folder)
    assert name in str(refused.value)
    assert not {"BytesIO", "Error opening", "libsndfile", "System error"} & set(str(refused.value).split())


def test_a_length_that_no_file_could_have_is_refused_before_memory_is_taken():
    """The header of a FLAC has 36 bits for the samples; this one says 68 billion."""
    data = bytearray(encoded(TONE / 32768, "FLAC", "PCM_16"))
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    with pytest.raises(
        Rejected, match="68,719,476,735 samples: more than 256 million values; cut it into shorter files"
    ):
        probe(io.BytesIO(bytes(data)))


def test_a_wav_of_big_endian_numbers_is_the_same_sound():
    pytest.importorskip("soundfile")
    big = riff(PCM, RAW)
    swapped = b"RIFX" + big[4:8][::-1] + b"WAVEfmt " + struct.pack(">IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    swapped += b"data" + struct.pack(">I", len(RAW)) + TONE.astype(">i2").tobytes()
    assert np.array_equal(samples(io.BytesIO(swapped)).values[:, 0], TONE)
