"""No part of the package runs what a file says, but for the Python configs that a user names."""

import ast

import pytest
from conftest import ROOT

# Modules that run or build what they read.
UNSAFE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "runpy", "code"}
NAMES = {"eval", "exec", "compile", "__import__"}
METHODS = {"system", "popen", "exec_module", "spec_from_file_location"}
SAFE = {"allow_pickle": False, "trust_remote_code": False, "weights_only": True, "shell": False}
# A config is a program, and packages of the extras are imported by names that the code holds.
ALLOWED = {
    "ddm_jax/config/load.py": ["runpy"],
    "ddm_jax/models/features/weights.py": ["import_module of a variable"],
}


def unsafe(source):
    """What in a source runs, or might run, what it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.partition(".")[0] in UNSAFE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE:
            found.append(node.module)
        elif isinstance(node, ast.Dict):
            found += [
                key.value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and not _safe(key.value, value)
            ]
        elif isinstance(node, ast.Call):
            found += _call(node)
    return found


def _safe(name, value):
    """Whether a setting of this name and value is none of SAFE, or as it is there."""
    return name not in SAFE or (isinstance(value, ast.Constant) and value.value is SAFE[name])


def _call(node):
    found = [k.arg for k in node.keywords if not _safe(k.arg, k.value)]
    called = ast.unparse(node.func)
    last = called.rpartition(".")[2]
    if called in NAMES or (last in METHODS and "." in called):
        found.append(called)
    if called == "torch.load" and "weights_only" not in {k.arg for k in node.keywords}:
        found.append(called)
    if last == "import_module" and not all(isinstance(a, ast.Constant) for a in node.args):
        found.append("import_module of a variable")
    return found


def test_nothing_runs_what_a_file_says():
    sources = [*sorted((ROOT / "ddm_jax").rglob("*.py")), ROOT / "launch.py"]
    found = {str(path.relative_to(ROOT)): unsafe(path.read_text()) for path in sources}
    assert {name: what for name, what in found.items() if what} == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "import a, dill.source",
        "eval(text)",
        "exec(text, {})",
        "os.system(text)",
        "spec.loader.exec_module(m)",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=given)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "options = {'trust_remote_code': True}",
        "subprocess.run(text, shell=True)",
        "importlib.import_module(name)",
    ],
)
def test_each_way_is_found(source):
    assert len(unsafe(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "re.compile(text)",
        "jit(f).lower(x).compile()",
        "np.load(f, allow_pickle=False)",
        "import_module('torch')",
        "subprocess.run([a, b])",
        "model.eval()",
    ],
)
def test_what_is_harmless_is_not(source):
    assert not unsafe(source)
