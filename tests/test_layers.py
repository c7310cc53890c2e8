"""The layering, and what importing leaves out."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

# Each floor may import from itself and from those below it.
FLOORS = [
    ("errors", "files"),
    ("diffusion",),
    ("models", "data", "training", "figures", "options"),
    ("recipe",),
    ("config",),
    ("runs",),
    ("verbs",),
    ("sweep",),
    ("command_line",),
    ("__main__",),
]
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names}
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


def test_only_config_reads_configs():
    """Runs and verbs pass one on, and print it."""
    for path in MODULES:
        if layer(path) not in ("config", "runs") and path.name != "entry.py":
            assert not any(n.startswith("ml_collections") for n in imports(path)), path


def test_only_one_file_knows_devices():
    for path in MODULES:
        if path.name != "parallel.py":
            for word in ("pmap", "local_devices", "device_count", "shard_map"):
                assert word not in path.read_text(), f"{path} says {word}"


def test_importing_leaves_heavy_packages_out():
    code = (
        "import sys, launch, ddm_jax.verbs.entry;"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'matplotlib', 'sklearn',"
        " 'tensorboardX', 'diffrax', 'equinox') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr
