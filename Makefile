# make demo       trains, compares and pictures teacher, student and distilled student
# make test       runs the quick checks, in about 5 minutes on two cores
# make test-all   runs these, then the slow ones
# make fuzz       damages files of every format, reads them and counts what happens;
#                 CASES=20000, SEED=0; make fuzz OPTIONS=--help tells more
# make kills      kills a run of four stages KILLS=100 times; it must end as one undisturbed
# make docs       builds the documentation site, build/docs/index.html
# make lint       checks style, types and documentation
#
# Each makes the virtual environment .venv first; PYTHON chooses the interpreter.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
DEMO := runs/demo
# What pip installs, and what it builds with: older releases of pip read the first alone.
CONSTRAINED := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
# Files keep their order, in which those that compile alike follow each other.
PYTEST := $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
NATIVE := $(wildcard kdmri_jax/ops/native/*.cc kdmri_jax/ops/native/*.h)

CASES ?= 20000
KILLS ?= 100
SEED ?= 0

.PHONY: demo test test-all fuzz kills docs lint clean

demo: $(READY)
	@$(VENV)/bin/python -m kdmri_jax.pretrained
	$(VENV)/bin/kdmri run --config=demo --workdir=$(DEMO)

test: $(READY)
	$(PYTEST) -m "not slow" --memory-limit=2

test-all: test
	$(PYTEST) -m slow

fuzz: $(READY)
	PYTHONPATH=.:tests JAX_PLATFORMS=cpu $(VENV)/bin/python -m fuzz \
	  --cases=$(CASES) --seed=$(SEED) $(OPTIONS)

kills: $(READY)
	KILLS=$(KILLS) SEED=$(SEED) $(VENV)/bin/python -m pytest -s tests/integration/test_kills.py

docs: $(READY)
	JAX_PLATFORMS=cpu $(VENV)/bin/sphinx-build -E -W --keep-going -q docs build/docs
	@echo "the site: build/docs/index.html"

lint: $(READY) docs
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run --Werror $(NATIVE)

$(READY): pyproject.toml setup.py constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=/path/to/a/newer/python"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(CONSTRAINED) $(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV)
