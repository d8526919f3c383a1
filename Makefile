# `make demo` sets up and shows everything; `make test` sets up and runs the tests.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= cpu,demo,dev
BIN := $(VENV)/bin
# One test worker a processor, each with one thread: more would only queue.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

.PHONY: setup demo test test-all test-gpu check format clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: setup
	$(BIN)/vr demo

test: setup
	$(PYTEST)

test-all: $(VENV)/.scale
	$(PYTEST) -m 'not gpu'

# Only slow tests need the extra `scale`: Ray alone is 284 MB.
$(VENV)/.scale: $(VENV)/.ready
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),scale]'
	touch $@

test-gpu: setup
	$(PYTEST) -m gpu -n 1

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
