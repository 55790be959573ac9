# The two commands that matter: `make demo` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
PHONES ?= 500
SEED ?= 1
DURATION ?= 120
ONLY ?=

.PHONY: help install lock up demo chaos test test-extra screenshots rolling mutations bench lint openapi format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

install: $(VENV)/.installed ## make .venv from the locked requirements

$(VENV)/.installed: requirements-dev.lock .python-version deploy/bootstrap.sh
	@deploy/bootstrap.sh $(VENV)
	@touch $@

lock: ## renew requirements.lock and requirements-dev.lock
	@UV=$$(deploy/bootstrap.sh --uv) && \
	export UV_NO_HEADER=1 && \
	"$$UV" pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade --quiet \
	    --python-version 3.12 pyproject.toml -o requirements.lock && \
	"$$UV" pip compile --universal --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade --quiet \
	    --python-version 3.12 --all-extras --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

up: install ## run everything in the foreground, with the sandbox
	@$(PY) manage.py up --sandbox

demo: install ## drive a fleet of simulated phones through the whole path and compare (PHONES=500)
	@$(PY) -m sandbox.demo --phones $(PHONES)

chaos: install ## the full stack under load while everything is killed and cut, then compare (SEED=1 DURATION=120)
	@$(PY) -m sandbox.chaos --seed $(SEED) --duration $(DURATION)

# One process more than there are cores: tests wait for a third of their time.
test: install ## the whole suite, on real PostgreSQL and Valkey
	@$(PY) -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist worksteal

test-extra: install clients/typescript/node_modules/.installed ## what needs Debian packages: see .ci/run
	@$(PY) -m pytest -m extra -n $$(getconf _NPROCESSORS_ONLN) --dist worksteal tests/extra --ignore tests/extra/test_rolling_restart.py

screenshots: install ## draw docs/images anew: the pages that people open first, in both themes (Debian: chromium pngquant)
	@TOKENHUB_SCREENSHOTS=docs/images $(PY) -m pytest -m extra tests/extra/test_screenshots.py -q
	@pngquant --force --ext .png docs/images/*.png

rolling: install ## restart every process in turn behind nginx and under load, for some minutes: nothing may fail or get lost (Debian: nginx-light)
	@$(PY) -m pytest -m extra tests/extra/test_rolling_restart.py -q -s

clients/typescript/node_modules/.installed: clients/typescript/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing. On Debian: apt-get install nodejs npm" >&2; exit 1; }
	@npm ci --no-audit --no-fund --silent --prefix clients/typescript
	@touch $@

mutations: install ## take each protection out, and see a test fail (ONLY="lease claim": those named so)
	@$(PY) -m tests.mutations $(ONLY)

bench: install ## measure, an hour for all (ONLY="launch sync": those alone; Debian: wrk, util-linux)
	@$(PY) -m bench $(ONLY)

lint: install ## formatting, lint rules, types, import directions
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/prek validate-config .pre-commit-config.yaml

audit: install ## known weaknesses of what requirements.lock names; says so where nobody can be asked
	@$(PY) -m tests.audit

sbom: install ## write sbom.json (CycloneDX) of requirements.lock, with licences
	@$(PY) -m tests.sbom

openapi: install ## write the API's OpenAPI document anew
	@$(PY) manage.py spectacular --skip-checks --validate --fail-on-warn --file registry/api/openapi.yaml

format: install ## format and mend what can be mended
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

clean: ## remove the virtual environment, the data folder and caches
	rm -rf clients/typescript/node_modules clients/typescript/dist $(VENV) .uv var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
