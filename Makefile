# Needs make and Python 3.11 to 3.13; everything else is installed into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
INSTALLED := $(VENV)/.installed
GUNICORN := $(BIN)/gunicorn -c python:smsgateway.gunicorn smsgateway.wsgi

.PHONY: help build test test-fast demo up services services-down migrate kafka-create-topics run-api run-reporting run-worker lint format lock bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(INSTALLED) ## Make .venv with everything pinned in requirements*.txt

$(INSTALLED): requirements-install.txt requirements.txt requirements-tracing.txt requirements-dev.txt
	@sh scripts/make_venv.sh $(VENV)
	@touch $@

# A process a core and one more, since tests often wait; each has services of its own. More of them slow each other down,
# and beyond the eighth they would wait for the longest tests only.
PROCESSES := -n $(shell expr 1 + "$$(getconf _NPROCESSORS_ONLN)") --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test: build ## Run all tests on every core (PYTEST="tests/sms -k name" chooses, in one process)
	@$(BIN)/pytest $(if $(PYTEST),$(PYTEST),$(PROCESSES))

test-fast: build ## Run the tests that need Python and PostgreSQL alone
	@$(BIN)/pytest $(PROCESSES) -m "not slow"

demo: build ## Send 2,400 messages through a gateway of its own, and check every one of them
	@$(MANAGE) demo

up: build ## Run everything on this machine until Ctrl-C; prints a curl to begin with
	@$(BIN)/python -m scripts.up

services: build ## Start PostgreSQL, Kafka and ClickHouse in the background, in .devservices
	@$(MANAGE) devservices up

services-down: build ## Stop them
	@$(MANAGE) devservices down

migrate: build ## Bring PostgreSQL and ClickHouse to the newest schema
	@$(MANAGE) migrate
	@$(MANAGE) clickhouse_migrate

kafka-create-topics: build ## Create the Kafka topics that are missing
	@scripts/create_kafka_topics.sh

run-api: build ## Run the API alone, port 8080
	@SERVICE=api exec $(GUNICORN)

run-reporting: build ## Run the reporting API alone, port 8081
	@SERVICE=reporting exec $(GUNICORN)

run-worker: build ## Run one delivery worker alone
	@exec $(MANAGE) deliver

lint: build ## ruff, mypy, and the contracts of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: build ## Sort imports and format
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: build ## Pin all packages with hashes: requirements*.in -> requirements*.txt (LOCK="--upgrade-package NAME")
	@scripts/lock_requirements.sh $(LOCK)

# COMPARE=f38a488 runs that version and this one by turns; PROFILE=send makes a flame graph; BENCH="--help" lists options.
BENCHMARK := $(if $(COMPARE),bench_compare $(COMPARE),$(if $(PROFILE),bench_profile $(PROFILE),bench))

bench: build ## Measure how much the API accepts; against another version (COMPARE=REF), or where its time goes (PROFILE=send)
	@$(BIN)/python -m scripts.$(BENCHMARK) $(BENCH)

clean: ## Stop the development services; remove their data, .venv and caches
	@if [ -x $(BIN)/python ]; then for dir in .devservices .devservices/*/; do \
	  if [ -f "$$dir/lock" ]; then $(MANAGE) devservices down --dir "$$dir" >/dev/null; fi; done; fi
	@rm -rf $(VENV) .devservices .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
