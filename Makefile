# Needs Python 3.11 or newer with pip, and make. Everything else comes from requirements/dev.lock into .venv.

PYTHON ?= python3
ARGS ?=
LOCK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Written last, and holds the folder .venv was made in: neither a half-made nor a copied .venv is taken for finished.
READY := $(VENV)/.ready

# Whatever environment is active stays outside.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_USER
# It warns of every part of a statement in which there is nothing to be excused: told only when there is a finding.
BANDIT := $(BIN)/bandit --quiet --configfile pyproject.toml --recursive \
  netra_backend netra_golden_path netra_repair netra_cli.py scripts
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run serve test check bench drift soak storm fuzz mutants lock clean

help:
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

run: $(READY) ## the golden path: 50 users against a server of its own
	@$(BIN)/netra golden-path --users 50 $(ARGS)

serve: $(READY) ## the server, for this machine only
	@$(BIN)/netra serve $(ARGS)

test: $(READY) ## the tests, in two processes; ARGS goes to pytest
	@$(BIN)/python -m pytest -n 2 $(ARGS)

check: $(READY) ## lint, format, types, calls that mean nothing, bandit, secrets, lock, known vulnerabilities
	@$(BIN)/python -m ruff check
	@$(BIN)/python -m ruff format --check
	@$(BIN)/python -m mypy
	@$(BIN)/netra repair scan --check
	@$(BANDIT) 2>/dev/null || $(BANDIT)
	@$(BIN)/python scripts/check_secrets.py
	@! grep -nE '://|--(extra-index-url|find-links|index-url|trusted-host)' requirements/dev.lock \
	  || { echo "requirements/dev.lock: expected names, versions and hashes only" >&2; exit 1; }
	@$(BIN)/python scripts/audit_dependencies.py

bench: $(READY) ## the benchmarks
	@$(BIN)/python benchmarks/context.py
	@$(BIN)/python -m benchmarks.golden_path
	@$(BIN)/python -m benchmarks.fairness
	@$(BIN)/python -m benchmarks.slow_readers
	@$(BIN)/python -m benchmarks.owner_criterion
	@$(BIN)/python -m benchmarks.revocation

drift: $(READY) ## the repair tool against injected drift in real packages, and against its peers
	@$(BIN)/python -m benchmarks.repair prepare
	@$(BIN)/python -m benchmarks.repair run
	@$(BIN)/python -m benchmarks.repair run --held-out
	@$(BIN)/python -m benchmarks.repair.peers
	@$(BIN)/python -m benchmarks.repair.false_alarms
	@$(BIN)/python -m benchmarks.repair.speed

soak: $(READY) ## the long tests and golden paths, with dropped connections and a killed server too
	@$(BIN)/python -m pytest -m soak
	@$(BIN)/netra golden-path --users 1000
	@$(BIN)/netra golden-path --users 200 --journeys 5
	@$(BIN)/python -m tests.support.postgres $(BIN)/netra golden-path --users 200 --journeys 5 --database-url {url}
	@$(BIN)/netra golden-path --users 500 --drops 5
	@$(BIN)/python -m tests.support.postgres $(BIN)/netra golden-path --users 500 --drops 5 --database-url {url}
	@$(BIN)/netra golden-path --users 200 --journeys 20 --kill-every 5
	@$(BIN)/python -m tests.support.postgres \
	  $(BIN)/netra golden-path --users 200 --journeys 20 --kill-every 5 --database-url {url}

storm: $(READY) ## 2,000 callers who go away, in each of three ways, over both databases, slowed below the driver
	@$(BIN)/python -m tests.support.storms 2000 $(ARGS)

fuzz: $(READY) ## the API by schemathesis over both databases, and 200,000 frames that nobody means, while others work
	@$(BIN)/python -m tests.support.fuzz api 60
	@$(BIN)/python -m tests.support.postgres $(BIN)/python -m tests.support.fuzz api 60 --database-url {url}
	@$(BIN)/python -m tests.support.fuzz frames 200000

mutants: $(READY) ## one owner criterion, key or rule taken out at a time: the ownership tests must notice each
	@$(BIN)/python -m tests.support.mutants $(ARGS)

lock: ## requirements/dev.lock from pyproject.toml; LOCK_ARGS=--upgrade raises the pins
	@echo "resolving requirements/dev.lock"
	@"$(PYTHON)" -m venv --clear build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check --quiet install uv
	@build/lock/bin/uv pip compile pyproject.toml --quiet --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --custom-compile-command "make lock" -o requirements/dev.lock $(LOCK_ARGS)

clean: ## back to a fresh checkout: away with .venv, caches and build products
	@rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

$(READY): pyproject.toml requirements/dev.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Netra needs Python 3.11 or newer, and $(PYTHON) is not one; name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@if [ "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" ] && $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "bringing $(VENV) up to date"; rm -f $@; \
	else \
	  echo "making $(VENV) from requirements/dev.lock (a minute or two)"; "$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@$(PIP) install --use-pep517 --require-hashes -r requirements/dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@echo "$(CURDIR)" > $@
