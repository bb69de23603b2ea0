# make venv    the environment .venv, from the lock, with all that tests and the demo need
# make demo    the main job on embedded data, offline; opens nothing, prints where the page lies
# make test    all tests
# make lint    ruff and mypy
# make lock    the lock anew, after pyproject.toml changed

PYTHON ?= python3
BIN := .venv/bin

.PHONY: venv demo test lint lock
.DELETE_ON_ERROR:

venv: .venv/.installed

# uv installs in a fraction of pip's time; where it neither is there nor can be installed, pip does the same.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "maskwright needs Python 3.11 or newer; set PYTHON=python3.11 (or newer)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if $(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install -q uv; then \
	    $(BIN)/python -m uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock && \
	    $(BIN)/python -m uv pip install -q --python $(BIN)/python --no-deps -e . ; \
	else \
	    $(BIN)/python -m pip install -q --require-hashes -r requirements.lock && \
	    $(BIN)/python -m pip install -q --no-deps -e . ; \
	fi
	@touch $@

demo: venv
	$(BIN)/maskwright demo --out runs/demo

test: venv
	$(BIN)/python -m pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: venv
	$(BIN)/python -m uv pip compile -q --universal --generate-hashes --no-annotate --no-header \
	    --extra dev pyproject.toml -o requirements.lock
