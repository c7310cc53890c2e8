"""The table of a sweep, from folders of runs made by hand."""

import csv
import json

import pytest
from PIL import Image

from ddm_jax.sweep import report
from ddm_jax.verbs import reading


def made(folder, steps, rows, error=None, drawn=None):
    """A run's folder by hand."""
    (folder / "samples").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"train": {"steps": steps, "batch": 8}}))
    lines = [json.dumps({"step": s, "loss": loss, "images_per_s": 16.0}) for s, loss in rows]
    (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
    if drawn:
        Image.new("L", (8, 8)).save(folder / f"samples/step_{drawn}.png")
        (folder / "done.json").write_text(json.dumps({"step": drawn}))
    if error:
        (folder / "error.txt").write_text(error)


def test_the_table_is_read_from_the_cells_own_files(tmp_path, capsys):
    rows = [(k, float(k)) for k in range(1, 9)]
    whole, half, broken, none = (tmp_path / n for n in ("a=1", "a=2", "b=<i>", "c=&"))
    made(whole, 8, rows, "an attempt before", 8)
    made(half, 9, rows, None, 8)
    made(broken, 8, [], "exit code 1: <b>no</b>\nlast lines")
    cells_ = {whole: {"a": 1}, half: {"a": 2}, broken: {"b": "<i>"}, none: {"c": "&"}}
    results = report.write(cells_, tmp_path)
    assert [r.status for r in results] == ["finished", "partial", "failed", "not started"]
    assert [r.loss for r in results] == [7.5, 7.5, None, None]
    assert results[0].seconds_per_step == 0.5 and results[0].reason == ""
    assert "not started" in capsys.readouterr().out
    with (tmp_path / "sweep.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["a"] for row in table] == ["1", "2", "", ""]
    assert table[0]["loss, mean of the last quarter of rows"] == "7.5"
    assert table[2]["reason"] == "exit code 1: <b>no</b>"
    page = (tmp_path / "sweep.html").read_text()
    assert "<b>no</b>" not in page and "&lt;b&gt;no&lt;/b&gt;" in page and "<i>" not in page
    assert "samples/step_8 of a=1" in page and page.count("<img") == 2
    assert str(tmp_path) not in page and "http:" not in page
    assert [row["run"] for row in table] == ["a=1", "a=2", "b=<i>", "c=&"]


@pytest.mark.parametrize(
    "done, steps, finished",
    [('{"step": 8}', 8, True), ('{"step": 8}', 7, True), ('{"step": 8}', 9, False)]
    + [(broken, 8, False) for broken in (None, "", "{", "[]", "{}")],
)
def test_finished_is_what_done_json_says(done, steps, finished, tmp_path):
    """Not what pictures and metrics look like, as a run before its last step may have them all."""
    made(tmp_path / "run", 8, [(4, 1.0), (8, 1.0)], None, 8)
    (tmp_path / "run/loss_by_level.png").touch()
    (tmp_path / "run/done.json").unlink()
    if done is not None:
        (tmp_path / "run/done.json").write_text(done)
    assert reading.is_finished(tmp_path / "run", steps) == finished
