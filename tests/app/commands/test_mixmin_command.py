"""``mixwright mixmin``: weights from what models of single domains say of validation text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli import run
from app.formats.log_probabilities import FORMAT

Answer = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]
SEQUENCES = 600
# Of three domains, the first target is drawn .7, .3, 0 and the second 0, 0, 1.
MIXTURE = np.array([0.7, 0.3, 0.0])


def write(path: Path, **changed: Any) -> Path:
    """Sequences of one word out of 12. Each domain has words of its own and nearly never says another's."""
    rng = np.random.default_rng(0)
    words = np.repeat(np.eye(3), 4, axis=1) * 0.96 / 4 + 0.04 / 12  # (domains, words)
    target = np.arange(SEQUENCES) % 2
    source = np.where(target == 0, rng.choice(3, SEQUENCES, p=MIXTURE), 2)
    said = np.array([rng.choice(12, p=words[domain]) for domain in source])
    arrays = {
        "format": np.array(FORMAT),
        "domains": np.array(["web", "code", "books"]),
        "targets": np.array(["qa", "novels"]),
        "log_probs": np.log(words[:, said].T),
        "tokens": np.ones(SEQUENCES, dtype=np.int64),
        "target": target,
        "available_tokens": np.array([600, 300, 100]),
    }
    with path.open("wb") as file:
        np.savez(file, **{name: array for name, array in (arrays | changed).items() if array is not None})
    return path


def test_the_weights_are_those_that_the_targets_were_drawn_from(answer: Answer, tmp_path: Path) -> None:
    found = answer("mixmin", write(tmp_path / "judged.npz"))
    # Both targets count alike: the halves of their mixtures, within the error of 300 draws each.
    expected = dict(zip(["web", "code", "books"], (MIXTURE + np.eye(3)[2]) / 2, strict=True))
    assert found["weights"] == pytest.approx(expected, abs=0.04)
    assert found["prior"] == pytest.approx({"web": 0.6, "code": 0.3, "books": 0.1})
    assert found["fidelity"] == "mixmin"
    assert found["gap"] < 1e-5
    mean = {name: sum(of[name]["value"] for of in found["nats_per_token"].values()) for name in ("mixmin", "natural")}
    assert mean["mixmin"] < mean["natural"]


def test_limits_hold(answer: Answer, tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.npz")
    found = answer("mixmin", judged, "--max", "books=0.2", "--min", "code=0.3")
    assert found["weights"]["books"] <= 0.2 + 1e-9
    assert found["weights"]["code"] >= 0.3 - 1e-9
    # 100 tokens of books, twice, are a fifth of 1000.
    capped = answer("mixmin", judged, "--target-tokens", "1000", "--max-epochs", "2")
    assert capped["weights"]["books"] <= 0.2 + 1e-9
    # A single domain may be seen more or less often than the others.
    each = ["--max-epochs-each", "books=1", "--max-epochs-each", "code=3"]
    single = answer("mixmin", judged, "--target-tokens", "1000", *each)
    assert single["weights"]["books"] <= 0.1 + 1e-9


def test_a_cap_that_cannot_be_counted_is_refused_or_told(answer: Answer, refusal: Refusal, tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.npz")
    assert "--max-epochs-each needs --target-tokens" in refusal("mixmin", judged, "--max-epochs-each", "books=1")
    known = ["--target-tokens", "1000", "--max-epochs-each"]
    assert "names domain 'nope'; known are 'web', 'code', 'books'" in refusal("mixmin", judged, *known, "nope=1")
    some = tmp_path / "domains.csv"
    some.write_text("domain,prior,available_tokens\nweb,0.5,600\ncode,0.3,300\nbooks,0.2,\n")
    told = refusal("mixmin", judged, "--domains", some, *known, "books=1")
    assert "--max-epochs-each books needs the domain's available_tokens" in told
    found = answer("mixmin", judged, "--domains", some, "--target-tokens", "1000", "--max-epochs", "2")
    assert any("does not bind 'books'" in sentence for sentence in found["warnings"])


def test_the_worst_target_is_helped_at_the_cost_of_the_mean(answer: Answer, tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.npz")
    mean, worst = answer("mixmin", judged), answer("mixmin", judged, "--worst")
    losses = [[of["mixmin"]["value"] for of in found["nats_per_token"].values()] for found in (mean, worst)]
    assert max(losses[1]) < max(losses[0])
    assert sum(losses[1]) >= sum(losses[0])


def test_the_domains_file_gives_the_prior_and_the_bounds(answer: Answer, tmp_path: Path) -> None:
    domains = tmp_path / "domains.csv"
    domains.write_text("domain,prior,max_weight\nweb,0.2,1\ncode,0.2,1\nbooks,0.6,0.25\n")
    found = answer("mixmin", write(tmp_path / "judged.npz"), "--domains", domains)
    assert found["prior"]["books"] == pytest.approx(0.6)
    assert found["weights"]["books"] == pytest.approx(0.25)


def test_the_report_says_that_no_run_stands_behind_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mixmin", str(write(tmp_path / "judged.npz"))]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "no run on a mixture stands behind them" in out
    assert "novels" in out


def test_what_cannot_be_read_is_named(refusal: Refusal, tmp_path: Path) -> None:
    assert "there is no file" in refusal("mixmin", tmp_path / "none.npz")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\3\4 and then nothing")
    assert "is no file of 'mixwright experts log-probs'" in refusal("mixmin", broken)
    broken.write_text("plain text")
    told = refusal("mixmin", broken)
    assert "no whole .npz archive of plain arrays" in told
    assert "pickle" not in told
    assert "lacks 'tokens'" in refusal("mixmin", write(tmp_path / "short.npz", tokens=None))
    wrong = write(tmp_path / "nan.npz", log_probs=np.full((SEQUENCES, 3), np.nan))
    assert "must be finite" in refusal("mixmin", wrong)


def test_limits_that_cannot_hold_are_named(refusal: Refusal, tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.npz")
    assert "sum to" in refusal("mixmin", judged, *("--max", "web=0.1"), *("--max", "code=0.1"), *("--max", "books=0.1"))
    assert "--max-epochs needs --target-tokens" in refusal("mixmin", judged, "--max-epochs", "2")
    assert "web" in refusal("mixmin", judged, "--max", "webb=0.1")
