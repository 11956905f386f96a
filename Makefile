# jaxnigt: `make` lists the targets. Everything installs itself into .venv first.

PYTHON ?= python3.11
SWEEP ?= quickstart
# What SWEEP=all-small and all-paper run, quick ones first, all that figures/ draws among them. `complexity`,
# no work for an accelerator, is in all-small alone.
ALL := reacher_tuned timing reacher hopper walker2d physical regimes reacher100 decreasing malenia humanoid humanoid100
SIZE = $(filter small paper,$(lastword $(subst -, ,$(SWEEP))))
FIGSIZE ?= small
FUZZ ?= 10000
SEED ?= $(shell date +%s)
NAME = $(if $(SIZE),$(SWEEP:-$(SIZE)=),$(SWEEP))
ACCELERATOR ?= $(shell if command -v nvidia-smi >/dev/null 2>&1; then echo cuda; \
	elif [ -e /dev/accel0 ] || [ -n "$$TPU_NAME" ]; then echo tpu; else echo cpu; fi)
EXTRAS = $(if $(filter cpu,$(ACCELERATOR)),,[$(ACCELERATOR)])

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(ACCELERATOR)

.DEFAULT_GOAL := help
.PHONY: help sweep figures notebooks bench docs test slow fuzz faults versions lint clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@case "$(ACCELERATOR)" in cpu|cuda|tpu) ;; \
	  *) echo "ACCELERATOR: got '$(ACCELERATOR)', allowed are cpu, cuda, tpu." >&2; exit 2;; esac
	@echo "accelerator: $(ACCELERATOR)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".$(EXTRAS)" --group dev
	@touch $@

sweep: $(STAMP) ## run sweeps/$(SWEEP).toml; SWEEP=NAME, NAME-small, NAME-paper, all-small; ACCELERATOR=cpu|cuda|tpu
	@echo "accelerator: $(ACCELERATOR)"
	$(BIN)/jaxnigt sweep $(if $(SIZE),--size $(SIZE)) $(patsubst %,sweeps/%.toml,$(if $(filter all,$(NAME)),$(if $(filter small,$(SIZE)),complexity) $(ALL),$(NAME)))

figures: $(STAMP) ## draw all figures and tables from the results of all-small; FIG=NAME one, FIGSIZE=paper the others
	$(BIN)/python -m figures --size $(FIGSIZE) $(FIG)

notebooks: $(STAMP) ## run the bound-check notebooks in theory/
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[notebooks]"
	$(BIN)/python -m pytest -p no:cacheprovider --nbmake --overwrite --durations=0 theory
	@# Execution leaves times in the metadata of every cell.
	$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --inplace theory/*.ipynb \
	  --ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec

bench: $(STAMP) ## time jaxnigt against what one would write without it; BENCH=name picks one
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	@for b in $(or $(BENCH),$(basename $(notdir $(wildcard benchmarks/[a-z]*.py)))); do \
	  $(BIN)/python benchmarks/$$b.py || exit 1; done

docs: $(STAMP) ## build the site in build/site; a warning or a broken link is an error
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "wrote build/site/index.html"

test: $(STAMP) ## run the tests but for the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not every"

slow: $(STAMP) ## run the slow tests: real environments, killed sweeps, a Ray cluster, memory
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

fuzz: $(STAMP) ## try FUZZ=10000 mistaken inputs; SEED=N repeats a run
	FUZZ=$(FUZZ) SEED=$(SEED) $(BIN)/python -m pytest -q -o addopts= tests/fuzz

faults: $(STAMP) ## fail at every operation on files of a small sweep, and print how many were survived
	$(BIN)/python -m pytest -s -m every tests/sweep/test_faults.py

# The oldest packages of all that pyproject.toml allows, and the newest on the newest Python that is here.
OLDEST := build/oldest
NEWEST := build/newest
PYTHONS = for v in 3.13 3.12; do for p in python$$v "$$(pyenv prefix $$(pyenv latest $$v) 2>/dev/null)/bin/python"; do \
	"$$p" -c "" 2>/dev/null && echo "$$p" && exit; done; done 2>/dev/null; echo $(PYTHON)
CORE := tests/test_package.py tests/profiles tests/methods/test_nigt.py tests/sweep/test_plan.py tests/sweep/test_store.py

versions: $(STAMP) ## a sweep and the tests of what holds it together, with the oldest and with the newest packages
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(OLDEST)
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct --editable . --group test
	$(BIN)/uv venv --quiet --clear --python "$$($(PYTHONS))" $(NEWEST)
	$(BIN)/uv pip install --quiet --python $(NEWEST)/bin/python --resolution highest --editable . --group test
	@for v in $(OLDEST) $(NEWEST); do \
	  $$v/bin/python -c "import sys, jax, xarray; print('$$v: Python', sys.version.split()[0] + ', jax', jax.__version__ + ', xarray', xarray.__version__)" && \
	  $$v/bin/jaxnigt sweep sweeps/tiny.toml --out $$v/tiny && \
	  $$v/bin/python -m pytest -q -o addopts=--strict-markers -o filterwarnings=ignore -p no:cacheprovider $(CORE) || exit 1; \
	done

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean: ## remove what was installed and built; results stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
