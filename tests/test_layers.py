"""The layering, and what importing leaves out."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

# Each layer may import from itself and from those below it.
LAYERS = [
    ("errors", "files"),
    ("diffusion",),
    ("models", "data", "training", "plots", "films", "cells", "config", "options"),
    ("sections",),
    ("recipe", "checks"),
    ("workdir", "pictures", "sample", "evaluate", "edit", "train", "sweep_table"),
    ("sweep",),
    ("sweep_run",),
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted((ROOT / "ddm_jax").rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(path):
    return path.relative_to(ROOT / "ddm_jax").with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_import_only_what_stands_below(path):
    own = layer(path)
    if own == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "ddm_jax" and len(parts) > 1 and parts[1] in RANK:
            assert RANK[parts[1]] <= RANK[own], f"{own} imports {name}"
        if own == "diffusion":
            assert parts[0] not in ("flax", "ml_collections", "optax", "orbax", "pathlib"), name
            assert parts[:2] != ["ddm_jax", "errors"], "diffusion raises ValueError"
        if parts[0] == "flax":
            assert own == "models", f"{own} imports {name}"


def test_only_config_and_recipe_read_configs():
    for path in MODULES:
        if layer(path) not in ("config", "sections", "recipe", "workdir"):
            assert not any(n.startswith("ml_collections") for n in imports(path)), path


def test_only_one_file_knows_devices():
    for path in MODULES:
        if path.name != "parallel.py":
            for word in ("pmap", "local_devices", "device_count", "shard_map"):
                assert word not in path.read_text(), f"{path} says {word}"


def test_importing_leaves_heavy_packages_out():
    code = (
        "import sys, launch, ddm_jax.train, ddm_jax.sample, ddm_jax.evaluate, ddm_jax.edit;"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'matplotlib', 'sklearn',"
        " 'tensorboardX', 'diffrax', 'equinox') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
