# Each target sets up what it needs in .venv, once; where that stands it starts at once.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
.PHONY: run test test-all check bench setup
.DEFAULT_GOAL := run

setup: $(STAMP)

# torch goes first and alone, at the tested pin, whichever build of it (CPU or CUDA) pip is pointed at.
$(STAMP): pyproject.toml constraints.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt -e .
	touch $@

run: $(STAMP)
	$(BIN)/unnoise train digits --resume
	$(BIN)/unnoise evaluate runs/digits

# A file's tests stay together in one process, one thread each: what a file furnishes is furnished once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(STAMP)
	$(PYTEST)

test-all: $(STAMP)
	$(PYTEST) -m ""

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_floors.py

bench: $(STAMP)
	$(MAKE) -C benchmarks
