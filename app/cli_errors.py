"""Errors as the user of the command line reads them: one sentence and an exit code."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires

import typer

from app.calls.errors import ClientError
from app.errors import ServiceError
from mixers.errors import MixError

FAILED = 1
USAGE = 2
DEFECT = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT, as shells count

# Packages that are imported by another name than they are installed by.
_DISTRIBUTIONS = {"yaml": "pyyaml", "licensedcode": "licensedcode-data"}
_OURS = frozenset({"app", "mixers", "proxy_training", "migrations"})


def sentence_of(error: BaseException) -> tuple[int, str]:
    """(exit code, sentence) of an error that ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, typer.Abort):  # the input ended where an answer was asked for
        return FAILED, "stopped without an answer"
    if isinstance(error, MixError | ServiceError | ClientError):
        return FAILED, _one_line(str(error))
    if isinstance(error, ImportError):
        return FAILED, unavailable(error)
    if isinstance(error, OSError):
        return FAILED, _of_os_error(error)
    if isinstance(error, MemoryError):
        return FAILED, "there is not enough memory for this"
    if hasattr(error, "format_message"):  # typer's usage errors; their class has moved between versions of typer
        return USAGE, _of_usage_error(error)
    return DEFECT, (
        f"this is a defect of Mixwright, please report it: {type(error).__name__}: {_one_line(str(error))} "
        "(set MIXWRIGHT_TRACEBACK=1 to see where it happened)"
    )


def unavailable(error: Exception) -> str:
    """Why a command cannot be loaded, and what to install when a package is missing."""
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not missing or missing in _OURS:
        return f"its code cannot be loaded ({type(error).__name__}: {_one_line(str(error))})"
    extra = extra_of(missing)
    if extra is None:
        return f"it needs the Python package {missing!r}, which is not installed"
    return f"it needs the package {missing!r}, which is not installed: pip install 'mixwright[{extra}]'"


def extra_of(module: str) -> str | None:
    """The extra of Mixwright that installs the package of ``module``; None when there is none."""
    wanted = _normalised(_DISTRIBUTIONS.get(module, module))
    try:
        requirements = requires("mixwright") or []
    except PackageNotFoundError:
        return None
    for requirement in requirements:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        if name and extra and _normalised(name.group()) == wanted:
            return extra.group(1)
    return None


def _of_os_error(error: OSError) -> str:
    if error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return _one_line(error.strerror or str(error))


def _of_usage_error(error: BaseException) -> str:
    message = _one_line(error.format_message())  # type: ignore[attr-defined]
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        message = "Missing command."
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message.rstrip('.')}. See '{context.command_path} --help'."


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _one_line(text: str) -> str:
    return " ".join(text.split())
