# The two commands of the README are `make demo` and `make test`; both do all their set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
ARGS ?=
EXTRAS ?= local,test,lint

.PHONY: help demo test lint chaos bench audit clean
help: ## say what there is
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(READY) ## play a day of leads on this machine (ARGS="--scale 0.1", ARGS=--help)
	@$(BIN)/python -m stream demo $(ARGS)

test: $(READY) ## run every test, each named as it begins and the slowest at the end (ARGS="tests/unit -k phone")
	@$(BIN)/python -m pytest -v --durations=20 --durations-min=1 $(ARGS)

chaos: $(READY) ## break the running system on purpose and count every record (ARGS="--seed 7 --only 1,2 --size small")
	@$(BIN)/python -m tests.chaos $(ARGS)

lint: $(READY) ## linters, types, and which way imports go
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# In an environment of its own: a peer pins older versions of what we use.
bench: ## measure, beside peers (ARGS="hits --rounds 3 --json", ARGS=--help)
	@$(MAKE) --no-print-directory VENV=.venv-bench EXTRAS=local,test,bench measure

.PHONY: measure
measure: $(READY)
	@$(BIN)/python -m bench $(ARGS)

# Strict: a package that the advisory database does not know, or can't be asked about, is not one without findings.
audit: $(READY) ## ask the advisory database of PyPI about every package (needs the network; ARGS="-s osv" asks another)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10'
	@$(BIN)/python -m pip freeze --exclude-editable >$(VENV)/installed.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r $(VENV)/installed.txt $(ARGS)

clean: ## remove the virtual environments
	rm -rf $(VENV) .venv-bench

# Two makes at once wait for each other where flock is there.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version): make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@if command -v flock >/dev/null; then exec flock .venv.lock $(MAKE) --no-print-directory install; else exec $(MAKE) --no-print-directory install; fi

.PHONY: install
install:
	@if [ $(READY) -nt pyproject.toml ]; then exit 0; fi; set -e; \
	echo "setting up $(VENV) (once; a minute or two)"; \
	$(PYTHON) -m venv $(VENV); \
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -e '.[$(EXTRAS)]'; \
	touch $(READY)
