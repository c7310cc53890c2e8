"""Harmonic tones: their spectra in closed form, their indices, and the pitch read from a wave."""

import numpy as np
import pytest

from ddm_jax.data import sources, tones
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError

COUNT = 400


@pytest.fixture(scope="module")
def drawn():
    return tones.tones(np.arange(COUNT))


def test_a_second_of_a_tone_has_its_partials_and_nothing_else():
    """At a whole number of Hz, one second long, each partial is one bin of the transform."""
    index = np.arange(60)
    found = tones.tones(index, 8000, 8000)
    amplitude, phase = tones.partials(index)
    of_a2, of_a3, of_a4 = (tones.CLASSES.index(c) for c in ("A2 110 Hz", "A3 220 Hz", "A4 440 Hz"))
    for label, pitch in ((of_a2, 110), (of_a3, 220), (of_a4, 440)):
        these = found.labels == label
        assert these.any()
        spectrum = np.fft.rfft(found.waves[these]) / 4000
        bins = pitch * np.arange(1, tones.PARTIALS + 1)
        expected = -1j * amplitude[these] * np.exp(1j * phase[these])
        np.testing.assert_allclose(spectrum[:, bins], expected, atol=1e-9)
        spectrum[:, bins] = 0
        assert abs(spectrum).max() < 1e-9


def test_notes_are_in_equal_temperament_and_named_by_their_frequencies():
    """A4 has 440 Hz, and a pentatonic scale repeats at the octave."""
    pitch = dict(zip(tones.NOTES, tones.FREQUENCIES, strict=True))
    assert pitch["A4"] == pytest.approx(440) and pitch["A3"] == pytest.approx(220)
    for note in "CDEG":
        assert pitch[f"{note}4"] == pytest.approx(2 * pitch[f"{note}3"])
    assert pitch["E3"] / pitch["A2"] == pytest.approx(1.5, rel=2e-3)  # a fifth
    assert tones.CLASSES[0] == "A2 110 Hz" and tones.CLASSES[-1] == "A4 440 Hz"


def test_a_tone_is_a_function_of_its_index_and_within_one(drawn):
    few = np.array([7, 399, 31])
    again = tones.tones(few)
    np.testing.assert_array_equal(again.waves, drawn.waves[few])
    np.testing.assert_array_equal(again.labels, drawn.labels[few])
    amplitude, _ = tones.partials(np.arange(100_000))
    assert 0.5 <= amplitude.sum(-1).min() and amplitude.sum(-1).max() < 1
    np.testing.assert_allclose(amplitude.mean(0) * np.arange(1, 5), 0.75 * 12 / 25, rtol=0.01)
    shares = np.bincount(tones.tones(np.arange(50_000), 8000, 1).labels) / 50_000
    np.testing.assert_allclose(shares, 1 / 11, atol=0.006)
    assert len(np.unique(drawn.waves[:, 0])) == COUNT


@pytest.mark.parametrize(("rate", "length"), [(8000, 512), (16000, 1024)])
def test_the_pitch_of_a_tone_is_read_to_half_a_percent(rate, length):
    found = tones.tones(np.arange(200), rate, length)
    read = tones.fundamental(found.waves.astype(np.float32), rate)
    np.testing.assert_allclose(read, tones.FREQUENCIES[found.labels], rtol=5e-3)
    assert np.median(abs(read / tones.FREQUENCIES[found.labels] - 1)) < 1e-4


def test_a_pitch_is_that_of_the_wave_whatever_its_shape_loudness_or_partials(drawn):
    """Pure sines between the notes too; time reversed, louder or with an offset it is the same."""
    pitch = np.geomspace(80, 900, 23)
    sines = np.sin(2 * np.pi * pitch[:, None] * np.arange(512) / 8000 + 0.3)
    np.testing.assert_allclose(tones.fundamental(sines, 8000), pitch, rtol=5e-3)
    waves = drawn.waves[:12]
    read = tones.fundamental(waves, 8000)
    for other in (0.01 * waves, waves + 3, waves[:, ::-1], -waves):
        np.testing.assert_allclose(tones.fundamental(other, 8000), read, rtol=1e-3)
    np.testing.assert_allclose(tones.fundamental(waves, 16000), 2 * read, rtol=5e-3)
    shaped = tones.fundamental(waves.reshape(3, 4, 512), 8000)
    np.testing.assert_allclose(shaped, read.reshape(3, 4), rtol=1e-12)
    assert np.isnan(tones.fundamental(np.zeros((2, 512)), 8000)).all()
    assert tones.fundamental(np.zeros((0, 512)), 8000).shape == (0,)


def test_the_source_says_what_tones_are():
    data = sources.load(DataOptions(name="tones", count=30))
    spec, x = data.spec, data.columns["x"]
    assert (spec.kind, spec.shape, spec.levels, spec.rate) == ("wave", (512, 1), 0, 8000.0)
    assert spec.shown == (-1, 1) and x.dtype == np.float32 and spec.classes == tones.CLASSES
    np.testing.assert_array_equal(x[..., 0], tones.tones(np.arange(30)).waves.astype(np.float32))
    high = sources.load(DataOptions(name="tones", count=5, rate=16000, size=(700,))).spec
    assert (high.shape, high.rate) == ((700, 1), 16000.0)
    kept = sources.load(DataOptions(name="tones", count=60, without=("A4 440 Hz",)))
    assert kept.spec.rate == 8000 and (kept.columns["label"] != 10).all()


def test_a_reversed_tone_is_a_tone():
    """The sum of sines with the phases -(phi + 2 pi k f (n - 1) / rate) + pi: so it may mirror."""
    assert sources.load(DataOptions(name="tones", count=2)).spec.mirrors
    found, (amplitude, phase) = tones.tones(np.arange(3)), tones.partials(np.arange(3))
    k, j = np.arange(1, 5), np.arange(512)
    step = 2 * np.pi * k * tones.FREQUENCIES[found.labels][:, None] / 8000
    turned = np.pi - phase - 511 * step
    waves = amplitude[..., None] * np.sin(step[..., None] * j + turned[..., None])
    np.testing.assert_allclose(found.waves[:, ::-1], waves.sum(1), atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (8, 8)}, "set data.size to their samples"),
        ({"channels": 3}, "leave data.channels at 0"),
        ({"rate": 3520}, "too low for the partials of the tones; take more than 3520"),
        ({"size": (100,)}, "too short to have a pitch; set data.size to 160 or more"),
        ({"name": "tones:16000"}, "takes no argument"),
    ],
)
def test_what_tones_are_not_is_answered_with_the_remedy(options, message):
    with pytest.raises(UserError, match=message):
        sources.load(DataOptions(**{"name": "tones", **options}))


def test_a_rate_is_no_negative_number():
    with pytest.raises(ValueError, match="is no rate of samples"):
        DataOptions(rate=-1)
