"""What stands beside a number, so that it can be compared and made again."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

BYTE_RULE = "round(255 clip(x, 0, 1))"  # of `figures.plots.to_uint8`
PACKAGE = Path(__file__).resolve().parents[1]


def named(short: str, title: str, count: int) -> str:
    """The name of a number: `FD@2k (pixels)`, with the count where it is below 10,000.

    short: of the metric. title: of the features, after which the distance is named; that of
    Inception's alone is called FID. count: samples.
    """
    if short == "FD" and title == "Inception":
        short = "FID"
    return f"{short}{counted(count)} ({title})"


def counted(count: int) -> str:
    """`@2k`, `@1,797`, and nothing from 10,000 on."""
    if count >= 10_000:
        return ""
    return f"@{count // 1000}k" if count % 1000 == 0 else f"@{count:,}"


@cache
def code() -> dict[str, str]:
    """The version of this package, and a digest of its source: numbers of two may differ."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(PACKAGE)).encode() + path.read_bytes())
    return {"version": version("ddm_jax"), "jax": version("jax"), "sha256": digest.hexdigest()[:16]}
