"""Whoever looks on sees how far training is and what it costs: a bar at a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import eventcore as ec
from eventcore.errors import InvalidValue
from eventcore.replay.effects import Outcome, perform
from eventcore.training.callbacks import Callback, ProgbarLogger
from eventcore.training.callbacks.progress import duration, money, number, verbosity
from tests.training.callbacks.samples import Dictates, compiled, fit

ROOT = Path(__file__).parents[3]
TIMES = re.compile(r"(?<= in )[0-9.]+s|(?<=eta )[0-9.]+s")


def without_times(text: str) -> list[str]:
    return [TIMES.sub("T", line) for line in text.splitlines()]


class Terminal:
    """A real terminal; what was written to it is in `shown` once it is closed."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.file: IO[str] = os.fdopen(slave, "w", encoding="utf-8")
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._master, 65536)
            except OSError:
                part = b""
            if not part:
                os.close(self._master)
                return
            self._parts.append(part)

    @property
    def shown(self) -> str:
        if not self.file.closed:
            self.file.close()
        self._reader.join(10)
        return b"".join(self._parts).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    made = Terminal()
    yield made
    assert made.shown is not None


def test_elsewhere_there_is_a_line_per_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    fit(compiled(["fair", "best"]), epochs=2, verbose="auto", callbacks=[Dictates(reward=[0.0, 0.5])])
    assert without_times(capsys.readouterr().out) == [
        "epoch 1/2 - 1 step in T - reward 0.0000 - val_reward 0.5000 - best 0.5000 - calls 0 - cost $0.00 - eta T",
        "epoch 2/2 - 1 step in T - reward 0.5000 - val_reward 1.0000 - best 1.0000 - calls 0 - cost $0.00",
    ]


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_nothing_but_text_is_written_to_a_file(verbose: Any) -> None:
    file = io.StringIO()
    fit(compiled(), epochs=2, batch_size=2, callbacks=[ProgbarLogger(verbose, file)])
    assert [line[:9] for line in file.getvalue().splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert "\x1b" not in file.getvalue()


def test_silent_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    fit(compiled(), epochs=2, verbose=0)
    fit(compiled(), epochs=2, verbose=2, callbacks=[ProgbarLogger(0)])
    assert capsys.readouterr() == ("", "")


def test_calls_and_cost_are_those_of_this_training(run: ec.Run) -> None:
    async def answer(ticket: Any) -> Outcome:
        return Outcome("yes", "model", 10, 5, 0.0125, 1)

    async def paying(y_true: Any, y_pred: Any) -> float:
        await perform("chat", {"question": y_true.get("word")}, answer)
        return 0.5

    program = compiled()
    program.compile(reward=paying, optimizer=program.optimizer)
    for _ in range(2):  # what the first training spent is not counted to the second
        file = io.StringIO()
        fit(program, epochs=2, callbacks=[ProgbarLogger(2, file)])
        found = re.findall(r"calls (\d+) - cost \$([0-9.]+)", file.getvalue())
        # Per epoch 8 training examples, 2 of the sample, 2 of the validation.
        assert found == [("12", "0.1500"), ("24", "0.3000")]


def test_at_a_terminal_a_bar_moves_and_leaves_a_line_per_epoch(terminal: Terminal) -> None:
    fit(compiled(), epochs=2, batch_size=2, callbacks=[ProgbarLogger("auto", terminal.file)])
    shown = terminal.shown
    assert "━" in shown
    assert "4/4" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 2  # the cursor is hidden, and comes back
    plain = [
        line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines() if " steps in " in line
    ]
    assert [line.lstrip("\r")[:9] for line in plain] == ["epoch 1/2", "epoch 2/2"]


def test_with_verbose_2_a_terminal_shows_lines_only(terminal: Terminal) -> None:
    fit(compiled(), epochs=2, callbacks=[ProgbarLogger(2, terminal.file)])
    assert "\x1b" not in terminal.shown


def drawing() -> list[threading.Thread]:
    """Threads that draw a bar; of others, some begin and end when they like."""
    return [thread for thread in threading.enumerate() if type(thread).__module__.startswith("rich.")]


def test_the_bar_is_taken_away_when_training_fails(terminal: Terminal) -> None:
    seen: list[threading.Thread] = []

    class Breaks(Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            seen.extend(drawing())
            raise RuntimeError("broken")

    stdout = sys.stdout
    with pytest.raises(RuntimeError):
        fit(compiled(), callbacks=[ProgbarLogger(1, terminal.file), Breaks()])
    assert len(seen) == 1
    assert drawing() == []
    assert sys.stdout is stdout
    shown = terminal.shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


def test_what_is_printed_meanwhile_stands_above_the_bar(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Prints(Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            print(f"batch {batch} is over")
            print("aside", file=sys.stderr)

    monkeypatch.setattr(sys, "stdout", terminal.file)
    with (tmp_path / "aside").open("w") as aside:
        monkeypatch.setattr(sys, "stderr", aside)
        fit(compiled(), batch_size=4, verbose="auto", callbacks=[Prints()])
        assert sys.stdout is terminal.file
    assert (tmp_path / "aside").read_text() == "aside\n" * 2
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    assert [line for line in plain.splitlines() if line.startswith("batch")] == [
        "batch 0 is over",
        "batch 1 is over",
    ]


def test_output_that_is_not_the_bars_goes_where_it_goes(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    class Prints(Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            print("to the program's own output")

    fit(compiled(), callbacks=[ProgbarLogger(1, terminal.file), Prints()])
    assert capsys.readouterr().out == "to the program's own output\n"


def test_a_display_nobody_reads_any_more_does_not_end_training() -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError

    assert len(fit(compiled(), epochs=3, callbacks=[ProgbarLogger(2, Gone())]).epoch) == 3
    closed = io.StringIO()
    closed.close()
    assert len(fit(compiled(), epochs=3, callbacks=[ProgbarLogger("auto", closed)]).epoch) == 3


def test_a_file_of_ascii_gets_names_in_ascii(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as file:
        fit(compiled(), callbacks=[Dictates(**{"Güte": [0.5]}), ProgbarLogger(2, file)])
    assert "G\\xfcte 0.5000" in (tmp_path / "log").read_text()


def test_a_program_without_a_standard_output_can_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert fit(compiled(), verbose="auto").epoch == [0]


def test_rich_is_loaded_for_a_bar_only() -> None:
    script = (
        "import sys; import eventcore as ec; from tests.training.callbacks.samples import compiled, fit; "
        "fit(compiled(), verbose='auto'); print('rich' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_an_unknown_number_of_steps_is_learnt_in_the_first_epoch() -> None:
    from tests.training.callbacks.samples import ANSWERS, QUESTIONS

    def batches() -> Iterator[Any]:
        for start in range(0, 6, 2):
            yield QUESTIONS[start : start + 2], ANSWERS[start : start + 2]

    file, program = io.StringIO(), compiled()
    ec.wait(program(QUESTIONS[0]))
    given: dict[str, Any] = {"epochs": 2, "verbose": 0, "callbacks": [ProgbarLogger(2, file)]}
    ec.wait(program.fit(batches, validation_data=(QUESTIONS[6:], ANSWERS[6:]), **given))
    assert [line.split(" - ")[1][:10] for line in file.getvalue().splitlines()] == ["3 steps in"] * 2


@pytest.mark.parametrize("verbose", [3, -1, "loud", None, 0.5])
def test_a_verbosity_that_does_not_exist_is_refused(verbose: Any) -> None:
    with pytest.raises(InvalidValue, match="pass 0"):
        verbosity(verbose)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (3, "3"),
        (1e-7, "1.000e-07"),
        (1234567.0, "1.235e+06"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (None, "None"),
        (True, "True"),
        ("yes", "yes"),
    ],
)
def test_numbers_are_short(value: Any, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10.2, "10s"),
        (59.6, "1m00s"),
        (61, "1m01s"),
        (3600, "1h00m"),
        (90061, "25h01m"),
    ],
)
def test_durations_are_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("dollars", "text"), [(0.0, "0.00"), (0.00012, "0.0001"), (0.5, "0.5000"), (12.345, "12.35")]
)
def test_money_has_cents_or_as_much_as_it_needs(dollars: float, text: str) -> None:
    assert money(dollars) == text
