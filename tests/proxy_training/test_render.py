"""`mixwright agent render`: what the schedulers get is parsed and run, down to the exact words that the agent sees."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import run
from tests.waiting import soon

NASTY = '/data/o\'hara "two" $HOME `id` $(id) \\ *;&|#ü'
COMMAND = """python 'my train.py' --config {spec} --note "$HOME $(id)" """
PASSED_ON = ["--engine", "command", "--command", COMMAND]
SERVER = "https://mix.example:8321/a b"

# Notes what it was called with; with a file "hold" beside its notes it waits for SIGTERM and then ends well.
STUB = """#!/bin/sh
notes=NOTES
for word in "$(basename "$0")" "$@"; do printf '%s\\0' "$word"; done > "$notes/$(basename "$0").words"
printf %s "${MIXWRIGHT_API_KEY:-}" > "$notes/key"
trap 'exit 0' TERM
[ ! -e "$notes/hold" ] || { : > "$notes/waiting"; while :; do sleep 0.05; done; }
[ ! -e "$notes/code" ] || exit "$(cat "$notes/code")"
"""


@pytest.fixture
def render(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*arguments: str, code: int = 0) -> str:
        ended = run(["agent", "render", *arguments])
        captured = capsys.readouterr()
        assert ended == code, captured.err
        return captured.out if code == 0 else captured.err

    return call


class Cluster:
    """A PATH on which mixwright, srun and scontrol are stubs."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"
        self.bin = folder / "bin"
        self.home = folder / "home"
        for made in (self.notes, self.bin, self.home):
            made.mkdir()
        for name, text in (
            ("mixwright", STUB.replace("NOTES", str(self.notes))),
            ("scontrol", STUB.replace("NOTES", str(self.notes)).replace("hold", "never").replace("code", "never")),
            ("srun", '#!/bin/sh\nexec "$@"\n'),
            ("apptainer", f'#!/bin/sh\nprintf "%s\\0" "$@" > "{self.notes}/apptainer.words"\n'),
        ):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def start(self, command: list[str], **variables: str) -> subprocess.Popen[str]:
        fixed = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3", "HOME": str(self.home)}
        path = f"{self.bin}:{os.environ['PATH']}"
        environment = {"PATH": path, **fixed, **variables}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    def ended(self, command: list[str], **variables: str) -> int:
        process = self.start(command, **variables)
        process.communicate(timeout=60)
        return process.returncode

    def words(self, name: str) -> list[str]:
        """What a stub was called with; nothing when it was not."""
        path = self.notes / f"{name}.words"
        return path.read_text().split("\0")[:-1] if path.exists() else []


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def slurm_command(text: str) -> list[str]:
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    return ["bash", "-c", text]


def expanded(word: str) -> str:
    """What Kubernetes makes of a word of command or args: $$ is $, and a $(NAME) without such a variable stays."""
    return re.sub(r"\$\$", "$", word)


def kubernetes_command(text: str) -> list[str]:
    container = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"][0]
    assert all(not re.search(r"(?<!\$)(\$\$)*\$\(", word) for word in container["args"])  # none that it would replace
    return [expanded(word) for word in container["command"] + container["args"]]


def skypilot_command(text: str) -> list[str]:
    return ["bash", "-c", yaml.safe_load(text)["run"]]


COMMANDS = {"slurm": slurm_command, "kubernetes": kubernetes_command, "skypilot": skypilot_command}
# The places of two corpora as each scheduler names them, and where the agent finds them.
CORPORA = {
    "slurm": ([NASTY, "two"], [NASTY, "two"]),
    "kubernetes": ([f"claim{NASTY}", "other"], [f"/corpora/claim{NASTY}", "/corpora/other"]),
    "skypilot": ([NASTY, "s3://bucket/two"], ["/corpora/0", "/corpora/1"]),
}


def rendered(render: Callable[..., str], scheduler: str, *options: str, passed_on: list[str] | None = None) -> str:
    places = [word for place in CORPORA[scheduler][0] for word in ("--corpus", place)]
    image = ["--image", "registry/agent:1"] if scheduler == "kubernetes" else []
    return render(scheduler, "--server", SERVER, *places, *image, *options, "--", *(passed_on or []))


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_the_agent_gets_exactly_the_words_that_were_asked_for(
    scheduler: str, render: Callable[..., str], cluster: Cluster
) -> None:
    text = rendered(render, scheduler, passed_on=PASSED_ON)
    assert cluster.ended(COMMANDS[scheduler](text), MIXWRIGHT_API_KEY="secret") == 0
    found = [word for folder in CORPORA[scheduler][1] for word in ("--corpus", folder)]
    assert cluster.words("mixwright") == [
        "mixwright", "agent", "--server", SERVER, *found, "--exit-when-idle", "60", *PASSED_ON,
    ]  # fmt: skip
    assert (cluster.notes / "key").read_text() == "secret"
    assert cluster.words("scontrol") == []


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_an_agent_that_is_told_to_stop_drains_and_is_worth_another_start(
    scheduler: str, render: Callable[..., str], cluster: Cluster
) -> None:
    (cluster.notes / "hold").touch()
    command = COMMANDS[scheduler](rendered(render, scheduler))
    process = cluster.start(command, MIXWRIGHT_API_KEY="k")
    assert soon((cluster.notes / "waiting").exists)
    if scheduler == "slurm":  # the step is signalled, which here is a child of the batch script
        (step,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(step), signal.SIGTERM)
    else:
        os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert cluster.words("scontrol") == (["scontrol", "requeue", "17_3"] if scheduler == "slurm" else [])


@pytest.mark.parametrize("scheduler", COMMANDS)
def test_an_agent_that_fails_is_a_job_that_fails(scheduler: str, render: Callable[..., str], cluster: Cluster) -> None:
    (cluster.notes / "code").write_text("1")
    assert cluster.ended(COMMANDS[scheduler](rendered(render, scheduler)), MIXWRIGHT_API_KEY="k") == 1
    assert cluster.words("scontrol") == []


def test_a_slurm_job_says_what_it_needs_in_its_directives(render: Callable[..., str]) -> None:
    options = ("--agents", "8", "--at-once", "4", "--gpus", "h100:2", "--time-limit", "1d2h30m")
    text = rendered(render, "slurm", *options)
    assert text.startswith("#!/bin/bash\n")
    directives = re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)
    for wanted in ("--array=0-7%4", "--requeue", "--signal=TERM@120", "--gres=gpu:h100:2", "--time=1-02:30:00"):
        assert wanted in directives
    assert "--array=0-0" in rendered(render, "slurm")
    assert "gres" not in rendered(render, "slurm")


def test_a_slurm_agent_takes_its_key_from_a_file(render: Callable[..., str], cluster: Cluster) -> None:
    (cluster.home / ".mixwright-key").write_text("from home\n")
    assert cluster.ended(slurm_command(rendered(render, "slurm"))) == 0
    assert (cluster.notes / "key").read_text() == "from home"
    named = cluster.home / "o'hara $HOME"
    named.write_text("from there\n")
    assert cluster.ended(slurm_command(rendered(render, "slurm", "--key-from", str(named)))) == 0
    assert (cluster.notes / "key").read_text() == "from there"
    assert cluster.ended(slurm_command(rendered(render, "slurm", "--key-from", "/nowhere"))) == 78


def test_a_slurm_agent_in_an_image_sees_its_corpora_and_gpus(render: Callable[..., str], cluster: Cluster) -> None:
    text = render(
        "slurm", "--server", SERVER, "--corpus", "/a corpus", "--image", "registry/agent:1", "--gpus", "1"
    )  # fmt: skip
    assert cluster.ended(slurm_command(text), MIXWRIGHT_API_KEY="k") == 0
    assert cluster.words("apptainer")[:7] == [
        "exec", "--nv", "--bind", "/a corpus:/a corpus:ro", "docker://registry/agent:1", "sh", "-c",
    ]  # fmt: skip


def test_a_kubernetes_job_follows_its_schema(render: Callable[..., str]) -> None:
    options = ("--agents", "8", "--at-once", "4", "--gpus", "NVIDIA-H100:2", "--time-limit", "2h", "--key-from", "mine")
    job: dict[str, Any] = yaml.safe_load(rendered(render, "kubernetes", *options))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 4)
    assert spec["activeDeadlineSeconds"] == 7200
    assert spec["backoffLimitPerIndex"] == 3
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert spec["podFailurePolicy"] == {"rules": [rule]}
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # what backoffLimitPerIndex and podFailurePolicy demand
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100"}
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    key = {"secretKeyRef": {"name": "mine", "key": "api-key"}}
    assert container["env"] == [{"name": "MIXWRIGHT_API_KEY", "valueFrom": key}]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/corpora/claim", "/corpora/other"}
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]} == {"claim", "other"}


def test_a_skypilot_task_asks_for_recovering_spot_machines_and_a_secret(render: Callable[..., str]) -> None:
    task = yaml.safe_load(rendered(render, "skypilot", "--gpus", "H100:2"))
    assert task["resources"]["accelerators"] == "H100:2"
    assert task["resources"]["use_spot"] is True
    assert task["secrets"] == {"MIXWRIGHT_API_KEY": None}
    assert task["file_mounts"] == {"/corpora/0": NASTY, "/corpora/1": "s3://bucket/two"}
    assert task["setup"] == "pip install '.[agent]'\n"
    with_image = yaml.safe_load(rendered(render, "skypilot", "--image", "registry/agent:1"))
    assert with_image["resources"]["image_id"] == "docker:registry/agent:1"
    assert "setup" not in with_image


@pytest.mark.skipif(shutil.which("timeout") is None, reason="timeout of coreutils is not at hand")
def test_a_skypilot_agent_whose_time_is_up_has_ended_well(render: Callable[..., str], cluster: Cluster) -> None:
    (cluster.notes / "hold").touch()
    text = rendered(render, "skypilot", "--time-limit", "90s").replace("--kill-after=60 90 ", "--kill-after=60 0.2 ")
    assert cluster.ended(skypilot_command(text), MIXWRIGHT_API_KEY="k") == 0
    assert (cluster.notes / "waiting").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["slurm", "--corpus", "c", "--gpus", "two"], "--gpus is 'two'; write a number, or KIND:NUMBER"),
        (["slurm", "--corpus", "c", "--time-limit", "1 day"], "--time-limit is '1 day'; write more than 60 s as 1d12h"),
        (["slurm", "--corpus", "c", "--time-limit", "30s"], "--time-limit is '30s'"),
        (["slurm", "--corpus", "c", "--name", "a b"], "--name is 'a b'"),
        (["slurm", "--corpus", "c\nd"], "--corpus is 'c\\nd'; give a text without control characters"),
        (["slurm", "--corpus", "c", "--at-once", "2"], "--at-once 2 is more than the --agents 1"),
        (["slurm", "--corpus", "a:b", "--image", "i"], "Apptainer cannot bind a folder with a colon or comma"),
        (["slurm"], "no data is named to train on; give --corpus PLACE, or --corpus-name NAME after a --"),
        (["slurm", "--corpus", "c", "--", "--nonsense"], "after the --: No such option: --nonsense"),
        (["slurm", "--corpus", "c", "--", "--key-file", "k"], "the job brings the key; see --key-from"),
        (["slurm", "--corpus", "c", "--", "--server", "s"], "give it before the --"),
        (["slurm", "--corpus", "c", "--", "render"], "after the --: Got unexpected extra argument"),
        (["kubernetes", "--corpus", "c"], "Kubernetes needs --image"),
        (["kubernetes", "--corpus", "/c", "--image", "i"], "write CLAIM or CLAIM/FOLDER"),
        (["skypilot", "--corpus", "c", "--gpus", "1"], "write --gpus H100:1"),
        (["skypilot", "--corpus", "c", "--key-from", "f"], "leave --key-from out"),
    ],
)
def test_what_cannot_work_is_refused_before_it_reaches_the_cluster(
    render: Callable[..., str], arguments: list[str], sentence: str
) -> None:
    said = render(arguments[0], "--server", SERVER, *arguments[1:], code=1)
    assert sentence in said
    assert said.startswith("mixwright: ")
    assert said.count("\n") == 1


def test_a_server_that_is_no_address_is_refused(render: Callable[..., str]) -> None:
    said = render("slurm", "--server", "mixwright.example", "--corpus", "c", code=1)
    assert said == "mixwright: 'mixwright.example' is not an address of a service; write http://host:port\n"


def test_own_trainers_need_no_corpus_and_jobs_may_wait_longer(render: Callable[..., str], cluster: Cluster) -> None:
    passed_on = ["--corpus-name", "web", "--command", "t {spec}", "--exit-when-idle", "900"]
    text = render("slurm", "--server", SERVER, "--", *passed_on)
    assert cluster.ended(slurm_command(text), MIXWRIGHT_API_KEY="k") == 0
    assert cluster.words("mixwright")[4:] == passed_on


def test_a_file_is_written_whole_and_no_key_is_ever_in_it(
    render: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXWRIGHT_API_KEY", "very-secret")
    for scheduler in COMMANDS:
        out = tmp_path / "made" / scheduler
        assert rendered(render, scheduler, "--out", str(out)) == ""
        assert "mixwright agent" in out.read_text()
        assert "very-secret" not in out.read_text()
    said = render("slurm", "--server", SERVER, "--corpus", "c", "--out", str(out / "x"), code=1)
    assert "cannot be written" in said


def test_rendering_does_not_load_torch(checkout: Path) -> None:
    program = (
        "import sys\nfrom app.cli import run\n"
        "assert run(['agent', 'render', 'slurm', '--server', 'http://s', '--corpus', 'c']) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
