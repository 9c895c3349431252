"""The demo from end to end: real text, a real service, real training, a verified recommendation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from app.client import Client
from app.demo import plan, report, steps
from app.demo.corpus import DemoCorpus, find_or_build
from app.demo.gather import gather
from app.demo.local_service import LocalService, check_port, local_service
from app.terminal import progress, say


@dataclass(frozen=True)
class DemoOptions:
    """Where the demo keeps its files, and how large it is."""

    folder: Path
    port: int | None = None
    runs: int = plan.SWARM_RUNS
    seeds: tuple[int, ...] = tuple(plan.VERIFICATION_SEEDS)
    keep: bool = False


@dataclass
class _Clock:
    """Wall seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, console: Console, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
        say(console, f"{name}: {self.seconds[name]:.1f} s")


def run_demo(options: DemoOptions, console: Console) -> None:
    """Do the main job and print its report; with ``keep`` the service stays up until Ctrl-C."""
    check_port(options.port)
    clock = _Clock()
    with clock.step(console, "Gather real text"), progress("Text", quiet=False) as on_progress:
        text = gather(options.folder / "text", on_progress=on_progress)
    with clock.step(console, "Build the corpus"):
        corpus = find_or_build(text, options.folder)
    with local_service(options.folder / "service", corpus.folder, options.port) as service:
        say(console, f"The service is at {service.url}, its log in {service.log}")
        results = _main_job(options, console, clock, service, corpus)
        report.show(console, corpus, results)
        document = options.folder / "report.json"
        report.write_document(document, corpus, results, clock.seconds)
        say(console, f"All of it as JSON: {document.absolute()}")
        page = f"{service.url}/studies/{results.study.id}"
        if options.keep:
            say(console, f"Log in once, within 15 minutes: {service.login_link()}")
            say(console, f"Dashboard: {page}  (Ctrl-C stops the service)")
            service.process.wait()
        else:
            say(console, f"Dashboard: {page}  (while the service runs: mixwright demo --keep)")


def _main_job(
    options: DemoOptions, console: Console, clock: _Clock, service: LocalService, corpus: DemoCorpus
) -> steps.Results:
    settings = plan.proxy_settings(corpus.corpus_hash)
    with Client(service.url, service.api_key) as client:
        left = steps.cancel_leftovers(client)
        if left:
            console.print(f"Cancelled {left} runs of an earlier demo that was interrupted.")
        study = steps.create_study(client, corpus)
        say(console, f"Study {study.id}: {service.url}/studies/{study.id}")
        with clock.step(console, f"Train {options.runs} proxy runs"), progress("Swarm", quiet=False) as on_progress:
            steps.queue_swarm(client, study, settings, options.runs)
            runs = steps.wait_for_runs(client, study.id, "swarm", on_progress)
        with clock.step(console, "Fit the mixing laws"), progress("Fit", quiet=False) as on_progress:
            fit = steps.fit_laws(client, study, plan.LAWS, on_progress)
        with clock.step(console, "Recommend weights"):
            recommendation = steps.recommend(client, study, fit)
        with clock.step(console, "Verify by training"), progress("Verification", quiet=False) as on_progress:
            verification = steps.verify(client, study, recommendation, settings, options.seeds, on_progress)
        return steps.Results(client.get_study(study.id), settings, runs, fit, recommendation, verification)
