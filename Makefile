# The two commands of the README are `make demo` and `make test`; both do all their set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
ARGS ?=
# What is installed: exact versions with the hashes of their files, made from the ranges of pyproject.toml by `make lock`.
LOCK ?= requirements-dev.lock

.PHONY: help demo test test-pythons lint format generate docs-check chaos bench lock audit test-newest clean
help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY) ## play a day of leads on this machine (ARGS="--scale 0.1", ARGS=--help)
	@$(BIN)/python -m stream demo $(ARGS)

test: $(READY) ## run every test, each named as it begins and the slowest at the end (ARGS="tests/unit -k phone")
	@$(BIN)/python -m pytest -v --durations=20 --durations-min=1 $(ARGS)

test-pythons: ## run the unit tests with each of Python 3.11, 3.12 and 3.13 that is installed
	@set -e; for version in 3.11 3.12 3.13; do \
	  if ! python$$version -c '' 2>/dev/null; then echo "python$$version: not installed, skipped"; continue; fi; \
	  echo "python$$version:"; \
	  $(MAKE) --no-print-directory PYTHON=python$$version VENV=.venv-$$version test ARGS="tests/unit $(ARGS)"; \
	done

format: $(READY) ## format the code, and correct what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(READY) ## write the generated files: .env.example, openapi.json, schemas, the tables of docs/operations.md
	@$(BIN)/python -m scripts.generate

docs-check: $(READY) ## check the links of all pages, and that the generated files are fresh
	@$(BIN)/python -m scripts.check_links
	@$(BIN)/python -m scripts.generate --check

chaos: $(READY) ## break the running system on purpose and count every record (ARGS="--seed 7 --only 1,2 --size small")
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: $(READY) ## linters, types, and which way imports go
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# In an environment of its own: a peer pins older versions of what we use.
bench: ## measure, beside peers (ARGS="hits --rounds 3 --json", ARGS=--help)
	@$(MAKE) --no-print-directory VENV=.venv-bench LOCK=requirements-bench.lock measure

.PHONY: measure
measure: $(READY)
	@$(BIN)/python -m bench $(ARGS)

# Strict: a package that the advisory database does not know, or can't be asked about, is not one without findings.
audit: $(READY) test-newest ## ask the advisory database of PyPI about every package, and test the newest versions (needs the network; ARGS="-s osv" asks another)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10'
	@$(BIN)/python -m pip freeze --exclude-editable >$(VENV)/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r $(VENV)/installed.txt $(ARGS)

# An environment of its own with the newest versions that pyproject.toml allows: what a renewed lock would bring.
test-newest: ## run the unit and component tests with the newest versions (needs the network)
	@$(MAKE) --no-print-directory VENV=.venv-newest LOCK= test ARGS="tests/unit tests/component"

lock: ## renew the locks from the ranges of pyproject.toml (needs the network)
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check --upgrade uv
	@set -e; compile() { out=$$1; shift; echo "setuptools>=77" | .venv-lock/bin/uv pip compile pyproject.toml - "$$@" \
	    --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade --quiet -o $$out; \
	  echo "$$out: $$(grep -c == $$out) packages"; }; \
	compile requirements.lock; \
	compile requirements-dev.lock --extra local --extra test --extra lint; \
	compile requirements-bench.lock --extra local --extra test --extra bench

clean: ## remove the virtual environments
	rm -rf .venv .venv-* $(VENV)

# Two makes at once wait for each other where flock is there.
$(READY): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version): make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@if command -v flock >/dev/null; then exec flock $(VENV).lock $(MAKE) --no-print-directory install; else exec $(MAKE) --no-print-directory install; fi

.PHONY: install
install:
	@if [ $(READY) -nt pyproject.toml ] && { [ -z "$(LOCK)" ] || [ $(READY) -nt "$(LOCK)" ]; }; then exit 0; fi; set -e; \
	echo "setting up $(VENV) (once; a minute or two)"; \
	$(PYTHON) -m venv $(VENV); \
	if [ -n "$(LOCK)" ]; then \
	  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --require-hashes -r $(LOCK); \
	  $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	else \
	  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --upgrade -e '.[local,test,lint]'; \
	fi; \
	touch $(READY)
