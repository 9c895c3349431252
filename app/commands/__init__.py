"""The commands of ``mixwright``: one file a group, each with ``register(app: typer.Typer) -> None``.

A module here is imported on every start of the command line, ``--help`` included: import numpy, the database or the
web framework inside the command that needs them, never at the top.
"""
