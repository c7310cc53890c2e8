"""Who draws waves, and lets them be heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddm_jax.data.wav import write_wav
from ddm_jax.figures import sounds
from ddm_jax.figures.artists.images import Images


@dataclass(frozen=True)
class Waves(Images):
    """Waves (samples, 1) from `low` to `high`, `rate` samples a second, 0 where that is not known.

    Pictures of their curves; a grid has the waves one after the other beside it, as a sound and as
    a spectrogram.
    """

    rate: float = 0.0

    def grid(
        self,
        examples: np.ndarray,
        path: Path,
        columns: int = 10,
        captions: Sequence[str] | None = None,
    ) -> None:
        super().grid(examples, path, columns, captions)
        if self.rate:
            sound = sounds.placed(examples, (self.low, self.high)).ravel()
            write_wav(path.with_suffix(".wav"), sound, round(self.rate))
            beside = path.with_name(f"{path.stem}{sounds.BESIDE}{path.suffix}")
            sounds.spectrogram_figure(sound, self.rate, beside)

    def _light(self, values: np.ndarray) -> np.ndarray:
        return sounds.curves(values, (self.low, self.high))
