"""The ``mixwright`` command itself: quick to start, whole with or without extras, one sentence for every error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from app import cli
from app.cli_errors import extra_of, sentence_of
from app.errors import NewerDatabase
from mixers.errors import Infeasible
from tests.app.swarm_tables import run_rows, write_rows, write_swarm
from tests.waiting import PATIENCE_SECONDS, soon

MIXWRIGHT = (sys.executable, "-m", "app.cli")
HEAVY = {
    "numpy",
    "scipy",
    "sklearn",
    "lightgbm",
    "torch",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "uvicorn",
    "httpx",
    "jinja2",
}
OF_EXTRAS = ("torch", "yaml", "fastapi", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings", "jinja2", "psycopg")


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter that runs ``program``."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def without_extras(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``mixwright`` in an interpreter that cannot find any package of an extra."""
    program = (
        "import sys\n"
        "class Blocker:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {OF_EXTRAS!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker)\n"
        "from app.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    return python(program, *arguments)


def test_help_shows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("compare", "recommend", "predict", "serve", "agent", "demo", "db"):
        assert f" {command} " in out


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 0
    assert "compare" in capsys.readouterr().out


def test_help_loads_nothing_heavy() -> None:
    done = python("import sys; from app.cli import run; run(['--help']); sys.stderr.write(' '.join(sys.modules))")
    assert done.returncode == 0
    assert HEAVY & set(done.stderr.split()) == set()


@pytest.mark.parametrize("command", ["compare", "recommend", "predict", "serve", "agent", "demo", "db"])
def test_without_the_extras_a_command_still_shows_its_help(command: str) -> None:
    done = without_extras(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Not available" not in done.stdout
    assert "Usage: mixwright" in done.stdout


@pytest.mark.parametrize(("command", "extra"), [("serve", "service"), ("db upgrade", "service")])
def test_without_its_extra_a_command_says_what_to_install(command: str, extra: str) -> None:
    done = without_extras(*command.split())
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("mixwright: ")
    assert done.stderr.count("\n") == 1
    assert f"pip install 'mixwright[{extra}]'" in done.stderr


def test_the_offline_commands_need_no_extra(tmp_path: Path) -> None:
    done = without_extras("compare", str(write_swarm(tmp_path / "swarm")), "--laws", "mean,regmix_linear")
    assert done.returncode == 0, done.stderr
    assert "Chosen law: regmix_linear" in done.stdout


def test_a_group_of_commands_that_cannot_be_loaded_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load_badly() -> Callable[[typer.Typer], None]:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    sources = list(cli._sources())
    monkeypatch.setattr(cli, "_sources", lambda: iter([("trainer", load_badly), *sources]))
    assert cli.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "trainer" in out
    assert "compare" in out
    assert cli.run(["trainer"]) == 1
    assert capsys.readouterr().err == (
        "mixwright: it needs the package 'torch', which is not installed: pip install 'mixwright[agent]'\n"
    )


@pytest.mark.parametrize(
    ("module", "extra"),
    [("torch", "agent"), ("pydantic_settings", "service"), ("psycopg", "postgres"), ("yaml", None), ("numpy", None)],
)
def test_the_extra_of_a_package_is_found(module: str, extra: str | None) -> None:
    assert extra_of(module) == extra


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (Infeasible("the bounds\nsum to 0.9"), 1, "the bounds sum to 0.9"),
        (NewerDatabase("it is of revision 9"), 1, "it is of revision 9"),
        (NewerDatabase(), 1, "The database was written by a newer version of Mixwright."),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.csv"), 1, "a.csv: No such file or directory"),
        (PermissionError("the folder is not writable"), 1, "the folder is not writable"),
        (MemoryError(), 1, "there is not enough memory for this"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ModuleNotFoundError("No module named 'lxml'", name="lxml"), 1, "needs the Python package 'lxml'"),
        (ZeroDivisionError("division by zero"), 70, "a defect of Mixwright, please report it: ZeroDivisionError"),
    ],
)
def test_every_error_is_one_sentence_and_a_code(error: BaseException, code: int, sentence: str) -> None:
    found, said = sentence_of(error)
    assert found == code
    assert sentence in said
    assert "\n" not in said


def test_unknown_commands_and_options_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["oracle"]) == 2
    assert capsys.readouterr().err == "mixwright: No such command 'oracle'. See 'mixwright --help'.\n"
    assert cli.run(["compare", ".", "--lawz", "x"]) == 2
    assert "No such option: --lawz" in capsys.readouterr().err


def test_a_group_without_its_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["db"]) == 2
    assert capsys.readouterr().err == "mixwright: Missing command. See 'mixwright db --help'.\n"


def test_square_brackets_of_a_help_text_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recommend", "--help"]) == 0
    assert "[default: auto]" in capsys.readouterr().out


def test_a_defect_shows_its_traceback_only_when_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("app.formats.swarm_folder.read_swarm", fail)
    assert cli.run(["compare", str(tmp_path)]) == 70
    assert "planted" in capsys.readouterr().err
    monkeypatch.setenv("MIXWRIGHT_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError, match="planted"):
        cli.run(["compare", str(tmp_path)])


def test_a_reader_that_leaves_early_is_no_error_to_complain_about() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*MIXWRIGHT, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*MIXWRIGHT, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS
        )
    assert done.returncode == 1
    assert done.stderr == "mixwright: No space left on device\n"


def test_names_that_the_terminal_cannot_show_do_not_end_the_program(tmp_path: Path) -> None:
    rows = [{name.replace("w:code", "w:größe"): value for name, value in row.items()} for row in run_rows(6)]
    write_rows(tmp_path / "runs.csv", rows)
    done = subprocess.run(
        [*MIXWRIGHT, "recommend", str(tmp_path), "--law", "mean"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert b"gr\\xf6\\xdfe" in done.stdout


def test_ctrl_c_ends_a_command_at_once_and_quietly(tmp_path: Path) -> None:
    swarm, asked = write_swarm(tmp_path / "swarm"), tmp_path / "asked.csv"
    os.mkfifo(asked)
    with subprocess.Popen(
        [*MIXWRIGHT, "predict", str(swarm), "--at", str(asked), "--out", str(tmp_path / "p.csv")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writing: list[int] = []
        assert soon(lambda: _opened(asked, writing))  # in the middle of its work: it waits for what it reads
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        os.close(*writing)
    assert process.returncode == 130
    assert (out, err) == ("", "mixwright: interrupted\n")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["asked.csv", "swarm"]


def _opened(pipe: Path, handles: list[int]) -> bool:
    """Whether somebody reads from a named pipe, which is then open for writing."""
    try:
        handles.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:  # nobody, until now
        return False
    return True
