"""``mixwright agents``: the processes that train proxy runs."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command_options import AsJson, with_records
from app.connection import ONLINE, ConnectionOptions, Limit, connected

_Agent = Annotated[str, typer.Argument(metavar="AGENT", help="Name of the agent, its id, or a part of its id.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(help="The agents that train proxy runs.", no_args_is_help=True)
    for name, command in (("list", list_agents), ("drain", drain), ("resume", resume)):
        group.command(name)(with_records(command))
    app.add_typer(group, name="agents", rich_help_panel=ONLINE)


def list_agents(connection: ConnectionOptions, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List agents, newest first, and how many runs each holds."""
    from app.online import output, run_tables

    with connected(connection) as client:
        found = output.first(client.all_agents(), limit)
    nothing = "No agent has come yet; start one with 'mixwright agent'."
    output.give_list(found, as_json, run_tables.AGENT_COLUMNS, run_tables.agent_row, nothing)


def drain(agent: _Agent, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Hand out no more runs to an agent; those that it holds it may finish."""
    _set(agent, connection, as_json, draining=True)


def resume(agent: _Agent, connection: ConnectionOptions, as_json: AsJson = False) -> None:
    """Give a drained agent runs again."""
    _set(agent, connection, as_json, draining=False)


def _set(agent: str, connection: ConnectionOptions, as_json: bool, draining: bool) -> None:
    from app.online import lookups, output, run_tables
    from app.schemas.agents import AgentUpdate

    with connected(connection) as client:
        changed = client.change_agent(lookups.find_agent(client, agent).id, AgentUpdate(draining=draining))
    output.give(changed, as_json, run_tables.show_agent)
