"""Clips of a moving shape are read back as they were drawn, and are functions of their indices."""

import numpy as np
import pytest

from ddm_jax.data import moving_shapes, sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError

FRAMES, SIDE = 4, 12
INDEX = np.arange(60)


@pytest.fixture(scope="module")
def clips():
    return moving_shapes.draw(INDEX, FRAMES, SIDE)


def read(clips):
    return moving_shapes.oracle(clips)


def test_the_oracle_reads_what_was_drawn_of_every_class(clips):
    """Positions follow p_0 + k v, up to a tenth of a pixel."""
    drawn, seen = moving_shapes.motion(INDEX, FRAMES, SIDE), read(clips)
    assert set(moving_shapes.labels(drawn)) == set(range(len(moving_shapes.CLASSES)))
    np.testing.assert_array_equal(seen.label, moving_shapes.labels(drawn))
    np.testing.assert_array_equal(seen.shape, drawn.shape[:, None].repeat(FRAMES, 1))
    np.testing.assert_array_equal(seen.colour, drawn.colour[:, None].repeat(FRAMES, 1))
    places = drawn.start[:, None] + np.arange(FRAMES)[:, None] * drawn.velocity[:, None]
    np.testing.assert_allclose(seen.place, places, atol=0.15)
    np.testing.assert_allclose(seen.velocity, drawn.velocity, atol=0.06)
    assert all(same.all() for same in seen.steady.values()) and seen.error.max() < 20


def test_nothing_is_cut_off_and_a_class_moves_as_it_is_called(clips):
    area = abs(clips - moving_shapes.GROUND).sum((2, 3, 4))
    assert (abs(area / area.mean(1, keepdims=True) - 1) < 0.1).all()
    drawn = moving_shapes.motion(INDEX, FRAMES, SIDE)
    down, right = np.sign(drawn.velocity).astype(int).T
    names = np.array(moving_shapes.CLASSES)[moving_shapes.labels(drawn)]
    for name, y, x in zip(names, down, right, strict=True):
        told = {"right": (0, 1), "down": (1, 0), "left": (0, -1), "up": (-1, 0)}[name.split()[1]]
        assert (y, x) == told
    moved = np.linalg.norm(drawn.velocity, axis=1) * (FRAMES - 1) / SIDE
    assert (moved > 0.3 - 1e-9).all() and (moved < 0.42).all()


def test_what_is_not_steady_is_seen(clips):
    """Two frames exchanged, a frame of another clip, a clip that rests."""
    drawn = moving_shapes.motion(INDEX, FRAMES, SIDE)
    jumped, mixed, still = clips[:6, [0, 2, 1, 3]], clips[:6].copy(), clips[:6].repeat(FRAMES, 1)
    assert not read(jumped).steady["velocity"].any()
    other = next(k for k in INDEX if k > 5 and all(drawn.colour[k] != drawn.colour[:6]))
    mixed[:, 1] = clips[other, 1]
    assert not read(mixed).steady["colour"].any()
    rest = read(still[:, :FRAMES]).steady
    assert not rest["velocity"].any() and rest["shape"].all() and rest["colour"].all()


def test_a_clip_is_a_function_of_its_index(clips):
    few = np.array([31, 7])
    np.testing.assert_array_equal(moving_shapes.draw(few, FRAMES, SIDE), clips[few])
    data = sources.load(DataOptions(name="moving_shapes", count=9, frames=FRAMES, size=(SIDE,)))
    np.testing.assert_array_equal(data.columns["x"], clips[:9])
    assert data.spec.kind == "clip" and data.spec.shape == (4, 12, 12, 3) and not data.spec.mirrors
    assert sources.load(DataOptions(name="moving_shapes", count=1)).spec.shape == (8, 16, 16, 3)


@pytest.mark.parametrize("name", ["moving_shapes", "solids"])
@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": (16, 12)}, "have one side of 12 or more"),
        ({"size": (8,)}, "have one side of 12 or more"),
        ({"channels": 1}, "leave data.channels at 0"),
    ],
)
def test_what_they_are_not_is_answered_with_the_remedy(name, options, message):
    with pytest.raises(UserError, match=message):
        sources.load(DataOptions(name=name, **options))
    with pytest.raises(UserError, match="takes no argument"):
        sources.load(DataOptions(name=f"{name}:2"))


@pytest.mark.parametrize("frames", [1, -1])
def test_a_clip_has_frames(frames):
    with pytest.raises(ValueError, match="2 or more"):
        DataOptions(frames=frames)
