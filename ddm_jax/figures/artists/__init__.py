"""The table of artists: who draws what kind of data, from decoded values to files."""

from collections.abc import Callable

from ddm_jax.data.dataset import Spec
from ddm_jax.errors import unknown
from ddm_jax.figures.artists.base import Artist, Room
from ddm_jax.figures.artists.images import Clips, Images, Volumes
from ddm_jax.figures.artists.points import Points
from ddm_jax.figures.artists.waves import Waves

__all__ = ["ARTISTS", "Artist", "Room", "artist_of"]

ARTISTS: dict[str, Callable[[Spec], Artist]] = {
    "image": lambda spec: Images(*spec.shown),
    "clip": lambda spec: Clips(*spec.shown),
    "volume": lambda spec: Volumes(*spec.shown),
    "points": lambda spec: Points(*spec.shown),
    "wave": lambda spec: Waves(*spec.shown, spec.rate),
}


def artist_of(spec: Spec) -> Artist:
    """The artist of data of a kind, whose decoded values lie in the range `spec.shown`."""
    if spec.kind not in ARTISTS:
        raise unknown("kind of data", spec.kind, ARTISTS)
    return ARTISTS[spec.kind](spec)
