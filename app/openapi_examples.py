"""Bodies that the description of the API shows, by the name of the operation."""

from __future__ import annotations

from typing import Any

_MIXTURE = {"code": 0.5, "law": 0.2, "web": 0.3}
_SETTINGS = {"corpus_hash": "9f86d081884c7d65", "train_tokens": 1_048_576, "model": {"preset": "1M"}}
_RESULT = {
    "status": "succeeded",
    "train_tokens": 1_048_576,
    "losses": {"code": {"value": 1.27, "stderr": 0.004}, "web": {"value": 1.02}},
    "realised_weights": _MIXTURE,
    "wall_seconds": 42.5,
}
_POINT = {"train_tokens": 524_288, "losses": {"code": {"value": 1.31}}}
_ID = "0190b6c4-7a5e-7c31-9d0b-0a1b2c3d4e5f"
_DOMAINS = [
    {"name": "code", "available_tokens": 250_000_000_000, "group": "programs"},
    {"name": "law", "available_tokens": 40_000_000_000},
    {"name": "web", "available_tokens": 6_000_000_000_000},
]

EXAMPLES: dict[str, dict[str, Any]] = {
    "adopt": {"mixture": "recommended"},
    "create_study": {
        "name": "7B, third quarter",
        "domains": _DOMAINS,
        "targets": [{"name": "code", "weight": 2.0, "family": "reasoning"}, {"name": "web"}],
        "objective": {"kl_to_prior": 0.05},
        "constraints": {
            "target_tokens": 4_000_000_000_000,
            "max_epochs": 4,
            "max_epochs_each": {"code": 8},
            "max_weights": {"law": 0.1},
        },
        "budget": {"gpu_hours": 500},
    },
    "change_study": {"description": "with the crawl of June", "budget": {"gpu_hours": 800}},
    "create_domain_set": {"domains": _DOMAINS, "renames": {"legal": "law"}},
    "put_binding": {"paths": {"code": ["/data/code_text_document"], "web": ["/data/web_text_document"]}},
    "add_target": {"name": "mmlu", "unit": "accuracy", "direction": "maximize", "definition_version": "2"},
    "change_target": {"weight": 3.0},
    "suggest": {"count": 16, "design": "dirichlet", "seed": 7},
    "create_runs": {"runs": [{"weights": _MIXTURE, "settings": _SETTINGS, "label": "swarm-0001"}]},
    "cancel_runs": {"purpose": "swarm", "label": "swarm-"},
    "update_run": {"exclude_from_fit": True, "label": "wrong tokenizer"},
    "register_agent": {"name": "node-17", "hostname": "node-17.cluster", "device": "one H100"},
    "update_agent": {"draining": True},
    "claim": {"agent_id": _ID, "max_runs": 8, "corpus_hashes": [_SETTINGS["corpus_hash"]], "lease_seconds": 60},
    "heartbeat": {"runs": [{"run_id": _ID, "attempt": 1, "progress_tokens": 524_288}], "lease_seconds": 60},
    "measure": {"attempt": 1, "point": _POINT},
    "measure_many": {"points": [{"run_id": _ID, "attempt": 1, "point": _POINT}]},
    "complete": {"attempt": 1, "result": _RESULT},
    "complete_many": {"results": [{"run_id": _ID, "attempt": 1, "result": _RESULT}]},
    "fail": {"attempt": 1, "reason": "out of memory"},
    "release": {"attempt": 1},
    "create_fit": {"laws": ["auto"], "runs": {"purposes": ["swarm"]}, "folds": 5},
    "predict": {"weights": [_MIXTURE], "model_params": 7_000_000_000},
    "create_recommendation": {"fit_id": _ID, "train_tokens": 4_000_000_000_000, "pareto": True},
    "create_verification": {"settings": _SETTINGS, "seeds": [1, 2, 3], "baselines": ["natural"]},
    "import_runs": {"format": "wandb", "options": {"project": "team/swarm"}, "dry_run": True},
    "import_study": {
        "format": "mlflow",
        "options": {"url": "https://mlflow.example.org", "experiment_ids": ["7"]},
        "name": "swarm of June",
        "dry_run": True,
    },
    "create_schedule": {
        "name": "refit at night",
        "kind": "refit",
        "cron": "30 2 * * MON-FRI",
        "time_zone": "Europe/Berlin",
        "settings": {},
    },
    "change_schedule": {"enabled": False},
    "create_key": {"name": "training pipeline", "scopes": ["read"], "study_id": _ID},
    "update_key": {"name": "training pipeline, cluster B"},
}
