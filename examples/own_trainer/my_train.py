"""A trainer of one's own for Mixwright's proxy runs, in plain PyTorch: one model, one loop, nothing of Mixwright.

    mixwright agent --corpus corpus --command "python my_train.py --config {spec}"
    mixwright agent --corpus-name web-2026 --command "python my_train.py --config {spec} --texts my_texts"

The first trains on a corpus that `mixwright corpus build` made, the second on a folder with one text file a domain
(law.txt, code.txt, ...), read as bytes; the last tenth of every file is kept for validation. The README says what a
line on the standard output may be and what exit codes mean.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from data import read_domains
from model import BASE_FEED_FORWARD, BASE_WIDTH, Decoder
from torch import Tensor, nn

WRONG_DATA, TRY_AGAIN = 65, 75  # sysexits.h: EX_DATAERR ends the run for good, EX_TEMPFAIL asks for another attempt
SAVE_EVERY_SECONDS, SPEAK_EVERY_SECONDS = 60.0, 1.0


def say(**line: object) -> None:
    """One JSON line for the agent."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def give_up(why: str) -> NoReturn:
    sys.stderr.write(why + "\n")
    sys.exit(WRONG_DATA)


def optimizer_of(model: Decoder, wanted: dict) -> torch.optim.AdamW:
    """AdamW whose rate for a matrix goes with one over its input width."""
    groups = []
    for name, weight in model.named_parameters():
        matrix = name.startswith("blocks.") and weight.ndim == 2
        base = BASE_FEED_FORWARD if name.endswith("down.weight") else BASE_WIDTH
        decay = wanted["weight_decay"] if weight.ndim == 2 else 0.0
        groups.append({"params": [weight], "scale": base / weight.shape[1] if matrix else 1.0, "weight_decay": decay})
    return torch.optim.AdamW(groups, lr=wanted["learning_rate"], betas=(wanted["beta1"], wanted["beta2"]))


def rate_at(step: int, steps: int, wanted: dict) -> float:
    """The learning rate: a linear warm-up, then the schedule of the spec."""
    warmup = math.ceil(wanted["warmup_fraction"] * steps)
    if step < warmup:
        return wanted["learning_rate"] * (step + 1) / warmup
    done = (step + 1 - warmup) / max(steps - warmup, 1)
    falling = wanted["decay_fraction"] / (1 - wanted["warmup_fraction"])
    fallen = {
        "constant": 0.0,
        "cosine": (1 - math.cos(math.pi * done)) / 2,
        "linear": done,
        "wsd": max(0.0, 1 - (1 - done) / falling),
    }[wanted["schedule"]]
    return wanted["learning_rate"] * (1 - (1 - wanted["final_fraction"]) * fallen)


class Run:
    """One run between two steps: everything that a checkpoint holds."""

    def __init__(self, run: dict, texts: Path | None) -> None:
        self.stages, self.settings, seed = run["spec"]["stages"], run["spec"]["settings"], run["draw_seed"]
        self.context, self.batch = self.settings["model"]["context"], self.settings["batch_sequences"]
        refuse_what_is_not_done_here(self.settings)
        self.names = sorted({name for stage in self.stages for name, weight in stage["weights"].items() if weight})
        try:
            self.domains = read_domains(self.names, run["corpus"], texts, self.context, seed)
        except LookupError as wrong:
            give_up(str(wrong))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(seed)
        self.model = Decoder(self.settings["model"]).to(self.device)
        self.optimizer = optimizer_of(self.model, self.settings["optimizer"])
        self.steps = self.settings["train_tokens"] // (self.batch * self.context)
        self.step, self.points, self.owed = 0, [], dict.fromkeys(self.names, 0.0)
        self.checkpoint = Path(run["out"]) / "checkpoint.pt"

    @property
    def train_tokens(self) -> int:
        return self.step * self.batch * self.context

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        counts = {"step": self.step, "points": self.points, "owed": self.owed}
        given = {name: domain.given for name, domain in self.domains.items()}
        part = self.checkpoint.with_suffix(".part")
        torch.save({**state, **counts, "given": given}, part)
        part.replace(self.checkpoint)  # whole or not at all

    def resume(self) -> None:
        """Go on where an earlier attempt on this machine was ended, if there was one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.points, self.owed = state["step"], state["points"], state["owed"]
        for name, given in state["given"].items():
            self.domains[name].given = given
        for point in self.points:
            say(**point)

    def next_batch(self) -> Tensor:
        """Sequences by the weights of their stage, exactly: the domain that is owed most gives the next one."""
        rows = []
        for sequence in range(self.step * self.batch, (self.step + 1) * self.batch):
            weights = next(stage["weights"] for stage in self.stages if sequence * self.context < stage["to_token"])
            for name in self.names:
                self.owed[name] += weights.get(name, 0.0)
            most = max(self.names, key=lambda name: self.owed[name])
            self.owed[most] -= 1
            rows.append(self.domains[most].next_window())
        return torch.from_numpy(np.stack(rows).astype(np.int64)).to(self.device)

    def advance(self) -> float:
        """One step; its loss in nats a token."""
        wanted, tokens = self.settings["optimizer"], self.next_batch()
        loss = F.cross_entropy(self.model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), wanted["grad_clip"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.steps, wanted) * group["scale"]
        self.optimizer.step()
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def measure(self) -> None:
        """Bits per byte of every domain on held-out text, with the standard error over its windows."""
        losses = {}
        for name, domain in self.domains.items():
            bits = []
            for tokens in domain.held_out_batches(self.settings["eval_sequences"]):
                tokens = torch.from_numpy(tokens).to(self.device)
                nats = F.cross_entropy(self.model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
                bits += (nats.mean(dim=1) / math.log(2) / domain.bytes_per_token).tolist()
            if len(bits) > 1:
                losses[name] = {"value": float(np.mean(bits)), "stderr": float(np.std(bits, ddof=1) / len(bits) ** 0.5)}
        self.points.append({"train_tokens": self.train_tokens, "losses": losses})
        say(**self.points[-1])

    def result(self) -> dict:
        given = {name: self.domains[name].given for name in self.names}
        return {
            **self.points[-1],
            "realised_weights": {name: count / sum(given.values()) for name, count in given.items()},
            "epochs": {name: count / self.domains[name].windows for name, count in given.items()},
            "device": str(self.device),
            "precision": "fp32",
        }


def refuse_what_is_not_done_here(settings: dict) -> None:
    """A spec that this trainer would only seem to follow must not become a data point."""
    model = settings["model"]
    if model["feed_forward"] != "swiglu" or not model["tied_head"]:
        give_up("this trainer knows no other models than those with swiglu and a tied head")
    if settings["match_repetition"] or settings["precision"] == "bf16":
        give_up("this trainer knows neither match_repetition nor bf16")


def train(run: Run) -> None:
    """From the start, or from where an earlier attempt was ended, to the result."""
    told_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.append(True))
    run.resume()
    step_tokens = run.batch * run.context
    measured_at = {-(-tokens // step_tokens) for tokens in run.settings["measure_at_tokens"]} | {run.steps}
    saved_at = spoke_at = time.monotonic()
    while run.step < run.steps:
        if not math.isfinite(run.advance()):
            say(status="diverged", train_tokens=run.train_tokens, message="the training loss is not finite")
            return
        now = time.monotonic()
        if run.step in measured_at:
            run.measure()
        elif now - spoke_at > SPEAK_EVERY_SECONDS:
            spoke_at = now
            say(train_tokens=run.train_tokens)
        if told_to_end or now - saved_at > SAVE_EVERY_SECONDS:
            saved_at = now
            run.save()
        if told_to_end:
            sys.exit(TRY_AGAIN)
    say(status="succeeded", **run.result())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="the JSON file that the agent has written")
    parser.add_argument("--texts", type=Path, help="a folder with one text file a domain, instead of the corpus")
    arguments = parser.parse_args()
    train(Run(json.loads(arguments.config.read_text()), arguments.texts))
