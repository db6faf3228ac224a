"""How the program is put together, and how it ends: commands, help, exit codes, errors."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from eventcore.cli.program import COMMANDS, program
from tests.cli.stores import COMMANDS_THAT_READ, call, command, environment, make_store, spawn
from tests.structure.source import ROOT


def commands() -> list[click.Command]:
    context = click.Context(program)
    found = [program.get_command(context, name) for name in COMMANDS]
    return [command for command in found if command is not None]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("cli") / "runs.lmdb")


def test_every_command_of_the_table_is_there_and_says_what_the_table_says() -> None:
    assert [(found.name, found.short_help) for found in commands()] == [
        (name, text) for name, (_, text) in COMMANDS.items()
    ]


def test_every_command_prints_json_when_asked() -> None:
    for found in commands():
        assert any("--json" in parameter.opts for parameter in found.params), found.name


def test_every_option_of_every_command_is_explained() -> None:
    for found in commands():
        for parameter in found.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{found.name} {parameter.opts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_the_same_first_sentence(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert COMMANDS[name][1].rstrip(".").split(":")[0] in " ".join(result.stdout.split())


def test_help_lists_every_command_and_every_exit_code() -> None:
    result = call("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout
    for code in ("0 ", "1 ", "2 ", "3 ", "70 ", "130 "):
        assert f"\n    {code}" in result.stdout


def test_without_arguments_help_is_printed() -> None:
    assert call().stdout == call("--help").stdout


def test_the_module_says_the_exit_codes_too() -> None:
    text = importlib.import_module("eventcore.cli").__doc__ or ""
    for code in ("0 ", "1 ", "2 ", "3 ", "70 ", "130 "):
        assert f"\n    {code}" in text


def test_help_imports_no_command_and_no_storage_engine() -> None:
    code = (
        "import sys\nfrom eventcore.cli import main\nmain(['--help'])\n"
        "loaded = [n for n in sys.modules if n.split('.')[0] in ('lmdb', 'rich', 'zstandard', 'orjson', 'sqlite3')"
        " or n.startswith(('eventcore.history', 'eventcore.models'))]\nassert loaded == [], loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_log_loads_no_part_of_the_library_above_the_history(store: Path) -> None:
    code = (
        f"import sys\nfrom eventcore.cli import main\nmain(['log', {str(store)!r}, 'main'])\n"
        "loaded = [n for n in sys.modules if n.split('.')[0] in ('rich', 'orjson', 'sqlite3', 'hypothesis')"
        " or n.startswith(('eventcore.models', 'eventcore.variables', 'eventcore.modules', 'eventcore.programs'))]\n"
        "assert loaded == [], loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_printed() -> None:
    import eventcore

    assert call("--version").stdout == f"eventcore {eventcore.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["shwo"], "eventcore: cannot find command 'shwo'; did you mean show?; see `eventcore --help`\n"),
        (["log", "--bogus"], "eventcore: no such option '--bogus'; see `eventcore log --help`\n"),
        (["diff"], "eventcore: missing argument 'STORE'; see `eventcore diff --help`\n"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str], expected: str) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_a_store_that_is_not_there_is_exit_code_2_and_is_not_made(tmp_path: Path) -> None:
    for name in COMMANDS_THAT_READ:
        more = {"diff": ["1", "2"], "backup": [str(tmp_path / "copy")]}.get(name, [])
        result = spawn(name, tmp_path / "nothing.lmdb", *more)
        assert result.returncode == 2, name
        error = result.stdout if name == "doctor" else result.stderr
        assert "cannot open" in error and "Traceback" not in result.stderr, name
        assert list(tmp_path.iterdir()) == [], name


def test_a_store_in_memory_is_refused() -> None:
    result = call("runs", "memory:")
    assert result.exit_code == 2
    assert result.stderr.startswith("eventcore: cannot read 'memory:'")


def test_an_unknown_run_is_exit_code_2_and_those_there_are_are_named(store: Path) -> None:
    result = call("log", store, "nobody")
    assert result.exit_code == 2
    assert "main, other" in result.stderr and result.stderr.count("\n") == 1


def test_a_run_must_be_named_where_there_are_several(store: Path) -> None:
    result = call("log", store)
    assert result.exit_code == 2
    assert result.stderr.endswith("it has 2; name one of: main, other\n")


def test_a_file_that_is_no_store_is_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    result = call("runs", tmp_path / "note.txt")
    assert result.exit_code == 3
    assert result.stderr.startswith("eventcore: cannot open") and result.stderr.count("\n") == 1


def test_the_store_is_taken_from_the_environment_when_it_is_left_out(store: Path) -> None:
    assert "main" in call("runs", EVENTCORE_STORE=str(store)).stdout


def test_a_defect_is_exit_code_70_with_its_traceback(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("eventcore.cli.stores.chosen_run", broken)
    monkeypatch.setattr("eventcore.cli.log.chosen_run", broken)
    result = call("log", store, "main")
    assert result.exit_code == 70
    assert "ZeroDivisionError: a defect" in result.stderr
    assert result.stderr.endswith(
        "eventcore: this is a defect of eventcore; please report it with the lines above\n"
    )


def test_the_script_and_the_module_are_the_same_program(store: Path) -> None:
    script = Path(sys.executable).with_name("eventcore")
    if not script.exists():
        pytest.skip("eventcore is not installed beside this Python")
    done = subprocess.run([script, "runs", store], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, spawn("runs", store).stdout)


def test_output_that_cannot_be_written_is_an_error_and_no_traceback(store: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as nowhere:
        done = subprocess.run(
            command("log", store, "main"),
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith("eventcore: cannot read or write") and done.stderr.count("\n") == 1


def test_text_that_the_terminal_cannot_show_is_escaped(store: Path) -> None:
    done = spawn("diff", store, "main", "1", "5", PYTHONIOENCODING="ascii")
    assert done.returncode == 1, done.stderr


def test_commands_that_read_change_no_byte_of_the_store(tmp_path: Path) -> None:
    path = make_store(tmp_path / "runs.lmdb")
    before = (path / "data.mdb").read_bytes(), (path / "MANIFEST").read_bytes()
    for arguments in (
        ["runs", path], ["log", path, "main"], ["show", path, "main"], ["diff", path, "main", 1, 4],
        ["verify", path], ["backup", path, tmp_path / "copy.lmdb"], ["doctor", path],
    ):  # fmt: skip
        spawn(*arguments)
    assert before == ((path / "data.mdb").read_bytes(), (path / "MANIFEST").read_bytes())


def test_a_shell_completes_the_names_of_commands() -> None:
    done = spawn(_EVENTCORE_COMPLETE="bash_complete", COMP_WORDS="eventcore do", COMP_CWORD="1")
    assert done.stdout.split() == ["plain,doctor"]
