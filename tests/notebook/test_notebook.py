"""Training works inside Jupyter, where an event loop is running already and cells are run again and again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

import eventcore as ec

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

READ, BUILD, FIT, LOOK, WAIT, EVALUATE, PREDICT = 3, 4, 5, 6, 7, 8, 9


class Notebook:
    """The notebook beside this file, in a kernel of its own."""

    def __init__(self, client: nbclient.NotebookClient) -> None:
        self.client = client
        self.cells: list[Any] = client.nb.cells

    def run(self, index: int) -> Any:
        """Run a cell, a second time too."""
        return self.client.execute_cell(self.cells[index], index)

    def run_text(self, text: str) -> Any:
        """Write a new cell below the others and run it."""
        new_cell: Any = nbformat.v4.new_code_cell
        self.cells.append(new_cell(text))
        return self.run(len(self.cells) - 1)


def text_of(cell: Any) -> str:
    """What stands below a cell."""
    parts: list[str] = []
    for output in cell.get("outputs", ()):
        parts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "".join(parts)


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    read: Any = nbformat.read
    cells = read(str(Path(__file__).with_name("training.ipynb")), as_version=4)
    client = nbclient.NotebookClient(cells, timeout=60, resources={"metadata": {"path": str(tmp_path)}})
    with client.setup_kernel():
        yield Notebook(client)


def test_a_notebook_trains_and_its_cells_can_be_run_again(notebook: Notebook, tmp_path: Path) -> None:
    for index in range(len(notebook.cells)):
        notebook.run(index)
    shown = [text_of(cell) for cell in notebook.cells]
    assert shown[READ] == "(20, 20)"
    assert [line[:9] for line in shown[FIT].splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert "\x1b" not in shown[FIT]
    assert "1.0" in shown[LOOK]
    assert "'best'" in shown[LOOK]
    assert "await" in shown[WAIT]
    assert "'reward': 1.0" in shown[EVALUATE]
    assert shown[PREDICT] == "['best', 'best', 'best']"
    # The program is built anew, beside the one that is still there, and trained; then trained further.
    for index in (BUILD, FIT, FIT, LOOK):
        assert not re.search("error|warning", text_of(notebook.run(index)), re.IGNORECASE)
    assert "'best'" in text_of(notebook.cells[LOOK])
    trained = "sum(1 for _ in run.events(kind='TrainEnded'))"
    assert text_of(notebook.run_text(f"run.flush(); {trained}")) == "3"
    notebook.run_text("store.close()")
    with ec.open(str(tmp_path / "runs.lmdb"), read_only=True) as store:
        store.verify()


def test_a_cell_that_is_interrupted_leaves_a_program_that_can_be_trained_further(notebook: Notebook) -> None:
    for index in range(BUILD + 1):
        notebook.run(index)
    notebook.client.allow_errors = True
    cell = notebook.run_text(
        "import os, signal\n"
        "class Stop(ec.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs):\n"
        "        if batch == 1: os.kill(os.getpid(), signal.SIGINT)\n"
        "await program.fit(x, y, batch_size=6, epochs=2, callbacks=[Stop()])\n"
    )
    errors = [output for output in cell.outputs if output["output_type"] == "error"]
    assert [error["ename"] for error in errors] in (["KeyboardInterrupt"], ["CancelledError"])
    reasons = "[record.event.reason for record in run.events(kind='TrainEnded')]"
    # The loop is told at its next step.
    assert re.search("interrupted in epoch 0, step [12]", text_of(notebook.run_text(reasons)))
    assert [line[:9] for line in text_of(notebook.run(FIT)).splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert text_of(notebook.run_text("run.at(run.head).digest == run.state.digest")) == "True"
