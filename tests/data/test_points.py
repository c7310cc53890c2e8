"""Points in the plane: their moments in closed form, their supports, and their indices."""

import numpy as np
import pytest

from ddm_jax.data import points, sources
from ddm_jax.data.dataset import DataOptions
from ddm_jax.errors import UserError

COUNT = 200_000
PI = np.pi
LOW, HIGH = points.TURNS
SHRUNK = points.ROLL_RADIUS / HIGH
# Mean of the spiral a (cos a, sin a) between odd multiples of pi / 2, by parts, and E|.|^2 = E a^2.
ROLL_MEAN = SHRUNK * np.array([(HIGH + LOW) / (HIGH - LOW), 2 / (HIGH - LOW)])
ROLL_SQUARE = SHRUNK**2 * (HIGH**3 - LOW**3) / (3 * (HIGH - LOW)) + 2 * points.ROLL_SPREAD**2
# Of each set: mean, E|x|^2, and E[x y] where a symmetry or an integral tells it.
MOMENTS = {
    "moons": (np.zeros(2), 1.3125 - 1 / PI + 2 * points.MOON_SPREAD**2, 1 / 8 - 1 / PI),
    "rings": (np.zeros(2), np.mean(np.square(points.RADII)) + 2 * points.RING_SPREAD**2, 0.0),
    "checkerboard": (np.zeros(2), 8 / 3, 0.25),
    "swiss_roll": (ROLL_MEAN, ROLL_SQUARE, None),
    "mixture": (np.zeros(2), points.MODE_RADIUS**2 + 2 * points.MODE_SPREAD**2, 0.0),
}


@pytest.fixture(scope="module")
def drawn():
    return {name: row.draw(np.arange(COUNT)) for name, row in points.POINT_SETS.items()}


@pytest.mark.parametrize("name", points.POINT_SETS)
def test_moments_are_those_of_the_closed_form(drawn, name):
    """Within five standard errors of the sample."""
    x = drawn[name].points
    mean, square, product = MOMENTS[name]
    checks = [(x[:, 0], mean[0]), (x[:, 1], mean[1]), ((x**2).sum(1), square)]
    checks += [] if product is None else [(x.prod(1), product)]
    for values, expected in checks:
        error = values.std() / np.sqrt(COUNT)
        assert abs(values.mean() - expected) < 5 * error


@pytest.mark.parametrize("name", points.POINT_SETS)
def test_a_point_is_a_function_of_its_index_and_within_reach(drawn, name):
    few = np.array([7, 199_999, 31])
    again = points.POINT_SETS[name].draw(few)
    np.testing.assert_array_equal(again.points, drawn[name].points[few])
    assert abs(drawn[name].points).max() < points.REACH
    assert len(np.unique(drawn[name].points[:, 0])) == COUNT


def test_classes_are_where_their_points_are(drawn):
    """Each point is nearest to the curve or mode of its own class; classes are equal in size."""
    for name, row in points.POINT_SETS.items():
        labels = drawn[name].labels
        assert (labels is None) == (not row.classes)
        if labels is not None:
            shares = np.bincount(labels, minlength=len(row.classes)) / COUNT
            np.testing.assert_allclose(shares, 1 / len(row.classes), atol=0.01)
    x, label = drawn["rings"]
    nearest = abs(np.hypot(*x.T)[:, None] - points.RADII).argmin(1)
    np.testing.assert_array_equal(nearest, label)
    x, label = drawn["mixture"]
    angle = np.rint(np.arctan2(x[:, 1], x[:, 0]) / (2 * PI / points.MODES)).astype(int)
    assert (angle % points.MODES == label).mean() > 1 - 1e-4
    x, label = drawn["moons"]
    upper = abs(np.hypot(x[:, 0] + 0.5, x[:, 1] + 0.25) - 1)
    lower = abs(np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.25) - 1)
    assert np.where(label == 0, upper, lower).max() < 8.6 * points.MOON_SPREAD
    assert x[label == 0, 1].min() > -0.25 - 8.6 * points.MOON_SPREAD


def test_spreads_and_supports(drawn):
    i, j = np.floor(drawn["checkerboard"].points).astype(int).T
    assert ((i + j) % 2 == 0).all() and i.min() == -2 and i.max() == 1
    assert len(np.unique(4 * i + j)) == 8
    x, label = drawn["rings"]
    away = np.hypot(*x.T) - np.take(points.RADII, label)
    outer = label == 2
    # Across the ring by the radius, and a little outwards since it is curved: s^2 / (2 r).
    assert away[outer].std() == pytest.approx(points.RING_SPREAD, rel=0.02)
    z = points.normal(np.arange(COUNT))
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.01)
    np.testing.assert_allclose((z**4).mean(0), 3, atol=0.1)


def test_a_source_says_what_the_points_are():
    data = sources.load(DataOptions(name="rings", count=500))
    assert data.spec.shape == (2,) and data.spec.kind == "points" and not data.spec.levels
    assert data.spec.shown == (-points.REACH, points.REACH) and not data.spec.mirrors
    assert data.columns["x"].dtype == np.float32 and data.columns["label"].dtype == np.int32
    more = sources.load(DataOptions(name="rings", count=700))
    np.testing.assert_array_equal(more.columns["x"][:500], data.columns["x"])
    assert data.spec.classes == ("inner", "middle", "outer")
    assert sources.load(DataOptions(name="swiss_roll", count=5)).columns.keys() == {"x"}
    left = sources.load(DataOptions(name="moons", count=100, without=("upper",)))
    assert (left.columns["label"] == 1).all() and left.spec.kind == "points"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "rings", "size": (8,)}, r"leave data.size at \(\)"),
        ({"name": "moons", "channels": 1}, "data.channels at 0"),
        ({"name": "moons:2"}, "takes no argument"),
        ({"name": "ring"}, "did you mean 'rings'"),
    ],
)
def test_what_points_are_not_is_answered_with_the_remedy(options, message):
    with pytest.raises(UserError, match=message):
        sources.load(DataOptions(**options))
