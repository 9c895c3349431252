"""``python -m tests.acceptance.instant_agent URL``: an agent whose training is a formula, for tests of the queue.

It claims, "trains" for a moment and reports, until it is killed. What cannot be delivered is tried again for a while,
as real agents do with their spool.
"""

from __future__ import annotations

import os
import random
import sys
import time
from uuid import UUID

from app.client import Client, ClientError, Conflict
from app.schemas.agents import AgentCreate, ClaimCreate, ClaimedRun, CompletionCreate
from proxy_training.spec import Measured, ProxyResult

CORPUS = "drill"
LEASE_SECONDS = 2.0
_DELIVERY_SECONDS = 30.0


def loss_of(run_id: UUID) -> float:
    """What every honest agent measures for a run."""
    return 1.0 + (run_id.int % 1009) / 1009


def main(url: str) -> None:
    """Work until killed. The key comes from the environment."""
    with Client(url, os.environ["MIXWRIGHT_API_KEY"], timeout_seconds=5, retries=2) as client:
        agent = _insist(lambda: client.register_agent(AgentCreate(name=f"drill-{os.getpid()}")))
        while True:
            wanted = ClaimCreate(agent_id=agent.id, max_runs=4, corpus_hashes=[CORPUS], lease_seconds=LEASE_SECONDS)
            claimed = _insist(lambda wanted=wanted: client.claim(wanted)).runs
            time.sleep(0.05 * random.random() if claimed else 0.2)
            for run in claimed:
                _report(client, run)


def _report(client: Client, run: ClaimedRun) -> None:
    result = ProxyResult(
        status="succeeded",
        train_tokens=run.spec.settings.train_tokens,
        losses={"t": Measured(value=loss_of(run.run_id))},
        wall_seconds=0.01,
    )
    body = CompletionCreate(attempt=run.attempt, result=result)
    try:
        _insist(lambda: client.complete(run.run_id, body))
    except Conflict:
        return  # the lease was lost: another agent trains it


def _insist(call):
    """The answer of ``call``; asked again while the service is away. A conflict is an answer."""
    deadline = time.monotonic() + _DELIVERY_SECONDS
    while True:
        try:
            return call()
        except Conflict:
            raise
        except ClientError:
            if not time.monotonic() < deadline:
                raise
            time.sleep(0.1 + 0.1 * random.random())


if __name__ == "__main__":
    main(sys.argv[1])
