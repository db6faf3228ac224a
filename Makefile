# Every target sets up what it needs: a `.venv` beside this file, installed again only when pyproject.toml
# changes. Needs Python 3.11 or newer and make, nothing else.
#
#   make PYTHON=/path/to/python3.12   chooses the Python
#   make test WORKERS=4               chooses how many test processes run at once
#   make test TESTS="tests/history -k fork"
#   make mutants ROUNDS=100           gives sound parts a hundred seeds to fail under

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# The tests start processes by the hundred; without this each of them would compile the library anew.
unexport PYTHONDONTWRITEBYTECODE

VENV ?= .venv
WORKERS ?= 2
TESTS ?=
ROUNDS ?= 3
BIN := $(VENV)/bin

.PHONY: help demo test test-fast campaigns lint format typecheck check coverage bench crash gepa mutants soak powercut clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	    awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(VENV)/.core ## run the tour: events, time travel, a fork, save and load
	@$(BIN)/python -m eventcore demo

test: $(VENV)/.dev ## run every test but the campaigns
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not campaign" $(TESTS)

test-fast: $(VENV)/.dev ## run the tests that take less than a second each
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not campaign" $(TESTS)

campaigns: $(VENV)/.dev ## the longest tests: kills, power cuts, recordings and mutants by the hundred
	$(BIN)/python -m pytest -n $(WORKERS) --dist load -m campaign $(TESTS)

lint: $(VENV)/.dev ## check style and formatting
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(VENV)/.dev ## rewrite the files in the house's format
	$(BIN)/python -m ruff check --fix-only --quiet .
	$(BIN)/python -m ruff format .

typecheck: $(VENV)/.dev ## mypy and pyright, both strict, on source and tests
	$(BIN)/python -m mypy
	$(BIN)/python -m pyright --pythonpath $(BIN)/python

check: lint typecheck test ## lint, typecheck and test

coverage: $(VENV)/.dev ## run the tests and show what they do not reach
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -m "not slow" $(TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --show-missing

bench: $(VENV)/.dev ## print the table of figures
	$(BIN)/python -m benchmarks

crash: $(VENV)/.dev ## kill writers and trainings 10,000 times each and count what was lost (must be 0)
	$(BIN)/python tests/crash/campaign.py --kills 10000
	$(BIN)/python tests/crash/resuming.py --kills 10000

gepa: $(VENV)/.dev ## stop and kill runs of GEPA, resume them and count what differs (must be 0)
	$(BIN)/python tests/integrations/campaign.py

mutants: $(VENV)/.dev ## give the harness faulty modules, optimizers, rewards and backends, and print the score
	$(BIN)/python -m tests.mutants.score --rounds $(ROUNDS)

soak: $(VENV)/.dev ## take 1,000,000 random steps on all backends at once (must differ nowhere)
	$(BIN)/python -m tests.testing.soak --steps 1000000

powercut: $(VENV)/.dev ## cut the power of a writing process 20,000 times and count what was lost (must be 0)
	$(BIN)/python tests/backends/powercut.py --states 20000

clean: ## remove what these targets made; stores are left alone
	rm -rf .venv .venv-newest build dist eventcore.egg-info htmlcov .coverage .coverage.* \
	    .hypothesis .mypy_cache .pytest_cache .ruff_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python that is new enough *and* can make an environment. Each is run, not merely found: a
# pyenv shim exists for every version installed and yet fails for those not selected, and Debian ships a
# python3 that cannot make an environment until python3-venv is installed.
$(VENV)/bin/python:
	@found=; unusable=; \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14 python); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 || continue; \
	    if "$$python" -c 'import venv, ensurepip' </dev/null >/dev/null 2>&1; \
	        then found=$$python; break; else unusable=$$python; fi; \
	done; \
	if [ -z "$$found" ] && [ -n "$$unusable" ]; then \
	    echo "make: $$unusable cannot make a virtual environment (it lacks venv or ensurepip)." >&2; \
	    echo "make: on Debian or Ubuntu: apt install python3-venv; or choose another: make PYTHON=..." >&2; \
	    exit 1; \
	fi; \
	if [ -z "$$found" ]; then \
	    echo "make: no Python 3.11 or newer works here (tried: $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python3.14 python))." >&2; \
	    echo "make: install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv "$(VENV)"

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	@echo "installing eventcore into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing eventcore and its development tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(VENV)/.core $@
