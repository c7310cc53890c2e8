"""Puts the last training grids of finished runs side by side, as the README shows them.

python experiments/gallery/run.py runs/quickstart runs/fashion_mnist
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ddm_jax.answering import Parser, answered
from ddm_jax.errors import UserError

HEIGHT = 480


def last_grid(run: Path) -> Image.Image:
    grids = [p for p in (run / "samples").glob("step_*.png") if p.stem.count("_") == 1]
    if not grids:
        raise UserError(f"no samples in {run}; train it first")
    newest = max(grids, key=lambda p: int(p.stem.split("_")[1]))
    picture = Image.open(newest).convert("L")
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.BOX)


def main(given: Sequence[str]) -> None:
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="their folders")
    grids = [last_grid(run) for run in parser.parse_args(given).runs]
    width = sum(grid.width for grid in grids) + 16 * (len(grids) - 1)
    canvas = Image.new("L", (width, HEIGHT), 255)
    x = 0
    for grid in grids:
        canvas.paste(grid, (x, 0))
        x += grid.width + 16
    path = Path(__file__).parent / "samples.png"
    canvas.save(path, optimize=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(answered(lambda: main(sys.argv[1:])))
