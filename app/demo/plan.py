"""What the demo asks: six domains, an objective that weighs them unequally, a swarm that two cores train in minutes."""

from __future__ import annotations

from proxy_training.spec import ModelSpec, OptimizerSpec, ProxySettings

STUDY_NAME = "Demo: a small model for programmers"
STUDY_DESCRIPTION = (
    "Real text of six domains out of installed packages. The objective is what a coding assistant needs: code first, "
    "then technical English; legal texts and other languages count little."
)

# How much each domain's loss counts. An unequal objective has its optimum away from every baseline.
TARGET_WEIGHTS = {
    "python": 4.0,
    "cpp": 2.0,
    "science_docs": 2.0,
    "cloud_docs": 1.0,
    "legal": 0.5,
    "languages": 0.5,
}

# The planned run sees twice the text that there is: some domains can only get their share by repetition, and the
# cap of four epochs then binds.
TARGET_TOKENS_PER_AVAILABLE = 2.0
MAX_EPOCHS = 4.0
KL_TO_PRIOR = 0.05

SWARM_RUNS = 64  # LightGBM needs about 48, the laws with a formula fewer
SWARM_SEED = 0
VERIFICATION_SEEDS = [1, 2, 3, 4, 5, 6]

TRAIN_TOKENS = 131_072
# A third of the rate with the lowest loss: the difference between two mixtures then varies half as much over seeds.
LEARNING_RATE = 6e-3
# The automatic choice, and some of the laws that it chooses among.
LAWS = [
    "mean",
    "regmix_linear",
    "regmix_lightgbm",
    "log_linear",
    "bimix",
    "additive_scaling",
    "gaussian_process",
    "auto",
]


def proxy_settings(corpus_hash: str) -> ProxySettings:
    """A byte model of 0.03M parameters: larger ones learn less in as many steps."""
    return ProxySettings(
        model=ModelSpec(),
        optimizer=OptimizerSpec(learning_rate=LEARNING_RATE),
        corpus_hash=corpus_hash,
        train_tokens=TRAIN_TOKENS,
        eval_sequences=128,
        measure_at_tokens=(TRAIN_TOKENS // 2,),
    )
