"""Points in the plane are drawn where they are."""

import numpy as np
import pytest

from ddm_jax.errors import RunError
from ddm_jax.figures import clouds
from ddm_jax.figures.artists.points import Points

ENDS = (-2.0, 2.0)


def test_a_density_has_integral_one_and_lies_where_the_points_do():
    rng = np.random.default_rng(0)
    cells, area = 32, (4 / 32) ** 2
    found = clouds.density(rng.uniform(-2, 2, (20_000, 2)), ENDS, cells)
    assert found.sum() * area == pytest.approx(1) and found.mean() == pytest.approx(1 / 16)
    corner = clouds.density(np.array([[1.9, -1.9]]), ENDS, cells)
    assert corner[0, -1] == 1 / area and corner.sum() == corner[0, -1]


def test_a_frame_shows_each_point_with_y_upwards():
    frames = clouds.frames(np.array([[[-2.0, -2.0]], [[2.0, 2.0]], [[0.0, 2.0]]]), ENDS)
    side = frames.shape[1]
    for frame, (row, column) in zip(
        frames, [(side - 2, 1), (1, side - 2), (1, side // 2)], strict=True
    ):
        rows, columns = np.nonzero((frame != 255).any(-1))
        assert abs(rows.mean() - row) <= 1 and abs(columns.mean() - column) <= 1
        assert len(rows) == 9


def test_points_beyond_the_square_are_drawn_on_its_edge_and_nan_is_refused():
    np.testing.assert_array_equal(clouds.placed(np.array([[-9.0, 1.0]]), ENDS), [[-2.0, 1.0]])
    with pytest.raises(RunError, match="not finite"):
        clouds.placed(np.array([[np.nan, 0.0]]), ENDS)


def test_lines_lead_from_each_point_to_its_estimate():
    x, to = np.zeros((2, 3, 2)), np.arange(12.0).reshape(2, 3, 2) / 12
    figure = clouds.panels(x, ENDS, ["a", "b"], to=to)
    for panel, ends in zip(figure.axes, to, strict=True):
        lines = [line.get_xydata() for line in panel.lines]
        np.testing.assert_allclose(lines, np.stack([np.zeros((3, 2)), ends], 1))


def test_a_way_joins_the_places_of_a_row():
    rows = np.random.default_rng(0).uniform(-1, 1, (3, 4, 2))
    (axes,) = clouds.ways(rows, ENDS, ["a", "b", "c"], list("wxyz")).axes
    np.testing.assert_allclose([line.get_xydata() for line in axes.lines], rows)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list("wxyz")


def test_a_cloud_has_a_colour_for_each_of_few_captions():
    x = np.random.default_rng(0).uniform(-1, 1, (30, 2))
    few = clouds.cloud(x, ENDS, ["a", "b", "c"] * 10).axes[0]
    for k, drawn in enumerate(few.collections):
        np.testing.assert_allclose(drawn.get_offsets(), x[k::3])
    many = clouds.cloud(x, ENDS, [f"{k}" for k in range(30)]).axes[0]
    assert len(many.collections) == 1 and many.get_legend() is None
    assert Points.room.grid >= 1000
