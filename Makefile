# Everything runs in .venv, which .ci/setup makes on first use. `make` lists the targets.

BIN := .venv/bin

# Small models and fits are fastest on one thread a process; the processes are what runs in parallel.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Processes that share the tests.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup test demo serve lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

setup: ## make .venv and install everything (PYTHON=... names the interpreter)
	@PYTHON="$(PYTHON)" sh .ci/setup

test: setup ## run the tests (ARGS="-k word" and the like go to pytest, JOBS=1 runs one after the other)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

demo: setup ## the main job end to end on real text (ARGS="--keep" leaves the server up)
	@$(BIN)/mixwright demo $(ARGS)

serve: setup ## start the service on this machine (ARGS="--port 9000" and the like)
	@$(BIN)/mixwright serve $(ARGS)

lint: setup ## check style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: setup ## repair style and format where that is safe
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove .venv and caches; data in .mixwright stays
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist mixwright.egg-info
