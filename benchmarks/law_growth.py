"""How the cost of fitting grows with runs, domains and targets: CPU seconds and peak memory, law by law, one thread.

    python -m benchmarks.law_growth [--laws a,b] [--limit-seconds 60] [--quick]

One axis grows at a time from 256 runs, 16 domains and 4 targets. Every fit has a process of its own, so that its peak
memory is its own too, and is ended after the limit. Where one ran out of time the larger sizes are left out. Beside the
seconds stands the power of the axis by which they grew since the size before: 1 is linear, 3 cubic. "largest" is all
three axes at their ends at once. The laws that are made of others are measured when they are named.

The tables are planted, sparse like real ones, at one scale; laws that know N or D get nine scales.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from benchmarks.swarms import planted_swarm
from mixers.errors import MixError
from mixers.laws import LAWS, Combination, find_law
from mixers.laws.base import MixingLaw
from mixers.laws.per_scale import PerScale

BASE = {"runs": 256, "domains": 16, "targets": 4}
AXES = {"runs": (64, 256, 1024, 4096, 10_000), "domains": (4, 16, 64, 256), "targets": (1, 4, 16, 64, 256)}
LARGEST = {"runs": 4096, "domains": 256, "targets": 256}
QUICK = {"runs": (64, 256), "domains": (4, 16), "targets": (1, 4)}
SCALES = 3
# Faster fits tell more about the clock than about the law.
_CLOCK_SECONDS = 0.02


@dataclass(frozen=True)
class Cost:
    """Of one fit: CPU seconds and MiB of peak memory, or why there are none."""

    seconds: float = float("nan")
    peak_mib: float = float("nan")
    failure: str | None = None


def single_laws() -> list[str]:
    """The laws that are not made of others."""
    return [name for name, law in LAWS.items() if not isinstance(law, Combination)]


def scales_for(law: MixingLaw) -> int:
    """How many sizes and token counts its table has."""
    inner = law.inner if isinstance(law, PerScale) else law
    return SCALES if inner.knows_params or inner.knows_tokens or law.needs.min_scales > 1 else 1


def _fit(name: str, sizes: dict[str, int], answer: Connection) -> None:
    """In the process of its own."""
    law = find_law(name)
    runs = planted_swarm(sizes["runs"], sizes["domains"], sizes["targets"], scales_for(law))
    began = time.process_time()
    try:
        law.fit(runs, np.random.default_rng(0))
    except MixError as error:
        answer.send(Cost(failure=str(error)))
        return
    except Exception as error:  # a law that breaks at this size is a finding too, and the others are still measured
        answer.send(Cost(failure=f"it broke: {type(error).__name__}: {error}"))
        return
    seconds = time.process_time() - began
    answer.send(Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measure(name: str, sizes: dict[str, int], limit_seconds: float) -> Cost:
    """Fit a planted table of these sizes, in at most ``limit_seconds`` of wall time."""
    # Forked from a process that has the laws imported and nothing else.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["benchmarks.swarms", "mixers.laws"])
    receive, send = server.Pipe(duplex=False)
    process = server.Process(target=_fit, args=(name, sizes, send), daemon=True)
    process.start()
    send.close()
    try:
        if not receive.poll(limit_seconds):
            return Cost(failure=f"over {limit_seconds:.0f} s")
        return receive.recv()
    except EOFError:
        return Cost(failure="its process died")
    finally:
        process.kill()
        process.join()


def growth(costs: Sequence[Cost], sizes: Sequence[int]) -> float:
    """The power by which the seconds grew from the size before; NaN where the clock cannot tell."""
    if len(costs) < 2 or not costs[-2].seconds >= _CLOCK_SECONDS:
        return float("nan")
    return float(np.log(costs[-1].seconds / costs[-2].seconds) / np.log(sizes[len(costs) - 1] / sizes[len(costs) - 2]))


def report_axis(name: str, axis: str, sizes: Sequence[int], limit_seconds: float) -> None:
    """One line a size, until one fails."""
    costs: list[Cost] = []
    for size in sizes:
        costs.append(measure(name, BASE | {axis: size}, limit_seconds))
        cost = costs[-1]
        if cost.failure is not None:
            print(f"  {axis:<8}{size:>7,}  {cost.failure}", flush=True)
            return
        power = growth(costs, sizes)
        grown = "" if np.isnan(power) else f"  ^{power:.1f}"
        print(f"  {axis:<8}{size:>7,}{cost.seconds:10.3f} CPU s{cost.peak_mib:8.0f} MiB{grown}", flush=True)


def report_largest(name: str, limit_seconds: float) -> None:
    """All axes at their ends."""
    cost = measure(name, LARGEST, limit_seconds)
    size = "x".join(str(value) for value in LARGEST.values())
    result = cost.failure or f"{cost.seconds:.1f} CPU s{cost.peak_mib:8.0f} MiB"
    print(f"  largest {size}: {result}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Growth of the cost of fitting mixing laws.")
    parser.add_argument("--laws", type=lambda text: text.split(","), help="default: all that are not made of others")
    parser.add_argument("--limit-seconds", type=float, default=60, help="for one fit")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    options = parser.parse_args()
    for name in options.laws or single_laws():
        find_law(name)
        print(f"{name}")
        for axis, sizes in (QUICK if options.quick else AXES).items():
            report_axis(name, axis, sizes, options.limit_seconds)
        if not options.quick:
            report_largest(name, options.limit_seconds)


if __name__ == "__main__":
    main()
