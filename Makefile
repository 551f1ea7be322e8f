# Needs Python 3.11 or newer with pip, and make; everything else is installed into .venv.
# `make` alone lists the targets.

PYTHON ?= python3
PORT ?= 8501
CHECK ?=
SUITE ?=
ARGS ?=
JOBS ?= 2

BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test faults check format bench screenshots catalogue clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# torch goes first and alone, so that the build of it that suits the machine is settled before anything depends on it.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "jebm needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[dev]'
	@touch $@

.venv: $(STAMP) ## make the virtual environment with the pinned packages

demo: $(STAMP) ## fit the sample project and open the dashboard (PORT=8501; CHECK=1 looks at the page and stops)
	$(BIN)/jebm demo --port $(PORT) $(if $(filter 1,$(CHECK)),--check)

test: $(STAMP) ## run every test that this machine can run (ARGS="-k word" for some of them, JOBS=1 for one at a time)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

faults: $(STAMP) ## kill servers, runners and jobs twenty times a minute, and see that nothing is lost
	JEBM_FAULT_KILLS=20 JEBM_FAULT_SECONDS=60 $(BIN)/python -m pytest tests/test_runs_faults.py -n 0

check: $(STAMP) ## format, lint, types and import contracts; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(STAMP) ## bring the code into the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure and write tests/benchmarks/RESULTS.md and .json (SUITE=name for one)
	$(BIN)/python -m tests.benchmarks $(SUITE)

screenshots: $(STAMP) ## take a picture of every page in both languages, and those of the README
	$(BIN)/python -m tests.browser.screenshots --readme

catalogue: $(STAMP) ## collect the texts, update the translations and compile them
	$(BIN)/python -m app.text

clean: ## remove the virtual environment and everything the tools left behind
	rm -rf .venv build dist jebm.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find app jebm_core sample_data tests -name __pycache__ -type d -prune -exec rm -rf {} +
