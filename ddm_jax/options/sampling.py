"""What is drawn: the section `sample`."""

from dataclasses import dataclass

from ddm_jax.diffusion.clipping import CLIPS
from ddm_jax.errors import unknown
from ddm_jax.options.checks import MOST, check_steps


@dataclass(frozen=True)
class SampleOptions:
    """The `sample` section. steps: times of the grid, each one evaluation of the denoiser (two
    with samplers that look ahead, but for the last). evaluations: the number of evaluations that
    the steps follow from, 0 to give the steps. ask: prompts, names of classes or files of pictures,
    dealt to the images in turn. classes: classes by their indices, () for all. avoid: what
    guidance leads away from, of the same kind, "" for no condition. clip: how estimates of x_0 are
    held in the range of the data. film: of how many images the way from noise is drawn too.
    """

    count: int = 64
    batch: int = 64
    steps: int = 50
    evaluations: int = 0
    seed: int = 0
    clip: str = "static"
    ask: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    avoid: str = ""
    film: int = 0

    def __post_init__(self):
        for name in ("count", "batch", "steps"):
            if not 1 <= getattr(self, name) < MOST:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1 and below 2^31")
        for name in ("evaluations", "film"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1, or 0")
        for name in ("steps", "evaluations"):
            check_steps(name, getattr(self, name))
        _whole("classes", self.classes)
        if not all(isinstance(text, str) for text in self.ask):
            raise ValueError(f"ask takes prompts, as in ('a red circle',), not {self.ask}")
        if not all(text.strip() for text in self.ask):
            raise ValueError("ask holds an empty prompt; leave it out, or say what to draw")
        for text in (*self.ask, self.avoid):
            if text != text.encode(errors="replace").decode():
                raise ValueError(f"{text!r} is no text that UTF-8 can write; type it anew")
        if self.ask and self.classes:
            raise ValueError("ask and classes both say what to draw; give one of them")
        if self.clip not in CLIPS:
            raise unknown("sample.clip", self.clip, CLIPS)


def _whole(name: str, values: tuple) -> None:
    """ValueError unless all are ints: a default of () says nothing of what goes in."""
    bad = [value for value in values if type(value) is not int]
    if bad:
        raise ValueError(f"{name} takes whole numbers, as in 1,2,3, not {bad[0]!r}")
