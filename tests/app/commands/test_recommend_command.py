"""The options of ``mixwright recommend``: what each demands holds in the answer, and what is wrong is refused."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import offline
from app.cli import run
from app.formats.swarm_folder import read_swarm
from app.report_parts import show_shares
from app.terminal import report_console
from mixers.law_report import LawReport
from mixers.laws.combination import Shares
from mixers.recommendation import Checks, recommend
from mixers.types import Targets
from tests.app.swarm_tables import DOMAINS, Row, domain_rows, run_rows, target_rows, write_rows, write_swarm

Answer = Callable[..., dict[str, Any]]
EXAMPLE = Path(__file__).parents[3] / "examples" / "programmer_swarm"
LOG_LINEAR = ("--law", "log_linear")


def weights_of(document: dict[str, Any]) -> dict[str, float]:
    return {row["domain"]: row["weight"] for row in document["weights"]}


def targets_of(document: dict[str, Any], mixture: str) -> np.ndarray:
    return np.array([target["mean"] for target in document["predictions"][mixture]["targets"].values()])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sensitivity and no worst mixture: most of the time goes into them."""
    checks = Checks(worst=False, sensitivity=False)
    monkeypatch.setattr(offline, "recommend", functools.partial(recommend, checks=checks))


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted swarm with a bound and two groups in domains.csv, and a family for each target."""
    columns = {"web": ("text", 0.3), "code": ("code", ""), "books": ("text", "")}
    domains = [
        row | {"group": columns[str(row["domain"])][0], "min_weight": columns[str(row["domain"])][1]}
        for row in domain_rows()
    ]
    targets = [row | {"family": family} for row, family in zip(target_rows(), ("text", "code"), strict=True)]
    return write_swarm(tmp_path_factory.mktemp("grouped") / "swarm", domains=domains, targets=targets)


# --- constraints ---------------------------------------------------------------------------------------------------


def test_bounds_and_frozen_weights_hold_and_are_priced(answer: Answer) -> None:
    bounds = ("--min", "legal=0.2", "--max", "cpp=0.1", "--max", "python=0.9", "--freeze", "languages=0.1")
    document = answer("recommend", EXAMPLE, *LOG_LINEAR, *bounds)
    p = weights_of(document)
    assert p["legal"] == pytest.approx(0.2, abs=1e-6)
    assert p["cpp"] == pytest.approx(0.1, abs=1e-6)
    assert p["languages"] == pytest.approx(0.1, abs=1e-9)
    rows = {row["domain"]: row for row in document["weights"]}
    held = {name: row["held_by"] for name, row in rows.items()}
    assert held == {
        "python": None,
        "cpp": "max",
        "legal": "min",
        "cloud_docs": None,
        "science_docs": None,
        "languages": "frozen",
    }
    assert [rows["cpp"]["capped"], rows["legal"]["capped"]] == [True, False]
    for row in rows.values():
        assert row["min_weight"] - 1e-9 <= row["low"] <= row["weight"] <= row["high"] <= row["max_weight"] + 1e-9
    prices = {(price["kind"], price["subject"]): price for price in document["prices"]}
    assert {("min_weight", "legal"), ("max_weight", "cpp"), ("frozen", "languages")} >= set(prices)
    assert prices["max_weight", "cpp"]["words"].startswith("one percentage point more of cpp (at most 0.1): -0.0")
    assert prices["min_weight", "legal"]["words"].startswith("one percentage point less of legal (at least 0.2): -0.0")
    stated = {(one["kind"], one["subject"]) for one in document["constraints"]}
    assert ("max_weight", "python") in stated


@pytest.mark.usefixtures("quick")
def test_the_price_of_a_bound_is_what_moving_it_is_worth(answer: Answer) -> None:
    first, eased = (answer("recommend", EXAMPLE, *LOG_LINEAR, "--max", f"cpp={most}") for most in (0.1, 0.101))
    price = first["prices"][0]
    gained = first["solver"]["value"] - eased["solver"]["value"]
    assert price["value"] / 10 == pytest.approx(gained, rel=0.02)  # a tenth of a percentage point


@pytest.mark.usefixtures("quick")
def test_the_columns_of_the_domain_list_bound_and_a_flag_stands_above_them(grouped: Path, answer: Answer) -> None:
    plain = answer("recommend", grouped, *LOG_LINEAR, "--kl", 0)
    assert plain["weights"][0]["min_weight"] == 0.3
    assert weights_of(plain)["web"] == pytest.approx(0.3, abs=1e-6)  # the planted law wants less
    flagged = answer("recommend", grouped, *LOG_LINEAR, "--kl", 0, "--min", "web=0.26")
    assert weights_of(flagged)["web"] == pytest.approx(0.26, abs=1e-6)


@pytest.mark.usefixtures("quick")
def test_bounds_on_groups_hold(grouped: Path, answer: Answer) -> None:
    document = answer(
        "recommend", grouped, *LOG_LINEAR, "--kl", 0, "--group-min", "text=0.6", "--group-max", "code=0.9"
    )
    p = weights_of(document)
    assert p["web"] + p["books"] == pytest.approx(0.6, abs=1e-6)
    words = [price["words"] for price in document["prices"]]
    assert any(sentence.startswith("one percentage point less of group text (at least 0.6)") for sentence in words)


@pytest.mark.usefixtures("quick")
def test_changes_are_counted_from_the_current_mixture(swarm: Path, tmp_path: Path, answer: Answer) -> None:
    current = dict(zip(DOMAINS, (0.5, 0.25, 0.25), strict=True))
    rows: list[Row] = [{"domain": name, "weight": current[name]} for name in reversed(DOMAINS)]
    at = write_rows(tmp_path / "current.csv", rows)
    asked = ("--current", at, "--max-change", 0.04, "--max-change-total", 0.06, "--kl", 0)
    document = answer("recommend", swarm, *LOG_LINEAR, *asked)
    change = np.array([weights_of(document)[name] - current[name] for name in DOMAINS])
    assert np.abs(change).sum() == pytest.approx(0.06, abs=1e-6)
    assert document["predictions"]["current"]["weights"] == pytest.approx(current)
    assert document["gains"]["current"]["objective"]["mean"] > 0
    alone = answer("recommend", swarm, *LOG_LINEAR, "--current", at, "--max-change", 0.04, "--kl", 0)
    assert max(abs(weights_of(alone)[name] - current[name]) for name in DOMAINS) == pytest.approx(0.04, abs=1e-6)
    frozen = answer("recommend", swarm, *LOG_LINEAR, "--current", "uniform", "--freeze", "code")
    assert weights_of(frozen)["code"] == pytest.approx(1 / 3)


# --- objective -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_the_worst_excess_over_a_reference_is_minimised(swarm: Path, answer: Answer) -> None:
    asked = ("--minimise-worst", "--reference", "uniform", "--kl", 0)
    document = answer("recommend", swarm, *LOG_LINEAR, *asked)
    excess = targets_of(document, "recommended") - targets_of(document, "uniform")
    assert document["predictions"]["recommended"]["objective"]["mean"] == pytest.approx(excess.max())
    mean = answer("recommend", swarm, *LOG_LINEAR, "--kl", 0)
    assert excess.max() < (targets_of(mean, "recommended") - targets_of(mean, "uniform")).max() - 1e-3
    assert document["minimise_worst"] == {"reference": "uniform", "level": "targets", "in_spreads": False}


@pytest.mark.usefixtures("quick")
def test_no_target_gets_worse_than_allowed(swarm: Path, grouped: Path, answer: Answer) -> None:
    free = answer("recommend", swarm, *LOG_LINEAR, "--kl", 0)
    assert (targets_of(free, "recommended") - targets_of(free, "natural")).max() > 0.05  # else nothing is asked
    asked = ("--not-worse", 0.02, "--kl", 0)
    document = answer("recommend", swarm, *LOG_LINEAR, *asked)
    excess = targets_of(document, "recommended") - targets_of(document, "natural")
    assert excess.max() == pytest.approx(0.02, abs=1e-4)
    assert [price["words"].split(":")[0] for price in document["prices"]] == ["letting target news be 0.01 worse"]
    each = ("--not-worse-each", "text=0.01", "--by-family", "--not-worse-than", "uniform", "--min", "web=0")
    family = answer("recommend", grouped, *LOG_LINEAR, *asked, *each)
    assert (targets_of(family, "recommended") - targets_of(family, "uniform"))[0] <= 0.01 + 1e-6


@pytest.mark.usefixtures("quick")
def test_families_count_by_their_own_weight(grouped: Path, answer: Answer) -> None:
    document = answer(
        "recommend", grouped, *LOG_LINEAR, "--family-weight", "text=4", "--worst-by", "families", "--minimise-worst"
    )
    assert document["target_weights"] == pytest.approx({"news": 0.8, "sql": 0.2})
    assert document["minimise_worst"]["level"] == "families"


@pytest.mark.usefixtures("quick")
def test_a_price_of_repetition_wastes_fewer_tokens(swarm: Path, answer: Answer) -> None:
    run_of = ("--target-tokens", "2e10", "--kl", 0)
    free, priced = (answer("recommend", swarm, *LOG_LINEAR, *run_of, *more) for more in ((), ("--repetition-price", 2)))
    wasted = [sum(row["wasted_tokens"] for row in document["weights"]) for document in (free, priced)]
    assert 0 < wasted[1] < 0.9 * wasted[0]
    assert free["prices"] == []
    assert priced["prices"][0]["words"].startswith("one more billion tokens of code (seen more than once): -")


@pytest.mark.usefixtures("quick")
def test_measured_entropies_make_a_baseline(swarm: Path, tmp_path: Path, answer: Answer) -> None:
    entropies = zip(DOMAINS, (4.0, 3.0, 1.0), strict=True)
    at = write_rows(tmp_path / "entropies.csv", [{"domain": name, "entropy": value} for name, value in entropies])
    document = answer("recommend", swarm, *LOG_LINEAR, "--entropies", at)
    assert document["predictions"]["entropy"]["weights"] == {"web": 0.5, "code": 0.375, "books": 0.125}


# --- what stands beside the weights --------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_no_mixture_of_the_front_is_beaten_in_all_families(grouped: Path, answer: Answer) -> None:
    front = answer("recommend", grouped, *LOG_LINEAR, "--pareto")["pareto"]
    assert front["families"] == ["text", "code"]
    values = np.array([[point["values"][family] for family in front["families"]] for point in front["points"]])
    assert len(values) > 5
    assert (np.diff(values[:, 0]) > 0).all()
    assert (np.diff(values[:, 1]) < 0).all()
    for point in front["points"]:
        assert sum(point["weights"].values()) == pytest.approx(1)
        assert point["weights"]["web"] >= 0.3 - 1e-6  # the constraints hold on the front too


def test_gains_are_the_difference_of_the_predictions(swarm: Path, answer: Answer) -> None:
    document = answer("recommend", swarm, *LOG_LINEAR)
    own = document["predictions"]["recommended"]["objective"]
    for name, gain in document["gains"].items():
        other = document["predictions"][name]["objective"]
        assert gain["objective"]["mean"] == pytest.approx(other["mean"] - own["mean"])
        half = np.hypot(own["high"] - own["mean"], other["high"] - other["mean"])
        assert gain["objective"]["high"] - gain["objective"]["mean"] == pytest.approx(half)
    assert document["worst_mixture"]["objective"]["mean"] > max(
        mixture["objective"]["mean"] for mixture in document["predictions"].values()
    )
    assert document["unseen_domains"] == []


@pytest.mark.usefixtures("quick")
def test_a_measured_mixture_is_offered_by_name_when_the_gain_is_noise(
    answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = read_swarm(EXAMPLE).runs
    best = runs.run_ids[int(np.argmin(runs.losses @ runs.targets.weights))]
    offered = answer("recommend", EXAMPLE, *LOG_LINEAR)["offered"]
    assert (offered["mixture"], offered["within_noise"], offered["runs"]) == ("best_measured", True, [best])
    assert sum(offered["weights"].values()) == pytest.approx(1)
    assert run(["recommend", str(EXAMPLE), *LOG_LINEAR]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"Best measured mixture (run {best}): ")


@pytest.mark.usefixtures("quick")
def test_a_diverged_run_is_not_the_best_measured_one(tmp_path: Path, answer: Answer) -> None:
    rows = run_rows()
    rows[0] |= {"loss:news": -90.0, "loss:sql": -90.0}
    document = answer("recommend", write_swarm(tmp_path / "swarm", rows), *LOG_LINEAR)
    assert any("too far off to be data" in warning for warning in document["warnings"])
    best = document["predictions"]["best_measured"]["weights"]
    assert best["web"] != pytest.approx(rows[0]["w:web"])


@pytest.mark.usefixtures("quick")
def test_a_domain_that_no_run_contained_is_named(tmp_path: Path, answer: Answer) -> None:
    rows = [row | {"w:web": float(str(row["w:web"])) + float(str(row["w:books"])), "w:books": 0} for row in run_rows()]
    document = answer("recommend", write_swarm(tmp_path / "swarm", rows), *LOG_LINEAR)
    assert document["unseen_domains"] == ["books"]
    assert "No run contained books" in document["message"]


def test_the_report_says_everything_in_tables_of_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--target-tokens", "5.4e7", "--max-epochs", "4", "--repetition-price", "0.2", "--min", "legal=0.1")
    compared = ("--current", "natural", "--not-worse", "0.3", "--pareto", "--model-params", "1e5")
    assert run(["recommend", str(EXAMPLE), *LOG_LINEAR, *asked, *compared]) == 0
    out = capsys.readouterr().out
    for expected in (
        "Minimised: the weighted mean of the targets (bits per byte) plus 0.05 times the KL divergence to the natural "
        "mixture plus 0.2 times the share of tokens wasted on repeats, with no target worse than natural by more than "
        "0.3.",
        "Equally good: ",
        "Wasted: ",
        "Predicted objective (bits per byte), lower is better",
        "Predicted targets (bits per byte)",
        "natural, current",  # equal mixtures share a line
        "one more million tokens of science_docs",
        "one percentage point less of legal (at least 0.1)",
        "To test the law, train the mixture that it expects to be worst: ",
        "Pareto front over families",
        "Warning: predicted beyond the runs: model_params 1e+05 is 3.73 times their largest",
    ):
        assert expected in out
    tables = [line for line in out.splitlines() if line.startswith(("┏", "┃", "┡", "│", "└"))]
    assert max(map(len, tables)) <= 100


def test_a_law_made_of_others_says_what_predicts_each_target(capsys: pytest.CaptureFixture[str]) -> None:
    targets = Targets(("news", "sql"))
    reasons = ("bimix: the error of mean is 8 % more", "stack of bimix 0.7, mean 0.3: the error of mean is 5 % more")
    shares = Shares(("bimix", "mean"), np.array([[1.0, 0.7], [0.0, 0.3]]), np.ones((2, 2)), reasons, "few mixtures")
    show_shares(report_console(), LawReport("auto", None, shares=shares), targets)
    assert capsys.readouterr().out.splitlines() == [
        "auto: few mixtures.",
        f"  news: {reasons[0]}.",
        f"  sql: {reasons[1]}.",
    ]
    many = Targets(tuple(f"t{i}" for i in range(26)))
    show_shares(report_console(), LawReport("auto", None, shares=replace(shares, note="")), many)
    assert capsys.readouterr().out == "--json says what predicts each of the 26 targets, and why.\n"


# --- the figure ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_the_figure_is_drawn_in_the_format_of_its_ending(swarm: Path, tmp_path: Path, answer: Answer) -> None:
    starts = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}
    for ending, start in starts.items():
        path = tmp_path / f"best.{ending}"
        answer("recommend", swarm, *LOG_LINEAR, "--plot", path)
        content = path.read_bytes()
        assert content.startswith(start)
        assert len(content) > 20_000
    width, height = struct.unpack(">II", (tmp_path / "best.png").read_bytes()[16:24])
    assert width == 1620
    assert 700 < height < 2000
    drawn = (tmp_path / "best.svg").read_text(encoding="utf-8")
    assert drawn.count('<g id="axes_') == 4
    again = tmp_path / "again.svg"
    answer("recommend", swarm, *LOG_LINEAR, "--plot", again)
    assert again.read_text(encoding="utf-8") == drawn


def test_names_are_drawn_as_they_are(tmp_path: Path, answer: Answer) -> None:
    """No formula is made of dollar signs, and a script without glyphs is no error."""
    names = {"web": "$web$", "code": "代码", "books": "books " + "of all kinds " * 4}
    rows = [{f"w:{names[k[2:]]}" if k[:2] == "w:" else k: v for k, v in row.items()} for row in run_rows()]
    domains = [row | {"domain": names[str(row["domain"])]} for row in domain_rows()]
    folder = write_swarm(tmp_path / "swarm", rows, [row | {"domain": str(row["domain"]).strip()} for row in domains])
    answer("recommend", folder, "--law", "regmix_linear", "--plot", tmp_path / "names.png")
    assert (tmp_path / "names.png").stat().st_size > 20_000


def test_a_figure_that_cannot_be_written_is_refused_before_the_work(
    swarm: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    old = tmp_path / "old.jpg"
    old.write_text("old")
    assert refusal("recommend", swarm, "--plot", old) == f"--plot is {old}; its name must end in .png, .svg or .pdf"
    assert "does not exist" in refusal("recommend", swarm, "--plot", tmp_path / "no" / "p.png")
    (tmp_path / "folder.png").mkdir()
    assert "is a directory" in refusal("recommend", swarm, "--plot", tmp_path / "folder.png")
    assert old.read_text() == "old"


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--min", "web"), "--min is 'web'; write DOMAIN=NUMBER, such as web=0.1"),
        (("--min", "wiki=0.1"), "--min names domain 'wiki'; known are 'web', 'code', 'books'"),
        (("--max", "web=lots"), "--max web is 'lots'; it must be a number from 0 to 1"),
        (("--max", "web=1.5"), "--max web is '1.5'; it must be a number from 0 to 1"),
        (("--max", "web=nan"), "--max web is 'nan'; it must be a number from 0 to 1"),
        (("--min", "web=0.1", "--min", "web=0.2"), "--min names domain 'web' twice"),
        (("--min", "web=0.7", "--min", "code=0.6"), "the lower bounds sum to 1.3, 0.3 more than 1"),
        (("--min", "web=0.5", "--max", "web=0.4"), "domain 'web' must have at least 0.5 and at most 0.4"),
        (("--group-min", "text=0.2"), "--group-min and --group-max need a column 'group' in domains.csv"),
        (("--freeze", "web"), "--freeze web needs --current, or a weight: --freeze web=0.1"),
        (("--freeze", "wiki"), "--freeze is 'wiki'; write DOMAIN=NUMBER"),
        (("--freeze", "web", "--freeze", "web=0.2", "--current", "natural"), "--freeze names domain 'web' twice"),
        (("--max-change", "0.1"), "--max-change needs --current: the mixture that changes are counted from"),
        (("--max-change-total", "0.1"), "--max-change-total needs --current"),
        (("--max-change", "-1", "--current", "natural"), "--max-change is -1; it must be 0 or more"),
        (
            ("--max-change-total", "0.1", "--current", "natural", "--min", "code=0.4"),
            "cannot hold together; they miss by 0.15 in all",
        ),
        (
            ("--max-change-total", "0.1", "--current", "natural", "--min", "code=0.4"),
            "(a total change of 0.1 lets 0.05 of the mixture change hands)",
        ),
        (("--current", "{swarm}/no.csv"), "no.csv does not exist"),
        (("--current", "{swarm}/targets.csv"), "there is no column 'domain'"),
        (("--current", "{files}/short.csv"), "domain 'code', 'books' is not listed; add a row for it"),
        (("--current", "{files}/unknown.csv"), "line 3, column 'domain': there is no domain 'wiki'"),
        (("--current", "{files}/sum.csv"), "sum.csv: the weights sum to 1.2; they must sum to 1 within 0.05"),
        (("--current", "{files}/word.csv"), "line 4, column 'weight': 'much' is not a finite number; write a weight"),
        (("--entropies", "{files}/sum.csv"), "there is no column 'entropy'"),
        (("--entropies", "{files}/entropy.csv"), "-2 is negative; write the entropy of the domain's text, 0 or more"),
        (("--entropies", "{files}/zero.csv"), "all entropies are 0; at least one must be positive"),
        (("--family-weight", "math=2"), "--family-weight names family 'math'; known are 'news', 'code'"),
        (("--family-weight", "code=-1"), "--family-weight code is '-1'; it must be a number of 0 or more"),
        (("--family-weight", "code=0", "--family-weight", "news=0"), "all families have weight 0"),
        (("--worst-by", "families"), "--worst-by says how --minimise-worst counts; give that too"),
        (("--reference", "uniform"), "--reference says how --minimise-worst counts; give that too"),
        (("--worst-in-spreads",), "--worst-in-spreads says how --minimise-worst counts; give that too"),
        (("--minimise-worst", "--worst-by", "domains"), "'domains' is not one of 'targets', 'families'"),
        (("--minimise-worst", "--reference", "best"), "--reference names the baseline 'best'; known are natural,"),
        (("--not-worse-than", "uniform"), "--not-worse-than says how --not-worse is meant; give that too"),
        (("--by-family",), "--by-family says how --not-worse is meant; give that too"),
        (("--not-worse-each", "sql=1"), "--not-worse-each says how --not-worse is meant; give that too"),
        (("--not-worse", "nan"), "--not-worse is nan; it must be a finite number, such as 0.01"),
        (("--not-worse", "0", "--not-worse-each", "sql=inf"), "--not-worse-each sql is 'inf'; it must be a finite"),
        (
            ("--not-worse", "0", "--not-worse-than", "current"),
            "--not-worse-than names the baseline 'current'; --current says which mixture that is; known are natural",
        ),
        (("--not-worse", "-5", *LOG_LINEAR), "no mixture"),
        (("--repetition-price", "1"), "--repetition-price needs --target-tokens"),
        (("--repetition-price", "-1", "--target-tokens", "1e9"), "--repetition-price is -1; it must be 0 or more"),
    ],
)
def test_a_wrong_wish_is_refused_in_one_sentence(
    swarm: Path, tmp_path: Path, refusal: Callable[..., str], arguments: tuple[str, ...], sentence: str
) -> None:
    tables = {
        "short": "domain,weight\nweb,1",
        "unknown": "domain,weight\nweb,1\nwiki,0",
        "sum": "domain,weight\nweb,1\ncode,0.1\nbooks,0.1",
        "word": "domain,weight\nweb,1\ncode,0\nbooks,much",
        "entropy": "domain,entropy\nweb,1\ncode,-2\nbooks,1",
        "zero": "domain,entropy\nweb,0\ncode,0\nbooks,0",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
    told = refusal("recommend", swarm, *(argument.format(swarm=swarm, files=tmp_path) for argument in arguments))
    assert sentence in told


def test_unknown_groups_and_a_single_family_are_refused(
    grouped: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    sentence = refusal("recommend", grouped, "--group-max", "law=0.1")
    assert sentence == "--group-max names group 'law'; known are 'text', 'code'"
    assert "cannot hold" in refusal("recommend", grouped, "--group-max", "text=0.2")  # web alone must have 0.3
    one = write_swarm(tmp_path / "one", targets=[row | {"family": "all"} for row in target_rows()])
    assert refusal("recommend", one, "--pareto") == "--pareto needs at least two families of targets; there is only all"
