# `make help` lists what there is. Needs Python 3.11 or newer and access to package registries, nothing else.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo up down clean test check-evidence faults bench lock environment \
	compose-up compose-demo compose-down compose-check compose-ready compose-found

# Compiled once, not by each of the many processes anew: to import Airflow takes twice as long without (measured).
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
RUN := PYTHONPATH=include $(VENV)/bin/python -m
COMPILE := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header
STAMP := $(VENV)/.installed
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
endif

# What may be set on `make demo`, from the command line or the environment, and whatever else was set there.
quoted = '$(subst ','\'',$(1))'
SETTINGS = $(foreach name,SCHEME ROLLBACK DAMAGE BROKERS KILL_IN SECURE,$(call quoted,$(name)=$($(name)))) \
	$(foreach name,$(filter-out PYTHON=% DEMO_PATIENCE=%,$(MAKEOVERRIDES)),$(call quoted,$(name)))
NOTHING_COUNTED := verdict INCONCLUSIVE produced=0 lost=0 repeated=0 out_of_order=0

ifndef COMPOSE
COMPOSE = $(shell if docker compose version >/dev/null 2>&1; then echo docker compose; \
	elif docker-compose version >/dev/null 2>&1; then echo docker-compose; fi)
endif
COMPOSED = $(COMPOSE) --project-name kafka-migration --env-file .env.compose
COMPOSE_TOLD = echo "Airflow is on its way: http://127.0.0.1:$$(sed -n 's/^AIRFLOW_PORT=//p' .env.compose), user admin;" \
	"AIRFLOW_ADMIN_PASSWORD in .env.compose is the password. Stop it with: make compose-down"
COMPOSE_FAILED = { echo "It did not start. Is its port in use? AIRFLOW_PORT in .env.compose sets another. What a container" \
	"has said: $(COMPOSED) logs init" >&2; exit 1; }

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'

demo: ## migrate the live shop from one Kafka cluster to another and count every message
	@$(call python,echo "$(NOTHING_COUNTED) reason=no_python")
	@PYTHONPATH=include $(PYTHON) -m demo check $(SETTINGS)
	@trap 'echo "$(NOTHING_COUNTED) reason=interrupted"; exit 130' INT TERM HUP; \
	$(MAKE) --silent --no-print-directory environment || { echo "$(NOTHING_COUNTED) reason=environment"; exit 1; }
	@exec env $(RUN) demo demo $(SETTINGS)

up: environment ## start the clusters, the shop and Airflow, and leave them running
	@exec env $(RUN) demo up

down: ## stop what `make up` or a killed `make demo` left running
	@if [ -x $(VENV)/bin/python ]; then exec env $(RUN) demo down; fi

clean: ## stop it, and remove the environment and all that was written in the checkout
	@if [ -x $(VENV)/bin/python ]; then exec env $(RUN) demo clean; fi
	@rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

test: environment ## check format, lint, types and imports, then run every test on real brokers
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@PYTHONPATH=include:plugins $(VENV)/bin/lint-imports
	@$(VENV)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check-evidence: environment ## look whether evidence is as it was sealed: DIR=folder, KEY=public key (needs no cluster)
	@exec env $(RUN) kafka_migration.evidence $(if $(DIR),$(call quoted,DIR=$(DIR))) $(if $(KEY),$(call quoted,KEY=$(KEY)))

faults: environment ## kill anything at any time and count every message; ONLY=flow/victim picks, FRESH=1 forgets
	@exec env PYTHONPATH=include:plugins:. $(VENV)/bin/python -m tests.faults $(call quoted,ONLY=$(ONLY)) $(call quoted,FRESH=$(FRESH))

bench: environment ## measure, side by side in one run; ONLY=copying picks one (ONLY=help lists them), SCALE=0.1 the amounts
	@exec env PYTHONPATH=include:. $(VENV)/bin/python -m benchmarks $(call quoted,ONLY=$(ONLY)) $(call quoted,SCALE=$(SCALE))

compose-up: compose-ready ## Airflow with Postgres, Redis and two Celery workers in containers, and leave it running
	@$(COMPOSED) up --detach --build || $(COMPOSE_FAILED)
	@$(COMPOSE_TOLD)

compose-demo: compose-ready ## the same with two Kafka clusters and the live shop, to migrate it by hand
	@WORKER_PID=service:shop $(COMPOSED) --profile demo up --detach --build || $(COMPOSE_FAILED)
	@$(COMPOSE_TOLD)

compose-down: compose-ready ## stop the containers of both; their volumes stay
	@$(COMPOSED) --profile demo down

compose-check: compose-found environment ## migrate the shop in containers over images made here, one worker killed in the middle
	@exec env PYTHONPATH=include COMPOSE='$(COMPOSE)' $(call quoted,KILL_IN=$(KILL_IN)) $(VENV)/bin/python compose/check.py

compose-ready: compose-found
	@$(call python,true)
	@$(PYTHON) compose/environment.py .env.compose

compose-found:
	@[ -n '$(COMPOSE)' ] || { echo "Docker Compose was not found. Install it (docker compose, or docker-compose 1.29), or" \
		"name it: make COMPOSE='docker compose'" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "No Docker engine answers: start one, or name it in DOCKER_HOST. May this user" \
		"use its socket?" >&2; exit 1; }

lock: environment ## resolve the requirements anew
	@$(COMPILE) --output-file requirements.txt requirements.in
	@$(COMPILE) --output-file requirements-dev.txt --constraint requirements.txt requirements-dev.in

environment: $(STAMP)

$(STAMP): requirements-dev.txt
	@$(call python,true)
	@echo "Making the environment in $(VENV) with $$($(PYTHON) --version)"
	@$(VENV)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(VENV)/bin/python requirements-dev.txt
	@touch $(STAMP)

# Says what is missing, then runs $(1), when there is no Python that will do.
python = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3" >&2; $(1); exit 1; }
