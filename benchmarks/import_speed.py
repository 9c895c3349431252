"""What importing a large swarm costs a running service: seconds, memory, and how long others wait to write.

    python -m benchmarks.import_speed [--runs 100000 --domains 20 --targets 20] [--postgres URL]

It starts ``mixwright serve`` in a folder of its own, uploads a swarm folder of random mixtures, samples the resident
memory of the service and its workers from /proc, and meanwhile writes through another connection, as agents do. Then it
imports the same files again, reads the study and asks for a fit. On a machine that is busy with other things, the CPU
seconds of the service say more than the clock. ``--postgres`` names an empty database.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

KEY = "key-of-the-benchmark"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS = 0.05


def write_swarm(path: Path, runs: int, domains: int, targets: int) -> None:
    """``runs.csv`` with every number at full precision, of two scales."""
    rng = np.random.default_rng(0)
    header = ["run_id", "model_params", "train_tokens"]
    header += [f"w:domain{j}" for j in range(domains)] + [f"loss:target{j}" for j in range(targets)]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(header) + "\n")
        for start in range(0, runs, 1000):
            count = min(1000, runs - start)
            rows = np.hstack([rng.dirichlet(np.ones(domains), count), 2 + rng.random((count, targets))]).tolist()
            for i, row in enumerate(rows, start):
                size = 10_000_000 * (1 + i % 2)
                file.write(f"run{i},{size},{20 * size}," + ",".join(map(repr, row)) + "\n")


@contextlib.contextmanager
def service(folder: Path, postgres: str | None) -> Iterator[tuple[str, int]]:
    """(address, process id) of a service that is stopped at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MIXWRIGHT_")}
    own |= {"MIXWRIGHT_API_KEY": KEY, "OMP_NUM_THREADS": "1"} | (
        {"MIXWRIGHT_DATABASE_URL": postgres} if postgres else {}
    )
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(folder)]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=own)
    try:
        yield _address(process, log), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(1200):
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("Mixwright is at "):
                return line.split()[3].rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the service did not start:\n{log.read_text(errors='replace')}")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def resident_bytes(pid: int) -> int:
    """Of a process and its children."""
    total = 0
    for each in _tree(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def cpu_seconds(pid: int) -> float:
    """That the process alone has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Watch:
    """Samples memory, and writes a small thing again and again, until it is stopped."""

    def __init__(self, url: str, pid: int) -> None:
        self.peak_bytes, self.longest_write, self.longest_read = 0, 0.0, 0.0
        self._url, self._pid, self._stop = url, pid, threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._sample, self._write, self._read)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, resident_bytes(self._pid))

    def _write(self) -> None:
        with client(self._url) as http:
            while not self._stop.wait(0.2):
                start = time.perf_counter()
                http.post("/v1/agents", json={"name": "writer"}).raise_for_status()
                self.longest_write = max(self.longest_write, time.perf_counter() - start)

    def _read(self) -> None:
        with client(self._url) as http:
            while not self._stop.wait(0.2):
                start = time.perf_counter()
                http.get("/v1/studies").raise_for_status()
                self.longest_read = max(self.longest_read, time.perf_counter() - start)


def client(url: str) -> httpx.Client:
    """Calls that wait long."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=600, trust_env=False)


def upload(url: str, pid: int, address: str, table: Path, **settings: object) -> dict[str, object]:
    """Import ``table`` and print what it cost; the report."""
    body = {"settings": json.dumps({"format": "swarm-folder"} | settings)}
    cpu, start = cpu_seconds(pid), time.perf_counter()
    with client(url) as http, table.open("rb") as file, Watch(url, pid) as watch:
        answer = http.post(address, data=body, files=[("files", ("runs.csv", file, "text/csv"))])
    seconds = time.perf_counter() - start
    if answer.status_code != 201:
        raise SystemExit(answer.text)
    report = answer.json()
    print(
        f"{report['taken']:>7} taken, {report['already_there']:>7} there: {seconds:6.1f} s "
        f"({cpu_seconds(pid) - cpu:.1f} CPU s of the service), peak {watch.peak_bytes / 2**20:.0f} MiB with workers, "
        f"longest write of another {watch.longest_write:.2f} s, longest read {watch.longest_read:.2f} s"
    )
    return report


def after(url: str, study: object) -> None:
    """How long the study answers now, and whether a fit can be asked for."""
    with client(url) as http:
        for what, address in (
            ("study", f"/v1/studies/{study}"),
            ("page of runs", f"/v1/studies/{study}/runs?limit=100"),
        ):
            start = time.perf_counter()
            http.get(address).raise_for_status()
            print(f"{what}: {1000 * (time.perf_counter() - start):.0f} ms")
        start = time.perf_counter()
        answer = http.post(f"/v1/studies/{study}/fits", json={"laws": ["log_linear"]})
        print(f"a fit asked for: {answer.status_code} after {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a large import.")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=20)
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--postgres", help="URL of an empty database (default: SQLite)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "runs.csv"
        write_swarm(table, options.runs, options.domains, options.targets)
        with service(folder, options.postgres) as (url, pid):
            print(f"{table.stat().st_size / 2**20:.0f} MiB of CSV; at rest {resident_bytes(pid) / 2**20:.0f} MiB")
            study = upload(url, pid, "/v1/imports", table, name="benchmark")["study_id"]
            upload(url, pid, f"/v1/studies/{study}/imports", table)
            after(url, study)


if __name__ == "__main__":
    main()
