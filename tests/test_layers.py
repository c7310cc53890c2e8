"""The layering, and what importing leaves out."""

import ast
import graphlib
import subprocess
import sys

import pytest
from conftest import ROOT

# Each floor may import from itself and from those below it. A name is a module or a folder.
FLOORS = [
    ("errors", "files", "interrupts", "output"),
    ("lock",),
    ("diffusion",),
    ("models", "data", "training", "figures", "options"),
    ("tasks",),
    ("exchange",),
    ("evaluation",),
    ("config",),
    ("runs",),
    ("borrowing",),
    ("verbs",),
    ("sweep",),
    ("answering",),
    ("command_line",),
    ("__main__",),
]
# The same within diffusion.
INNER = [
    ("arrays",),
    ("schedules", "conditions"),
    ("process", "noise_conds"),
    ("combining",),
    ("predictions", "guidance", "clipping"),
    ("samplers", "likelihood", "analytic"),
    ("losses", "editing"),
]
FOREIGN = ("flax", "ml_collections", "optax", "orbax", "pathlib", "os", "io", "absl")
PACKAGE = ROOT / "ddm_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))


def dotted(path):
    """ddm_jax.a.b of a file, a folder's name for its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imports(path):
    """Every name that a file imports, wherever in it: in functions and for types alone too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from inner
            if not inner <= NAMES:  # names of the module itself, not modules in its folder
                yield node.module


def layer(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def rank(floors, name):
    """The floor of a name; one that has none yet must be given one."""
    (found,) = [k for k, names in enumerate(floors) if name in names] or [None]
    assert found is not None, f"{name} has no floor: give it one in tests/test_layers.py"
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_import_only_what_stands_below(path):
    own = layer(path)
    if own == "__init__":
        return
    floor = rank(FLOORS, own)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "ddm_jax" and len(parts) > 1:
            assert rank(FLOORS, parts[1]) <= floor, f"{own} imports {name}"
        if own == "diffusion":
            assert parts[0] not in FOREIGN, name
            assert parts[:2] != ["ddm_jax", "errors"], "diffusion raises ValueError"
        if parts[0] == "flax":
            assert own == "models", f"{own} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if layer(p) == "diffusion"], ids=lambda p: p.stem
)
def test_the_floors_within_diffusion(path):
    own = dotted(path).split(".")[2:3]
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] != "ddm_jax" or parts[1:2] == ["diffusion"], f"{path} imports {name}"
        if own and parts[:2] == ["ddm_jax", "diffusion"] and len(parts) > 2:
            assert rank(INNER, parts[2]) <= rank(INNER, own[0]), f"{own[0]} imports {name}"


def test_no_module_imports_itself_by_way_of_others():
    """Imports within functions count; a folder that is imported runs its __init__ first."""
    graph = {}
    for path in MODULES:
        own = dotted(path)
        used = {name for name in imports(path) if name in NAMES}
        folders = {f for name in used for f in folders_of(name)} - set(folders_of(own))
        graph[own] = (used | folders) - {own}
    assert len(graph) == len(NAMES)
    tuple(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle


def folders_of(name):
    """The packages around a module, ddm_jax.a and ddm_jax of ddm_jax.a.b."""
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


def test_only_config_reads_configs():
    """Runs and verbs pass one on, and print it."""
    for path in MODULES:
        if layer(path) not in ("config", "runs", "borrowing") and path.name != "entry.py":
            assert not any(n.startswith("ml_collections") for n in imports(path)), path


def test_only_the_two_layouts_know_devices():
    for path in MODULES:
        if path.name not in ("layout.py", "sharded.py"):
            for word in ("pmap", "local_devices", "device_count", "shard_map"):
                assert word not in path.read_text(), f"{path} says {word}"


def test_a_wrong_command_is_answered_before_anything_heavy_is_imported():
    code = (
        "import sys, launch; code = launch.main(['--mode', 'report', '--config', 'x']);"
        "print(code, [m for m in ('jax', 'flax', 'orbax', 'optax') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert result.stdout.strip() == "2 []", result.stdout + result.stderr


def test_a_dry_run_leaves_heavy_packages_out():
    code = (
        "import sys, launch, ddm_jax.verbs.entry;"
        "assert launch.main(['--config', 'configs/quickstart.py', '--dry_run']) == 0;"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'matplotlib', 'sklearn',"
        " 'tensorboardX', 'diffrax', 'equinox') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True)
    assert result.stdout.splitlines()[-1] == "[]", result.stdout + result.stderr
