VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports docs fmt clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo ## play five incidents on a simulated cluster; ARGS="--help" for options
	@$(BIN)/remediator demo $(ARGS)

test: $(VENV)/.dev ## run all tests; real components that are missing are skipped, or fail when CI=true
	$(BIN)/pytest -n $(WORKERS) --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --include='remediator/core/*,remediator/lifecycle/*' --fail-under=100
	$(BIN)/coverage report --skip-covered --sort=cover

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
