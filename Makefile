# make demo   set everything up, train HGN on a simulated log, show how good it is, what it recommends and why, and how to open the page
# make test   set everything up and run the tests, make test-fast those that take no time          make lint   ruff, mypy, import-linter and codespell
# make bench  the benchmarks (each prints a ratio)         make fuzz   10,000 mangled files and settings
# make mutants  change the core line by line and list the changes that no test notices (hours; MUTANTS='gaterec.training.losses.*' for a part)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast lint bench fuzz mutants docs clean

demo: $(VENV)/.installed
	$(BIN)/gaterec run --MAX_ITEM_LIST_LENGTH=10 --learning_rate=0.005 --dropout=0.3 --repeatable=False
	$(BIN)/gaterec recommend saved --users=u0001,u0002,u0003 -k 3 --why
	@echo
	@echo 'The page, to choose users and click items:    $(BIN)/gaterec serve saved'

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist worksteal

test-fast: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto -m "not slow"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md docs/*.md src tests benchmarks/*.py

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/.installed-dev
	GATEREC_FUZZ=10000 $(BIN)/pytest -n auto tests/test_fuzz.py

MUTANTS ?=

mutants: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/mutmut run $(MUTANTS)
	$(BIN)/mutmut results | sed "/: not checked/d"

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[serve]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis
