"""Two virtual CPU devices for every test, a shared compilation cache, and small runs."""

import contextlib
import fcntl
import gc
import itertools
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Programs with few optimisations (FAST below) compile in a third of the time with these flags of
# XLA. It ends a process that names one that it does not know: the pinned version alone is given
# them.
PINNED = f"jaxlib=={version('jaxlib')}" in (ROOT / "constraints/py311.txt").read_text().split()
CHEAP = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
CHEAP = CHEAP if PINNED else ""
GIVEN, DEVICES = os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count"
if DEVICES not in GIVEN:
    os.environ["XLA_FLAGS"] = f"{GIVEN} {CHEAP} {DEVICES}=2"
# Each worker of pytest-xdist, which inherits the environment of the process that deals the tests,
# has a cache of its own, since jax does not write its entries atomically. Before they start each is
# given what the others have compiled before.
CACHE = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", ROOT / ".pytest_cache" / "xla"))
WORKER = os.environ.get("PYTEST_XDIST_WORKER", CACHE.name)
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE if CACHE.name == WORKER else CACHE / WORKER)
if "PYTEST_XDIST_WORKER" not in os.environ:
    for one, other in itertools.permutations(CACHE.glob("gw*"), 2):
        for entry in one.iterdir():
            if not (other / entry.name).exists():
                shutil.copy2(entry, other)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# With caches of XLA below its own, the key of every program would hold the folder's name.
os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")
# Programs do not say from which line each of their operations comes, which takes time to find.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # processes share a GPU

from jaxtyping import install_import_hook  # noqa: E402

# Every call has the shapes of its arrays checked. Before anything imports these.
install_import_hook("ddm_jax.diffusion", "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import orbax.checkpoint as ocp  # noqa: E402
import pytest  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

import ddm_jax.models  # noqa: E402, F401  (before XLA is used, which reads its flags once)
import launch as launch_  # noqa: E402
from ddm_jax.training.checkpoint import Checkpoints  # noqa: E402
from ddm_jax.training.layout import Layout  # noqa: E402

gc.set_threshold(100_000, 50, 100)  # tracing makes millions of objects that live on

SHARED = Path(os.environ.get("DDM_JAX_TEST_DATA", ROOT.parent / "shared" / "data"))

# For processes with small programs that run once: compiled fast, they run slower.
FAST = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

# Any run, shrunk until it takes seconds.
SHORT = (
    "--config.optim.warmup=2",
    "--config.train.batch=16",
    "--config.train.steps=6",
    "--config.train.log_every=2",
    "--config.train.save_every=3",
    "--config.train.sample_every=0",
    "--config.sample.count=6",
    "--config.sample.batch=4",
    "--config.sample.steps=3",
)
# The quickstart with the network that compiles fastest, for tests of what is done with any.
TINY = (
    "--config.model.name=residual_mlp",
    "--config.model.residual_mlp.channels=64",
    "--config.model.residual_mlp.depth=1",
    "--config.optim.lr=2e-2",
    *SHORT,
)
# The quickstart with its own network, shrunk.
TINY_UNET = (
    "--config.model.ddpm_unet.channels=16",
    "--config.model.ddpm_unet.multipliers=(1,)",
    "--config.model.ddpm_unet.attention=(8,)",
    *SHORT,
)
# The least that trains, for runs that are started again and again.
TINY_MLP = (
    *("--config", ROOT / "configs/quickstart.py", *TINY, "--config.model.name=mlp"),
    *("--config.condition.name=nothing", "--config.guidance.name=none"),
    *("--config.model.mlp.hidden=(64,)", "--config.optim.lr=5e-3"),
    *("--config.train.save_every=10", "--config.train.log_every=10"),
)
# What a step draws and remembers beside times and noise: flips, dropped labels, times by the losses
# seen.
DRAWS = (
    "--config.augment.name=mirror",
    "--config.loss.class_dropout=0.3",
    "--config.loss.uniforms=stratified",
    "--config.time_sampler.name=importance",
    "--config.schedule.cosine.num_timesteps=4",
    "--config.time_sampler.importance.history=2",
)
# The network of a classifier, shrunk.
OF_CLASSIFIERS = ("channels=8", "multipliers=(1,)", "attention=()", "heads=2")
# configs/shapes_text.py with the network of captions that compiles fastest.
TINY_TEXT = (
    *SHORT,
    "--config.data.count=60",
    "--config.model.name=dit",
    "--config.model.dit.channels=16",
    "--config.model.dit.depth=1",
    "--config.model.dit.heads=2",
    "--config.model.dit.patch=4",
    "--config.optim.lr=2e-2",
    "--config.condition.bpe.channels=8",
    "--config.condition.bpe.depth=1",
)


def pytest_itemcollected(item):
    """The tests of a file stay in one process, for the sake of what they share.

    Only those that have a group of their own do not. pytest-xdist reads the groups before any
    `pytest_collection_modifyitems` of ours.
    """
    if not item.get_closest_marker("xdist_group"):
        item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


def pytest_collection_modifyitems(items):
    """Files that take longest come first, so that all processes end together."""
    longest = ("real_runs", "readme", "mutations", "new_row", "train", "configs")
    ranks = {f"test_{name}.py": rank for rank, name in enumerate(longest)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(longest)))


def one_device() -> Layout:
    return Layout(tuple(jax.local_devices()[:1]))


def two_devices() -> Layout:
    return Layout(tuple(jax.local_devices()[:2]))


def shared(path: str) -> Path:
    """A folder of the development data; skips the test where it is not there."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs the development data {path} (set DDM_JAX_TEST_DATA)")
    return SHARED / path


def launch(*arguments, devices: int = 1, **environ: str) -> subprocess.CompletedProcess:
    """Run launch.py as a user does, on `devices` virtual CPU devices."""
    return subprocess.run(
        command(*arguments),
        env=environment(devices, **environ),
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=3000,
    )


def start(*arguments, devices: int = 1, **environ: str) -> subprocess.Popen:
    """Start launch.py; what it says, errors too, is to be read from its stdout."""
    return subprocess.Popen(
        command(*arguments),
        env=environment(devices, **environ),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def command(*arguments) -> list[str]:
    return [sys.executable, "launch.py", *map(str, arguments)]


def environment(devices: int = 1, **environ: str) -> dict[str, str]:
    """What a process of its own is given: `environ` too, and the flags that go with FAST."""
    flags = f"{DEVICES}={devices}"
    if FAST.items() <= environ.items():
        flags += f" {CHEAP}"
    return {**os.environ, "XLA_FLAGS": flags, "PYTHONUNBUFFERED": "1", **environ}


def sparing(values: Iterable[Any], kept: Callable[[Any], bool]) -> list[Any]:
    """Values of a parameter, of which tests that are not slow take those that `kept` holds for."""
    return [v if kept(v) else pytest.param(v, marks=pytest.mark.slow) for v in values]


def keys(*settings: str) -> list[str]:
    """Settings as flags of the command line."""
    return [f"--config.{setting}" for setting in settings]


def answer(capsys, *arguments) -> tuple[int, str, str]:
    """(exit code, output, errors) of launch.py, run in this process."""
    code = launch_.main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return code, out, err


def ok(result):
    """The result of a process that ended well."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def wait_for(process, text):
    """Read what a process says until `text` comes."""
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    raise AssertionError("".join(seen))


def state_of(run, step=None):
    """(step, every leaf) of a checkpoint, or of the newest, as plain arrays, whole."""
    step = step or Checkpoints(run / "checkpoints", read_only=True).steps()[0]
    manager = ocp.CheckpointManager(run / "checkpoints")
    saved = {path.name for path in (run / "checkpoints" / str(step)).iterdir()}
    fields = saved & {"step", "params", "ema_params", "opt_state", "memory"}
    items = {name: ocp.args.StandardRestore() for name in fields}
    found = manager.restore(step, args=ocp.args.Composite(**items))
    found = {name: dict(found[name]) for name in fields}
    for path in run.glob(f"parts/*/{step}.safetensors"):
        for name, part in load_file(path).items():
            field, _, rest = name.partition(".")
            found[field]["." + rest] = part
    return step, {name: put_together(leaves) for name, leaves in found.items()}


def put_together(leaves):
    """Whole arrays, where `<name>[0:2,0:3]` are parts of one."""
    whole = {}
    for name, leaf in leaves.items():
        array, _, place = name.removesuffix("]").rpartition("[")
        if ":" not in place:
            whole[name] = leaf
            continue
        bounds = [tuple(map(int, ends.split(":"))) for ends in place.split(",")]
        least = tuple(stop for _, stop in bounds)
        had = whole.get(array, np.zeros((0,) * len(least), leaf.dtype))
        grown = np.zeros(tuple(map(max, had.shape, least)), leaf.dtype)
        grown[tuple(map(slice, had.shape))] = had
        grown[tuple(slice(*ends) for ends in bounds)] = leaf
        whole[array] = grown
    return whole


def assert_same_state(a, b):
    """Two runs end at the same step, in the same bits."""
    (step_a, fields_a), (step_b, fields_b) = state_of(a), state_of(b)
    assert step_a == step_b and fields_a.keys() == fields_b.keys()
    for name in fields_a.keys():
        for key, leaf in fields_a[name].items():
            np.testing.assert_array_equal(leaf, fields_b[name][key], err_msg=name + key)


def constant_bytes(program, *arguments) -> int:
    """About how much of a compiled program's own text is the numbers of its constants."""
    return len(program.lower(*arguments).as_text()) // 2


@contextlib.contextmanager
def small_files(most: int):
    """Within, the system refuses a file of more than so many bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def images_of(capfd, run, *arguments):
    """The newest arrays of a run after `--mode sample`, and their path."""
    code, _, err = answer(capfd, "--mode", "sample", "--workdir", run, *arguments)
    assert code == 0, err
    newest = max((run / "samples").glob("*.npz"), key=lambda p: p.stat().st_mtime_ns)
    with np.load(newest) as arrays:
        return {name: arrays[name] for name in arrays}, newest


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory):
    """Decoded data go to a folder of the test run's own, which its processes share."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["DDM_JAX_CACHE"] = str(common / "decoded")


@contextlib.contextmanager
def compiled_fast():
    """As FAST, for this process; where it was so before, it stays so."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def quick_compilation():
    """`compiled_fast`, for modules of many programs, which are forgotten once they fill memory.

    To trace the small ones anew in every module would take a twentieth of the time of all tests.
    """
    with compiled_fast():
        yield
    if resident() > 4.5e9:
        jax.clear_caches()


def resident() -> float:
    """Bytes of memory that this process holds; infinite where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return float("inf")


def trained_once(tmp_path_factory, name: str, arguments: Iterable[object]) -> Path:
    """A copy of this process's own of a run that the first process to ask for it trains."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    whole, run = common / f"{name}_whole", tmp_path_factory.mktemp(name) / "run"
    with (common / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (whole / "done.json").exists():
            with compiled_fast():
                assert launch_.main([*map(str, arguments), "--workdir", str(whole)]) == 0
    shutil.copytree(whole, run)
    return run


def as_trained(run: Path, to: Path, *without: str) -> Path:
    """A copy of a run less what was drawn and measured from it since it was trained, and `without`
    those names of its own."""
    since = ("*_seed_*", "evaluation", "edits", "pairs", "doctor")
    ignore = shutil.ignore_patterns(*since, *without)
    return shutil.copytree(run, to, ignore=ignore, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """A run of TINY, whose samples are filmed. Tests may add to it, and change their copies.

    In which order they run is not known: a copy that must hold nothing of theirs is `as_trained`.
    """
    arguments = ("--config", ROOT / "configs/quickstart.py", *TINY, "--config.sample.film=3")
    return trained_once(tmp_path_factory, "tiny_run", arguments)


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory) -> Path:
    """A run of a classifier of digits, shrunk. Tests change copies of it."""
    arguments = keys(*(f"model.unet_encoder.{s}" for s in OF_CLASSIFIERS))
    arguments += [
        argument for argument in SHORT if argument.startswith(("--config.train", "--config.optim"))
    ]
    config = ("--config", ROOT / "configs/digits_classifier.py")
    return trained_once(tmp_path_factory, "tiny_classifier", (*config, *arguments))


# An autoencoder of digits, shrunk, and trained until it is of some use.
TINY_CODER = tuple(
    f"--config.{setting}"
    for setting in (
        *("model.conv.channels=8", "model.conv.multipliers=(1,1)", "model.conv.attention=False"),
        *("bottleneck.kl.weight=1e-3", "average.ema.decay=0.9", "optim.lr=1e-2", "optim.warmup=10"),
        *("train.batch=32", "train.steps=200", "train.log_every=50", "train.save_every=100"),
        *("train.sample_every=0", "evaluate.count=20"),
    )
)


@pytest.fixture(scope="session")
def tiny_autoencoder(tmp_path_factory) -> Path:
    """A run of TINY_CODER. Tests change copies of it."""
    config = ("--config", f"{ROOT}/configs/digits_latent.py:autoencoder")
    return trained_once(tmp_path_factory, "tiny_autoencoder", (*config, *TINY_CODER))
