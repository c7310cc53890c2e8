"""Processes of launch.py that tests kill: forked from one that has imported all, so they are quick.

`python tests/kills.py` reads a line of JSON for each process to be started or awaited and answers
with a line: of {"argv", "log", "flags", "environ"} its number, of {"wait": number} its exit code,
which is -n where signal n killed it. With 0 of {"mount": folder, "size": bytes}, which begins a
small file system, and {"gather": folder, "to": folder}, which ends it and copies what it holds.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds after which what a test waits for will not come


def serve() -> None:
    sys.path.insert(0, str(ROOT))
    import jax
    import tensorboardX  # noqa: F401

    import launch
    from ddm_jax.figures import plots  # noqa: F401
    from ddm_jax.verbs import entry  # noqa: F401

    jax.config.update("jax_disable_most_optimizations", True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        if "mount" in asked:
            how = ("mount", "-t", "tmpfs", "-o", f"size={asked['size']}", "tmpfs")
            print(subprocess.run([*how, asked["mount"]]).returncode, flush=True)
            continue
        if "gather" in asked:
            shutil.copytree(asked["gather"], asked["to"])
            print(subprocess.run(["umount", asked["gather"]]).returncode, flush=True)
            continue
        sys.stdout.flush()
        child = os.fork()
        if not child:
            os.environ |= {"XLA_FLAGS": asked["flags"], **asked["environ"]}
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # both ignored where the tests run
            signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            for stream in (1, 2):
                os.dup2(log, stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = launch.main(asked["argv"])
            sys.stdout.flush()
            os._exit(code)
        print(child, flush=True)


class Nursery:
    """Where processes are forked; `within` is a command that runs it, as `unshare`."""

    def __init__(self, *within: str, **environ: str):
        self.process = subprocess.Popen(
            [*within, sys.executable, __file__],
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def ask(self, **what) -> int:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, arguments, log: Path, devices: int = 1, **environ: str) -> "Run":
        flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in f]
        flags = " ".join([*flags, f"--xla_force_host_platform_device_count={devices}"])
        argv = [str(argument) for argument in arguments]
        log.unlink(missing_ok=True)
        number = self.ask(argv=argv, log=str(log), flags=flags, environ=environ)
        return Run(self, number, log)

    def run(self, arguments, log: Path, devices: int = 1) -> str:
        """What it said; it has to end well."""
        started = self.start(arguments, log, devices)
        assert started.wait() == 0, started.said()
        return started.said()

    def close(self) -> None:
        self.process.communicate()


class Run:
    """One process."""

    def __init__(self, nursery: Nursery, number: int, log: Path):
        self.nursery, self.number, self.log = nursery, number, log

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def until(self, met: Callable[[], object], every: float = 0.002) -> None:
        """Wait until `met()`; it must not end before."""
        end = time.monotonic() + PATIENCE
        while not met():
            assert Path(f"/proc/{self.number}/cwd").exists() and time.monotonic() < end, self.said()
            time.sleep(every)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """The exit code after a signal."""
        os.kill(self.number, number)
        return self.wait()

    def wait(self) -> int:
        return self.nursery.ask(wait=self.number)

    def reads(self, folder: Path) -> bool:
        """Whether it has a file below `folder` open."""
        found = []
        for link in Path(f"/proc/{self.number}/fd").glob("*"):
            try:
                found.append(os.readlink(link))
            except OSError:
                continue
        return any(name.startswith(f"{folder}/") for name in found)


def dice(seed: int) -> random.Random:
    """Whose seed stands in the output of a test that fails."""
    seed = int(os.environ.get("DDM_JAX_CHAOS_SEED", seed))
    print(f"DDM_JAX_CHAOS_SEED={seed}")
    return random.Random(seed)


if __name__ == "__main__":
    serve()
