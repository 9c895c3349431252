"""Pull agents as a job of a scheduler: what is asked for, and the contract of what writes it down.

An agent asks the service for work, whatever has started it. So a job is nothing but N times the same command, which
ends when there is no work left, drains on SIGTERM, and is worth starting again after that.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from proxy_training.errors import ProxyError

# Longer than an agent needs to end its training, save it, and give its runs back.
DRAIN_SECONDS = 60

# Runs "mixwright agent" with the arguments that it is given, and ends with 143 when it was told to stop: the agent has
# then drained and ended well, but its work is not done, and schedulers start again only what has failed.
DRAINING_AGENT = """\
agent=; stopped=
trap 'stopped=yes; [ -z "$agent" ] || kill -TERM "$agent"' TERM
mixwright agent "$@" &
agent=$!
[ -z "$stopped" ] || kill -TERM "$agent"
wait "$agent"; code=$?
while kill -0 "$agent" 2>/dev/null; do wait "$agent"; code=$?; done
[ -z "$stopped" ] || [ "$code" -ne 0 ] || code=143
exit "$code"
"""
STOPPED = 143

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_GPUS = re.compile(r"(?:([A-Za-z0-9][A-Za-z0-9._-]*):)?([0-9]{1,4})")
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?")


@dataclass(frozen=True)
class Gpus:
    """GPUs of one agent; ``kind`` as the scheduler names it, any when None."""

    count: int
    kind: str | None = None

    @classmethod
    def parse(cls, text: str) -> Gpus:
        """``2`` or ``H100:2``.

        Raises:
            ProxyError: it is neither.
        """
        match = _GPUS.fullmatch(text)
        if match is None:
            raise ProxyError(f"--gpus is {text!r}; write a number, or KIND:NUMBER such as H100:1")
        return cls(int(match[2]), match[1])


@dataclass(frozen=True)
class AgentJob:
    """What every scheduler is asked for.

    Args:
        corpora: where the tokenised corpora lie, in the words of the scheduler.
        key_from: where the API key is taken from, in the words of the scheduler; its own default when None.
        options: of ``mixwright agent``, beyond those that follow from the rest.
    """

    name: str
    server: str
    agents: int
    at_once: int | None
    corpora: tuple[str, ...]
    image: str | None
    gpus: Gpus
    time_limit_seconds: int | None
    key_from: str | None
    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ProxyError(f"--name is {self.name!r}; write small letters, digits and hyphens, a letter first")
        places = [("--server", self.server), *(("--corpus", corpus) for corpus in self.corpora)]
        places += [("--image", self.image or "none"), ("--key-from", self.key_from or "none")]
        for option, text in places:
            if not text or not text.isprintable():
                raise ProxyError(f"{option} is {text!r}; give a text without control characters")
        if self.at_once is not None and self.at_once > self.agents:
            raise ProxyError(f"--at-once {self.at_once} is more than the --agents {self.agents}")

    def arguments(self, corpora: Sequence[str]) -> list[str]:
        """What follows ``mixwright agent``, with the corpora where the agent finds them."""
        named = [word for folder in corpora for word in ("--corpus", folder)]
        return ["--server", self.server, *named, *self.options]


class Scheduler(ABC):
    """One way to start agents. A new one is one file here and one line in ``SCHEDULERS``."""

    name: ClassVar[str]
    summary: ClassVar[str]  # one line for help texts

    @abstractmethod
    def render(self, job: AgentJob) -> str:
        """The script or manifest, ready to submit.

        Raises:
            ProxyError: the job asks for what the scheduler has no place for.
        """


def seconds_of(text: str) -> int:
    """The seconds of ``1d12h``, ``90m`` or ``1h30m``.

    Raises:
        ProxyError: it is no such duration.
    """
    match = _DURATION.fullmatch(text)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total <= DRAIN_SECONDS:
        raise ProxyError(f"--time-limit is {text!r}; write more than {DRAIN_SECONDS} s as 1d12h, 90m or 1h30m")
    return total
