"""A folder of the user's own sounds, with everything that can be wrong with one."""

import os
import struct
import warnings
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from ddm_jax.data import sources, tones
from ddm_jax.data.dataset import DataOptions
from ddm_jax.data.wav import Sound, fitted, read_wav, write_wav
from ddm_jax.data.waves import STRETCHES, read_stretch
from ddm_jax.errors import UserError

TONE = tones.tones(np.arange(1), 8000, 512).waves[0]


def load(path, report=lambda line: None, **options):
    return sources.load(DataOptions(name=f"waves:{path}", **options), report)


def record(path, samples=TONE, rate=8000):
    path.parent.mkdir(exist_ok=True, parents=True)
    write_wav(path, samples, rate)


def by_hand(path, samples, rate, bits):
    """Whole numbers of so many bits, by Python's own writer; samples (n,) or (n, channels)."""
    whole = np.clip(np.rint(samples * 2 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 8:
        raw = (whole + 128).astype(np.uint8).tobytes()
    else:
        raw = whole.astype("<i4").reshape(-1, 1).view(np.uint8)[:, : bits // 8].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1] if samples.ndim > 1 else 1)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_whole_numbers_of_each_depth_come_back_to_half_a_step(bits, tmp_path):
    x = np.concatenate([TONE, [-1.0, 0.0]])
    by_hand(tmp_path / "a.wav", x, 11025, bits)
    found = read_wav(tmp_path / "a.wav")
    assert found.rate == 11025 and found.samples.dtype == np.float32
    rounding = 0.5 / 2 ** (bits - 1) + 2.0**-24  # of the whole numbers, and of float32
    assert abs(found.samples - x).max() <= rounding
    assert found.samples[-2] == -1 and found.samples[-1] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_come_back_as_they_are_but_for_what_is_too_loud(dtype, tmp_path):
    x = np.append(TONE, [1.5, -2.0]).astype(dtype)
    wavfile.write(tmp_path / "a.wav", 8000, x)
    np.testing.assert_array_equal(
        read_wav(tmp_path / "a.wav").samples, np.clip(x, -1, 1).astype(np.float32)
    )


def test_what_is_written_other_readers_read_and_it_comes_back(tmp_path):
    x = np.append(TONE, [1.0, -1.0, 3.0])
    write_wav(tmp_path / "a.wav", x, 16000)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_array_equal(raw[-3:], [32767, -32768, 32767])
    found = read_wav(tmp_path / "a.wav").samples
    np.testing.assert_array_equal(found, raw / np.float32(32768))
    assert abs(found[:-3] - TONE).max() <= 0.5 / 32768 + 1e-7
    write_wav(tmp_path / "b.wav", found, 16000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_channels_are_averaged(tmp_path):
    by_hand(tmp_path / "a.wav", np.stack([TONE, np.zeros(512), -TONE / 2], -1), 8000, 16)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav").samples, TONE / 6, atol=2e-5)


@pytest.mark.parametrize("rate", [5512, 11025, 16000, 44100])
def test_resampling_keeps_the_pitch_and_the_loudness(rate):
    """A tone at another rate becomes that of the rate asked for, but near its ends."""
    drawn = tones.tones(np.arange(8), rate, rate)
    got = np.stack([fitted(Sound(x.astype(np.float32), rate), 8000, 4000) for x in drawn.waves])
    expected = tones.tones(np.arange(8), 8000, 4000).waves
    np.testing.assert_allclose(
        tones.fundamental(got[:, :1024], 8000), tones.FREQUENCIES[drawn.labels], rtol=1e-3
    )
    assert abs(got - expected)[:, 50:-50].max() < 0.01


def test_resampling_takes_away_what_the_lower_rate_cannot_hold():
    high = np.sin(2 * np.pi * 3900 * np.arange(16000) / 16000).astype(np.float32)
    assert abs(fitted(Sound(high, 16000), 4000, 3000)[100:-100]).max() < 0.02


def test_a_start_is_the_same_however_much_follows():
    """Only what is needed of a long file is resampled."""
    x = np.random.default_rng(0).uniform(-1, 1, 30_000).astype(np.float32)
    for rate in (3000, 44100):
        whole = fitted(Sound(x, rate), 8000, 4000)
        np.testing.assert_allclose(fitted(Sound(x, rate), 8000, 200), whole[:200], atol=1e-6)


def test_a_folder_of_classes(tmp_path):
    """Sub-folders are classes in alphabetical order; cut, padded and resampled files are told."""
    record(tmp_path / "low/b.wav", TONE[:300])
    record(tmp_path / "low/a.WAV", np.concatenate([TONE, TONE[::-1]]))
    record(tmp_path / "high/deep/c.wav", np.repeat(TONE, 2), 16000)
    record(tmp_path / "stray.wav")
    lines = []
    data = load(tmp_path, lines.append, size=(512,))
    spec, x = data.spec, data.columns["x"]
    assert (spec.kind, spec.shape, spec.rate, spec.levels) == ("wave", (512, 1), 8000.0, 0)
    assert spec.classes == ("high", "low") and data.columns["label"].tolist() == [0, 1, 1]
    assert not spec.mirrors and spec.shown == (-1, 1) and x.dtype == np.float32
    np.testing.assert_allclose(x[1, :, 0], TONE, atol=2e-5)
    np.testing.assert_allclose(x[2, :300, 0], TONE[:300], atol=2e-5)
    assert not x[2, 300:].any()
    assert data.problems == (("stray.wav", "stands beside the class folders, in none of them"),)
    told = [line.removeprefix(f"{tmp_path}: ") for line in lines[-3:]]
    assert told == [
        "1 of 3 sounds were of other rates: resampled to 8,000 samples a second",
        "1 of 3 sounds were longer: cut to their first 512 samples",
        "1 of 3 sounds were shorter: followed by silence up to 512 samples",
    ]
    asked = load(tmp_path, rate=4000, size=(64,)).spec
    assert (asked.rate, asked.shape) == (4000.0, (64, 1))


def test_sounds_of_one_length_and_rate_keep_them(tmp_path):
    record(tmp_path / "a.wav", TONE[:100])
    record(tmp_path / "b.wav", TONE[100:200])
    data = load(tmp_path)
    assert data.spec.shape == (100, 1) and data.columns.keys() == {"x"}
    record(tmp_path / "c.wav", TONE)
    with pytest.raises(UserError, match="differ in length or rate; set --config.data.size=8192"):
        load(tmp_path)


def test_of_equals_the_lowest_rate_is_taken(tmp_path):
    record(tmp_path / "a.wav", rate=16000)
    record(tmp_path / "b.wav", rate=8000)
    assert load(tmp_path, size=(64,)).spec.rate == 8000


def riff(content):
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WAVE" + content


def form(tag=1, channels=1, rate=8000, width=2, bits=16):
    fields = tag, channels, rate, rate * width * channels, width * channels, bits
    return b"fmt " + struct.pack("<IHHIIHH", 16, *fields)


def chunk(raw, size=None):
    return b"data" + struct.pack("<I", len(raw) if size is None else size) + raw


HOSTILE = {
    "text": b"this is no sound",
    "empty": b"",
    "mp3": b"ID3\x04" + bytes(200),
    "header alone": riff(form()),
    "no samples": riff(form() + chunk(b"")),
    "no form": riff(chunk(bytes(64))),
    "no channels": riff(form(channels=0) + chunk(bytes(64))),
    "law": riff(form(tag=7, width=1, bits=8) + chunk(bytes(64))),
    "slow": riff(form(rate=3) + chunk(bytes(64))),
    "fast": riff(form(rate=4_000_000_000 // 2) + chunk(bytes(64))),
    "odd": riff(form(channels=3) + chunk(bytes(64))),
    "cut": riff(form() + chunk(bytes(9000)))[:300],
    "nearly whole": riff(form() + chunk(bytes(900)))[:-4],
    "wide": riff(form(width=64, bits=512) + chunk(bytes(640))),
    "nan": riff(form(tag=3, width=4, bits=32) + chunk(np.full(9, np.nan, "<f4").tobytes())),
    "lying part": riff(b"LIST" + struct.pack("<I", 0xFFFFFFF0) + form() + chunk(bytes(64))),
}


def test_hostile_files_are_listed_with_a_reason_each(tmp_path):
    record(tmp_path / "good.wav")
    for name, content in HOSTILE.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    data = load(tmp_path)
    assert len(data.columns["x"]) == 1
    reasons = dict(data.problems)
    assert reasons.keys() == {f"{name}.wav" for name in HOSTILE}
    assert all(reason and "\n" not in reason for reason in reasons.values())
    assert reasons["empty.wav"] == "an empty file" and "cut short" in reasons["cut.wav"]
    assert reasons["fast.wav"].startswith("2,000,000,000 samples a second")
    assert "not finite" in reasons["nan.wav"] and reasons["no samples.wav"] == "no samples"
    with pytest.raises(UserError, match="cut.wav: cut short.*mend or remove it"):
        load(tmp_path, strict=True)


def test_a_header_of_four_gigabytes_costs_none(tmp_path):
    """A stream does not know its length: what is there is read, and no room made for the rest."""
    content = bytearray(riff(form() + chunk(TONE.astype("<i2").tobytes(), 0xFFFFFFFE)))
    content[4:8] = b"\xff" * 4
    (tmp_path / "stream.wav").write_bytes(content)
    assert len(read_wav(tmp_path / "stream.wav").samples) == 512


def test_pipes_circles_and_ways_out_are_left_alone(tmp_path):
    inside = tmp_path / "inside"
    record(inside / "a.wav")
    record(tmp_path / "secret.wav")
    os.mkfifo(inside / "pipe.wav")
    os.symlink(tmp_path / "secret.wav", inside / "out.wav")
    os.symlink(inside / "y.wav", inside / "x.wav")
    os.symlink(inside / "x.wav", inside / "y.wav")
    os.symlink(inside, inside / "again")
    os.symlink(tmp_path / "gone.wav", inside / "gone.wav")
    data = load(inside)
    assert len(data.columns["x"]) == 1
    reasons = dict(data.problems)
    assert reasons.keys() == {f"{name}.wav" for name in ("pipe", "out", "x", "y", "gone")}
    assert reasons["pipe.wav"] == "no regular file" and "outside" in reasons["out.wav"]


def test_a_size_beyond_the_most_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("ddm_jax.data.wav.MOST_BYTES", 1000)
    record(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="1,068 bytes; at most 1,000"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("seed", range(3))
def test_no_spoilt_byte_of_a_header_raises_anything_else(seed, tmp_path):
    rng, good = np.random.default_rng(seed), riff(form() + chunk(bytes(400)))
    for _ in range(100):
        bad = bytearray(good)
        bad[rng.integers(0, 48)] = rng.integers(0, 256)
        (tmp_path / "a.wav").write_bytes(bad)
        with warnings.catch_warnings(action="error"):
            try:
                read_wav(tmp_path / "a.wav")
            except ValueError as error:
                assert str(error)


def test_folders_that_cannot_be_used_are_answered_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"no sounds in .*known endings are .wav"):
        load(tmp_path)
    with pytest.raises(UserError, match="no folder .*correct the path in waves:<path>"):
        load(tmp_path / "gone")
    with pytest.raises(UserError, match="name the folder .*data.name=waves:my_waves"):
        load("")
    (tmp_path / "a.wav").write_text("x")
    with pytest.raises(UserError, match="none of the sounds in .* can be used; the first, a.wav"):
        load(tmp_path)
    with pytest.raises(UserError, match="set data.size to their samples"):
        load(tmp_path, size=(8, 8))
    for side in ("input", "target"):
        record(tmp_path / "pairs" / side / "a.wav")
    with pytest.raises(UserError, match="holds pairs .*give the folders other names"):
        load(tmp_path / "pairs")


def test_a_changed_file_is_read_again(tmp_path):
    record(tmp_path / "a.wav")
    assert load(tmp_path).columns["x"].any()
    record(tmp_path / "a.wav", np.zeros(512))
    os.utime(tmp_path / "a.wav", ns=(1, 1))
    assert not load(tmp_path).columns["x"].any()


def test_stretches_of_a_wave():
    """Named ones and those by numbers; `outer` and `centre` are each other's rest."""
    known = {name: read_stretch(name, 10, 2) for name in STRETCHES}
    assert all(mask.shape == (2, 10, 1) and mask.dtype == bool for mask in known.values())
    np.testing.assert_array_equal(known["outer"], ~known["centre"])
    np.testing.assert_array_equal(known["left"], ~known["right"])
    assert np.flatnonzero(~known["left"][0, :, 0]).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(~known["centre"][1, :, 0]).tolist() == [2, 3, 4, 5, 6, 7]
    assert np.flatnonzero(~read_stretch("(7, 3)", 10, 1)[0, :, 0]).tolist() == [7, 8, 9]
    for text, message in {
        "top": "name one of centre, outer",
        "8,3": "does not lie in a wave of 10 samples",
        "3,0": "does not lie",
        "-1,3": "its start and length in samples",
        "1,2,3": "as in 100,50",
        "a.png": "no stretch of a wave",
    }.items():
        with pytest.raises(UserError, match=message):
            read_stretch(text, 10, 1)
