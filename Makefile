# Each target sets up what it needs in .venv, once; where that stands it starts at once.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
.PHONY: run serve test test-all check bench bench-all setup browser
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
	@echo "Next: make serve, and open http://127.0.0.1:8000 in a browser"

serve: $(STAMP)
	$(BIN)/unnoise serve runs/digits

# A file's tests stay together in one process, one thread each: what a file furnishes is furnished once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The page is tested in Debian's chromium; where there is none and none can be installed its tests are skipped.
browser:
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
	{ apt-get update -qq && apt-get install -qq -y chromium >/dev/null; } || echo "no chromium: the page goes untested"

test: $(STAMP) browser
	$(PYTEST)

test-all: $(STAMP) browser
	$(PYTEST) -m ""

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest tests/test_floors.py

bench: $(STAMP)
	$(MAKE) -C benchmarks

bench-all: $(STAMP)
	$(MAKE) -C benchmarks all
