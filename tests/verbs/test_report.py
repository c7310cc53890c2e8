"""Reports of folders made by hand: what differs, what was measured, and whatever is broken."""

import copy
import csv
import functools
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, answer, as_trained
from PIL import Image

sys.path.insert(0, str(ROOT / "tests" / "figures"))
from test_page import EVIL, check_page  # noqa: E402

from ddm_jax import verbs
from ddm_jax.config.load import load_config
from ddm_jax.config.tables import complete
from ddm_jax.verbs import measures, reading, reporting

PROTOCOL = {"sampler": {"name": "ddim", "steps": 50}, "count": 5000, "seed": 0}


@functools.cache
def plain():
    return complete(load_config(str(ROOT / "configs/quickstart.py"))).to_dict()


def measured(value, name="FD@5k", **protocol):
    """A line of results.jsonl."""
    numbers = {"frechet": value, "kid": 0.5}
    line = {"metric": "frechet", "name": name, "value": value, "numbers": numbers}
    floor = {"of": {"split": "test"}, "count": 9, "numbers": {"frechet": 1.25, "kid": 0.25}}
    return {**line, "floor": floor, "protocol": {**PROTOCOL, "step": 20, **protocol}}


def made(folder, *, lines=(), rows=20, **settings):
    """A run of `rows` rows with settings section__row__key=value, finished."""
    for part in ("samples", "evaluation"):
        (folder / part).mkdir(parents=True)
    config = copy.deepcopy(plain())
    config["train"].update(steps=rows, batch=8)
    for key, value in settings.items():
        *sections, last = key.split("__")
        functools.reduce(dict.__getitem__, sections, config)[last] = value
    (folder / "config.json").write_text(json.dumps(config))
    logged = [
        {"step": k, "loss": 1 / k, "images_per_s": 16.0, "loss_by_level": [1 / k, None, 2.0]}
        for k in range(1, rows + 1)
    ]
    write_lines(folder / "metrics.jsonl", logged)
    write_lines(folder / "evaluation/results.jsonl", lines)
    (folder / "done.json").write_text(json.dumps({"step": rows, "parameters": 1234567}))
    Image.new("RGB", (30, 20)).save(folder / f"samples/step_{rows}.png")
    return folder


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def table_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def several(tmp_path):
    """A folder of two runs and a sweep of two cells."""
    runs = tmp_path / "runs"
    made(runs / "a", optim__lr=0.1, lines=[measured(9.5), measured(8.5, "FD@1k")])
    made(runs / "b", optim__lr=0.25, lines=[measured(7.5, seed=1)], prediction__name="eps")
    made(runs / "s/seed=10", seed=10)
    made(runs / "s/seed=9", seed=9)
    return runs


def test_a_report_has_a_row_a_run_and_columns_where_they_differ(several, tmp_path, capsys):
    out = tmp_path / "new/folder/mine.html"
    assert verbs.report([several], out) == 0 and "4 runs" in capsys.readouterr().out
    text = out.read_text()
    found = check_page(text)
    rows = table_of(out.with_suffix(".csv"))
    assert [row["run"] for row in rows] == ["a", "b", "s/seed=9", "s/seed=10"]
    assert [*rows[0]] == [
        *("run", "task", "status", "step", "optim.lr", "prediction.name", "seed"),
        *("FD@1k", "FD@5k (protocol 1: seed=0)", "FD@5k (protocol 2: seed=1)"),
        *("loss, mean of the last quarter of rows", "last loss", "training time, s"),
        *("s/step, median", "parameters"),
    ]
    assert [row["optim.lr"] for row in rows[:2]] == ["0.1", "0.25"]
    assert [row["prediction.name"] for row in rows] == ["v", "eps", "v", "v"]
    assert rows[0]["FD@5k (protocol 1: seed=0)"] == "9.5"
    assert rows[1]["FD@5k (protocol 2: seed=1)"] == "7.5"
    assert rows[0]["FD@1k"] == "8.5" and rows[3]["FD@1k"] == ""
    assert float(rows[0]["last loss"]) == 1 / 20 and rows[0]["parameters"] == "1234567"
    mean = np.mean([1 / k for k in range(16, 21)])
    assert float(rows[0]["loss, mean of the last quarter of rows"]) == pytest.approx(mean)
    assert float(rows[0]["training time, s"]) == 20 * 8 / 16 and "0:00:10" in found.texts
    assert "FD@5k: not comparable, as its 2 protocols differ in seed (0 / 1)" in found.texts
    assert "Losses differ in what they measure, by prediction.name." in found.texts
    assert len(found.all("img")) == 4 and len(found.all("svg")) == 2
    assert text.count("&#9888;") == 2 and len(found.all("details")) == 3
    assert {"sampler.steps", "numbers.kid", "1.25"} <= {*found.texts}
    assert "Left out" not in text and str(tmp_path) not in text


def test_a_run_comes_once_in_the_order_of_the_command(several, tmp_path, capsys):
    folders = [several / "s/seed=10", several, several / "a", several / "s"]
    flags = [part for folder in folders for part in ("--workdir", folder)]
    code, out, err = answer(capsys, "--mode", "report", *flags, "--out", tmp_path / "r.html")
    assert (code, err) == (0, "") and out.endswith("4 runs\n")
    names = [row["run"] for row in table_of(tmp_path / "r.csv")]
    assert names == ["s/seed=10", "a", "b", "s/seed=9"]
    verbs.report([several / "s/seed=9"], tmp_path / "one.html")
    (row,) = table_of(tmp_path / "one.csv")
    assert row["run"] == "seed=9" and "optim.lr" not in row


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--workdir", "nowhere"), "no run in nowhere"),
        (("--workdir", "tests/data"), "name the folder of a run"),
        (("--workdir", "tests", "--out", "x.pdf"), "--out reports/mine.html"),
        (("--workdir", "tests", "--config.seed=1"), "give --workdir and --out alone"),
        (("--workdir", "tests", "--dry_run"), "give --workdir and --out alone"),
        (("--mode", "sample", "--workdir", "tests", "--out", "x.html"), "are for --mode report"),
        (("--mode", "sample", "--workdir", "a", "--workdir", "b"), "are for --mode report"),
    ],
)
def test_misuse_is_answered_in_one_line(arguments, remedy, at_root, capsys):
    code, out, err = answer(capsys, "--mode", "report", *arguments)
    assert (code, out) == (2, "") and remedy in err and err.count("\n") == 1


def test_a_page_that_cannot_be_written_is_one_line(several, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file/mine.html"
    code, _, err = answer(capsys, "--mode", "report", "--workdir", several, "--out", out)
    assert code == 2 and "give another --out" in err and err.count("\n") == 1


BROKEN = {
    "metrics.jsonl": (
        b'{"step": 1, "loss": 0.5}\n{"step": 2, "lo\n[]\n{"step": 3, "loss": NaN}\n\xff\n'
        b'{"step": "4", "loss": 1}\n{"step": 5, "loss": 0.25, "loss_by_level": {"a": 1}}\n',
        ["line 2, left out: it is no JSON", "line 3, left out: it has no step", "line 4", "line 5"],
    ),
    "config.json": (b'{"task": "dance"}', ["config.json left out: unknown task 'dance'"]),
    "done.json": (b'{"step": [], "parameters": "many"}', []),
    "error.txt": (EVIL.encode() + b"\nmore", []),
    "samples/step_20.png": (b"GIF no picture", ["step_20.png left out: it is no picture"]),
    "evaluation/results.jsonl": (
        b'{"name": "fd", "value": NaN}\n{"name": 1, "value": 1}\n{"name": "fd", "value": "1"}\n3\n'
        b'{"name": "fd", "value": 1, "protocol": []}\n{"name": "fd", "value": 1, "floor": "x"}\n'
        b'{"name": "fd", "value": 1, "floor": {"numbers": {"fd": 2}}, "numbers": {"kid": 1}}\n'
        + b'{"name": "fd", "value": 1'
        + b"0" * 400
        + b"}\n"
        + b"[" * 100_000
        + b'\n{"name": "good", "value": 2, "numbers": null, "step": true}\n',
        [
            "results.jsonl, line 1, left out: value is nan, not a finite number",
            "line 2, left out: name is 1, not a text",
            "line 3, left out: value is 1, not a finite number",
            "line 4, left out: it is no object",
            "line 5, left out: protocol and numbers must be objects",
            "line 6, left out: floor is x",
            "line 7, left out: floor is",
            "line 8, left out: value is 1000",
            "line 9, left out: it is no JSON",
        ],
    ),
}


def test_whatever_is_broken_is_left_out_in_one_line(tmp_path):
    """Each alone, all at once, and where a folder stands in place of a file."""
    made(tmp_path / "runs/good")
    for k, (name, (content, _)) in enumerate(BROKEN.items()):
        made(tmp_path / f"runs/{k}")
        (tmp_path / f"runs/{k}" / name).write_bytes(content)
        (made(tmp_path / f"runs/folder {k}") / name).unlink(missing_ok=True)
        (tmp_path / f"runs/folder {k}" / name).mkdir()
        path = tmp_path / "runs" / EVIL.replace("/", "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    verbs.report([tmp_path / "runs"], tmp_path / "r.html")
    found = check_page((tmp_path / "r.html").read_text())
    lines = [text for text in found.texts if "left out" in text]
    for k, (_, expected) in enumerate(BROKEN.values()):
        for text in expected:
            assert [line for line in lines if line.startswith(f"{k}: ") and text in line], text
    assert not [line for line in lines if line.startswith("good: ")]
    rows = {row["run"]: row for row in table_of(tmp_path / "r.csv")}
    assert len(rows) == 2 * len(BROKEN) + 2 and rows["good"]["status"] == "finished"
    bad = rows[EVIL.replace("/", "")]
    assert (bad["step"], bad["good"], bad["parameters"]) == ("5", "2.0", "")
    assert bad["reason"] == EVIL and bad["status"] == "failed"


def test_a_run_without_a_config_makes_no_setting_differ(tmp_path):
    for name in "ab":
        made(tmp_path / "runs" / name)
    (tmp_path / "runs/b/config.json").unlink()
    verbs.report([tmp_path / "runs"], tmp_path / "r.html")
    assert "b: config.json left out: it is missing" in (tmp_path / "r.html").read_text()
    assert not any("." in name for name in table_of(tmp_path / "r.csv")[0])


def test_an_unreadable_folder_is_told_and_the_others_reported(several, tmp_path, monkeypatch):
    listed = Path.iterdir

    def refused(path):
        if path.name == "s":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    (several / "loop").symlink_to(several / "loop")
    verbs.report([several], tmp_path / "r.html")
    assert f"{several.name}/s left out: Permission denied" in (tmp_path / "r.html").read_text()
    assert len(table_of(tmp_path / "r.csv")) == 2


def test_two_hundred_runs_fit_on_a_page(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    first = made(tmp_path / "runs/run 0", lines=[measured(0.5)])
    (first / "config.json").unlink()  # which would take most of the time
    Image.fromarray(noise).save(first / "samples/step_20.png")
    for k in range(1, 200):
        shutil.copytree(first, tmp_path / f"runs/run {k}")
    verbs.report([tmp_path / "runs"], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    found = check_page(text)
    assert len(text) < 5e6 and len(found.all("img")) == 24
    assert "pictures of 176 runs after the first 24" in found.texts
    assert "curves of 176 runs after the first 24" in found.texts and "and 2 more" in found.texts
    names = [row["run"] for row in table_of(tmp_path / "r.csv")]
    assert names == [f"run {k}" for k in range(200)]


@pytest.mark.parametrize(
    "value, expected",
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        ("\ta", "'\ta"),
        (-1.5, "-1.5"),
    ]
    + [("a=1", "a=1"), ('say "a", b\nc', 'say "a", b\nc'), (None, ""), (EVIL, EVIL)],
)
def test_no_cell_of_the_csv_is_a_formula(value, expected):
    text = reporting.as_csv(["=h"], [[value], ["end"]])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["'=h"], [expected], ["end"]] or (
        value is None
    )
    assert text.startswith("'=h\r\n") and text.endswith("\r\nend\r\n")


def test_settings_differ_by_value_not_by_writing():
    several = [{"a": 1, "b": (1, 2), "c": "x"}, {"a": 1.0, "b": [1, 2], "c": None, "d": None}]
    assert measures.differing(several) == ["c", "d"]
    assert measures.differing([{"a": True}, {"a": 1}]) == ["a"]
    assert measures.differing([{"a": float("nan")}] * 2) == []
    assert measures.differing(several[:1]) == measures.differing([]) == []
    assert measures.flat({"a": {"b": {"c": 1}, "d": {}}, "e": [1]}) == {
        "a.b.c": 1,
        "a.d": {},
        "e": [1],
    }


@pytest.mark.usefixtures("quick_compilation")
def test_what_evaluate_writes_is_what_a_report_shows(tiny_run, tmp_path, capsys, monkeypatch):
    """Of runs and steps that were measured alike, in one column, with the floor beside each."""
    monkeypatch.setenv("DDM_JAX_CACHE", str(tmp_path / "cache"))
    few = ("--config.evaluate.metrics=bound,frechet", "--config.evaluate.samples=4")
    few += ("--config.evaluate.reference_count=50", "--config.evaluate.count=2")
    few += ("--config.evaluate.steps=4", "--config.sample.steps=2")
    for name, raw in (("a", ()), ("b", ("--config.evaluate.weights=raw",))):
        run = as_trained(tiny_run, tmp_path / "runs" / name)
        shutil.rmtree(run / "evaluation", ignore_errors=True)
        code, out, _ = answer(capsys, "--mode", "evaluate", "--workdir", run, *few, *raw)
        assert code == 0
    code, _, err = answer(capsys, "--mode", "evaluate", "--workdir", f"{tmp_path}/runs/a@3", *few)
    assert code == 0, err
    lines = (tmp_path / "runs/a/evaluation/results.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    verbs.report([tmp_path / "runs"], tmp_path / "r.html")
    found = check_page((tmp_path / "r.html").read_text())
    assert not [text for text in found.texts if "left out" in text]
    rows = table_of(tmp_path / "r.csv")
    columns = [name for name in rows[0] if name.startswith(("FD@4", "bits/dim"))]
    assert len(columns) == 4  # two numbers, of averaged weights and of raw ones
    fd = next(name for name in columns if name.startswith("FD@4") and "protocol 1" in name)
    assert "weights.kind=averaged" in fd and written[1]["protocol"]["step"] == 6
    assert float(rows[0][fd]) == written[1]["value"] and rows[1][fd] == ""
    floor = written[1]["floor"]["numbers"]["frechet"]
    assert f"{floor:.5g}" in found.texts


def test_the_number_of_the_highest_step_stands_in_the_table(tmp_path):
    lines = [measured(value, step=step) for value, step in ((3.0, 30), (1.0, 10), (2.0, 20))]
    run = reading.summary(made(tmp_path / "run", lines=lines))
    header, (row,) = reporting.table({"run": run})
    assert dict(zip(header, row, strict=True))["FD@5k"] == 3.0


def test_the_newest_grid_is_of_the_highest_step_and_no_film(tmp_path):
    for name in ("step_9", "step_10_ddim_50_seed_0_abc", "step_11_film", "step_x"):
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / f"samples/{name}.png").touch()
    assert reading.newest_grid(tmp_path) == tmp_path / "samples/step_10_ddim_50_seed_0_abc.png"
    (tmp_path / "none").mkdir()
    assert reading.newest_grid(tmp_path / "none") is None


CLICKS = """
<script>
const heads = [...document.querySelectorAll("th button")];
const click = (name) => heads.find((b) => b.textContent === name).click();
const order = () => [...document.querySelector("tbody").rows].map((r) => r.cells[0].textContent);
const seen = [];
for (const name of ["optim.lr", "optim.lr", "run", "FD@1k", "FD@1k"]) {
  click(name);
  seen.push(order().join(" "));
}
const wide = document.documentElement.scrollWidth > window.innerWidth;
document.body.textContent = "SEEN " + JSON.stringify([...seen, wide]) + " END";
</script>
"""


def test_a_browser_sorts_the_page_without_a_complaint(several, tmp_path):
    """On a copy whose policy lets the clicks in; the page itself is opened for its complaints."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("needs chromium")
    verbs.report([several], tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    policy = '<meta http-equiv="Content-Security-Policy"'
    copy_ = text.replace(policy, '<meta name="none"').replace("</body>", CLICKS + "</body>")
    (tmp_path / "clicked.html").write_text(copy_)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    command += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path / 'profile'}"]
    result = {}
    for name in ("r", "clicked"):
        url = (tmp_path / f"{name}.html").as_uri()
        run = subprocess.run(
            [*command, "--dump-dom", url], capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0 and "CONSOLE" not in run.stderr, run.stderr
        result[name] = run.stdout
    assert result["r"].count("<button") == text.count("<th ")
    seen = result["clicked"].partition("SEEN ")[2].partition(" END")[0]
    assert plain()["optim"]["lr"] < 0.1
    up, down = "s/seed=9 s/seed=10 a b", "b a s/seed=9 s/seed=10"
    by_name = "a b s/seed=9 s/seed=10"
    assert json.loads(seen) == [up, down, by_name, by_name, by_name, False]


def test_a_folder_of_another_project_is_no_run(tmp_path, capsys):
    """Though it has a config.json."""
    shutil.copytree(ROOT / "tests/exchange/pipeline", tmp_path / "others")
    code, _, err = answer(capsys, "--mode", "report", "--workdir", tmp_path)
    assert code == 2 and "no run in" in err and err.count("\n") == 1
