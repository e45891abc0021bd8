# One vocabulary for people, hooks and CI. `make help` lists it.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
FLIGHTLINE := $(BIN)/python -m include.runtime
export PYTHONPATH := .:plugins
export PYTHONUNBUFFERED := 1
export AIRFLOW_HOME := $(CURDIR)/var/airflow
BENCH ?= features
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder
MODEL ?= california_housing
SBOM ?= var/sbom.json

.DEFAULT_GOAL := help
.PHONY: help demo up down status clean test test-unit faults dag-test dag-test-clean new-model check-model check-delivery replay-decisions \
  release-show production-history bench check format lock docs schema sbom

help: ## What can be run
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.ready: requirements.txt include/runtime/bootstrap.sh
	@bash include/runtime/bootstrap.sh $(VENV)

demo: $(VENV)/.ready ## Set everything up, run the whole loop in Airflow, leave the web UIs open (MODEL=… DAYS=10 DRIFT_DAY=4|none)
	@$(BIN)/python -m include.demo --model "$(MODEL)" --days "$(DAYS)" --drift-day "$(DRIFT_DAY)"

up: $(VENV)/.ready ## Start PostgreSQL, MLflow, Feast's pages and Airflow on this machine
	@$(FLIGHTLINE) up

down: ## Stop everything that was started here
	@[ ! -e $(VENV)/.ready ] || $(FLIGHTLINE) down

status: $(VENV)/.ready ## What runs, where, as which process
	@$(FLIGHTLINE) status

clean: down ## Stop, and delete all state (var/); the environment (.venv) stays
	@rm -rf var
	@echo "Deleted var/"

test: $(VENV)/.ready ## All tests; sets up all that they need (ARGS=tests/unit/features, WORKERS=0 for one after the other)
	@$(PYTEST) $(ARGS)

test-unit: $(VENV)/.ready ## The inner loop: tests/unit and tests/dags but for what is marked slow (`make test ARGS=tests/unit/registry` has all)
	@$(PYTEST) tests/unit tests/dags -m 'not slow' $(ARGS)

faults: $(VENV)/.ready ## Hours of random kills on a stack of its own, then what has to hold (ARGS='--kills 200 --seed 1')
	@$(BIN)/python -m tests.faults $(ARGS)

dag-test: $(VENV)/.ready ## One DAG on sample data, in this process (DAG=build_features PARTITION=2025-01-02 CONF='{…}' RESET=1)
	@$(BIN)/python -m include.demo.dag_test "$(DAG)" --model "$(MODEL)" --partition "$(PARTITION)" \
	  $(if $(CONF),--conf '$(CONF)') $(if $(RESET),--reset)

dag-test-clean: ## Delete what dag-test left
	@rm -rf var/dag-test

check: $(VENV)/.ready ## Lint, layering and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

check-delivery: $(VENV)/.ready ## What would become of a delivery, before it is delivered (FILE=batch.csv PARTITION=… MODEL=…)
	@[ ! -e var/env ] || . var/env; $(BIN)/python -m include.jobs.check_delivery "$(FILE)" --model "$(MODEL)" \
	  --partition "$(PARTITION)"

new-model: $(VENV)/.ready ## Draft a model's folder from a file (NAME=sales DATA=sales.csv; TARGET=… KEYS=a,b TIME=… GRAIN=… TASK=…)
	@$(BIN)/python -m include.scaffold new "$(NAME)" "$(DATA)" --target "$(TARGET)" --keys "$(KEYS)" --time "$(TIME)" \
	  --grain "$(GRAIN)" --task "$(TASK)"

check-model: $(VENV)/.ready ## All of a model's folder on a sample, in a minute, without a stack (NAME=sales DATA=sales.csv TIME=…)
	@$(BIN)/python -m include.scaffold check "$(or $(NAME),$(MODEL))" --data "$(DATA)" --time "$(TIME)"

production-history: $(VENV)/.ready ## Which version was in production, from when to when, and by whom (MODEL=… AT=2026-11-22T10:00)
	@[ ! -e var/env ] || . var/env; $(BIN)/python -m include.jobs.production_history --model "$(MODEL)" --at "$(AT)"

replay-decisions: $(VENV)/.ready ## The retraining policy's decisions, taken again: the same, and which today's model.yaml would change (MODEL=…)
	@[ ! -e var/env ] || . var/env; $(BIN)/python -m include.jobs.replay_decisions --model "$(MODEL)"

release-show: $(VENV)/.ready ## What a version is, who approved it, and whether each part of its release is that still (VERSION=3 MODEL=…)
	@[ ! -e var/env ] || . var/env; $(BIN)/python -m include.jobs.release_show "$(VERSION)" --model "$(MODEL)"

bench: $(VENV)/.ready ## Figures beside peers and limits in the same run (BENCH=features|ingestion|growth|parsing|promotion|quality|retraining|tuning)
	@$(BIN)/python -m benchmarks.$(BENCH) $(ARGS)

format: $(VENV)/.ready ## Format the code and sort its imports
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

docs: $(VENV)/.ready ## Write docs/dags.md anew from the DAGs
	@$(BIN)/python -m include.orchestration.dag_docs docs/dags.md

schema: $(VENV)/.ready ## Write the JSON Schemas of model.yaml and expectations.yaml, for editors, anew
	@$(BIN)/python -m include.scaffold schema docs/schema

lock: $(VENV)/.ready ## Resolve pyproject.toml into requirements.txt, for Python 3.11 and 3.12, with the hashes of all files
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --index-strategy unsafe-best-match \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' -o requirements.txt pyproject.toml

sbom: $(VENV)/.ready ## List what is installed, with versions and licences, in CycloneDX (SBOM=var/sbom.json)
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file $(SBOM) $(BIN)/python
	@echo "Wrote $(SBOM)"
