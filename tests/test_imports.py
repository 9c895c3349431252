"""Imports point one way: ``mixers <- proxy_training <- app <- migrations, benchmarks, tests``. And torch stays out.

The first tests walk the syntax trees, so that an import inside a function or under TYPE_CHECKING counts as well; the
last ones look at what a fresh process has loaded.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOMS = ("mixers", "proxy_training", "app", "migrations", "benchmarks", "tests")
# What each room may import of the others: whole rooms, or single modules with all below them.
ALLOWED = {
    "mixers": (),
    "proxy_training": ("mixers.types", "mixers.online"),
    "app": ("mixers", "proxy_training.spec"),
    "migrations": ("mixers", "proxy_training", "app"),
    "benchmarks": ("mixers", "proxy_training", "app", "migrations"),
}
WITHOUT_TORCH = ("mixers", "app", "migrations")


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything that a module of ``package`` imports, by statement or by ``import_module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def imports_of(checkout: Path, room: str) -> Iterator[tuple[str, str]]:
    """("file:line", full name) of every import of a room."""
    for path in sorted((checkout / room).rglob("*.py")):
        place = path.relative_to(checkout)
        package = ".".join(place.parent.parts)
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8")), package):
            yield f"{place}:{line}", name


def within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_stands_below_it(checkout: Path, room: str) -> None:
    others = tuple(other for other in ROOMS if other != room)
    wrong = [
        f"{place} imports {name}"
        for place, name in imports_of(checkout, room)
        if within(name, others) and not within(name, ALLOWED[room])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_a_room_without_torch_names_it_in_no_import(checkout: Path, room: str) -> None:
    wrong = [f"{place} imports {name}" for place, name in imports_of(checkout, room) if within(name, ("torch",))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ["mixers", "app"])
def test_importing_every_module_of_a_room_does_not_load_torch(checkout: Path, room: str) -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        f"import {room} as room\n"
        f"names = [m.name for m in pkgutil.walk_packages(room.__path__, '{room}.')]\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'\n"
        "print('\\n'.join(names))\n"
    )
    names = fresh_process(checkout, program).split()
    assert {"mixers": "mixers.laws.log_linear", "app": "app.main"}[room] in names


def test_the_records_of_proxy_training_load_neither_torch_nor_the_service(checkout: Path) -> None:
    loaded = fresh_process(checkout, "import sys, proxy_training.spec; print(' '.join(sys.modules))").split()
    assert not {"torch", "sqlalchemy", "fastapi", "app"} & set(loaded)


def test_the_walk_sees_imports_in_functions_relative_ones_and_dynamic_ones() -> None:
    source = "def f():\n    from ..laws import mean\n    import torch.nn\n    importlib.import_module('app.main')\n"
    found = [name for _, name in imported(ast.parse(source), "mixers.online")]
    assert found == ["mixers.laws.mean", "torch.nn", "app.main"]


def fresh_process(checkout: Path, program: str) -> str:
    """What ``program`` prints when a new interpreter runs it in the checkout."""
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
