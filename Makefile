VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help lock audit demo test soak bench mutants check lint types imports docs fmt clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo ## play five incidents on a simulated cluster; ARGS="--help" for options
	@$(BIN)/remediator demo $(ARGS)

test: $(VENV)/.dev ## run all tests; real components that are missing are skipped, or fail when CI=true
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --include='remediator/core/*,remediator/lifecycle/*' --fail-under=100
	$(BIN)/coverage report --skip-covered --sort=cover

soak: $(VENV)/.dev ## what takes minutes: storms, takeover, kill -9 at every point, and SOAK_SECONDS of any interleaving
	SOAK=1 $(BIN)/pytest -n 0 -s tests/end_to_end/test_storm.py tests/end_to_end/test_replicas.py tests/proofs $(ARGS)

mutants: $(VENV)/.dev ## break each guarantee and change each alerting rule, one at a time: a test has to turn red
	$(BIN)/python -m tests.proofs.mutants
	MUTANTS=all $(BIN)/pytest -n 0 tests/rules/test_mutants.py

check: lint types imports policy test ## everything that has to be green

lint: $(VENV)/.dev ## ruff: lint and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy

imports: $(VENV)/.dev ## import-linter: the layers of the house
	$(BIN)/lint-imports --no-cache

policy: $(VENV)/.dev ## the shipped policy is sound, and rules, routing and runbook fit it
	$(BIN)/remediator check --policy policy.yaml \
		--rules prometheus-rules --routing alertmanager/alertmanager.yml --docs docs

docs: $(VENV)/.dev ## write the generated parts of docs/ again
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_alerts.py
	$(BIN)/python deploy/render.py

LOCKED := requirements.lock

lock: $(VENV)/.dev ## pin what the images install, with hashes: requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip-tools>=7.6'
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --extra postgres --extra demo --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file $(LOCKED) pyproject.toml

audit: $(VENV)/.dev ## ask the vulnerability database about everything in requirements.lock; needs the internet
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10'
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement $(LOCKED)

bench: $(VENV)/.dev ## measure speed and cost beside their targets, into docs/performance.md; ARGS="--only act"
	@$(BIN)/python -m bench $(ARGS)

fmt: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .coverage .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo
