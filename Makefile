# jaxnigt: `make` lists the targets. Everything installs itself into .venv first.

PYTHON ?= python3.11
SWEEP ?= quickstart
# Sweeps that figures/ draws, quick ones first; SWEEP=all-small and all-paper run all of them.
ALL := timing reacher hopper walker2d physical regimes reacher100 decreasing malenia humanoid humanoid100
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
.PHONY: help sweep figures notebooks bench docs test slow fuzz lint clean

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
	$(BIN)/jaxnigt sweep $(if $(SIZE),--size $(SIZE)) $(patsubst %,sweeps/%.toml,$(if $(filter all,$(NAME)),$(ALL),$(NAME)))

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
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(STAMP) ## run the slow tests: real environments, killed sweeps, a Ray cluster, memory
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

fuzz: $(STAMP) ## try FUZZ=10000 mistaken inputs; SEED=N repeats a run
	FUZZ=$(FUZZ) SEED=$(SEED) $(BIN)/python -m pytest -q -o addopts= tests/fuzz

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean: ## remove what was installed and built; results stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
