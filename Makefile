# make demo   from nothing to a leaderboard: TASK (ListOps), some VARIANTS (or all), minutes on two cores
# make test   what a change must not break, in at most ten minutes on two cores
# make test-all  that, slow runs end to end, the compilers of TPU and GPU, and the newest JAX if a Python 3.12 is at hand
# make fuzz   the property tests with new examples
# make accelerator MINUTES=12   on a machine with a GPU or TPU: proof of the kernels, benchmarks, training runs
# make leaderboard  docs/leaderboard from leaderboard/results; the schema and the tables of docs/ from the code
# make lint   formatting, linter, type checker
# make clean  removes what these made, but no results

# the first of some names that runs: a name on the PATH may be a shim without a Python behind it
first = $(firstword $(shell for p in $(1); do $$p -c 'import sys; print(sys.executable)'; done 2>/dev/null))
PYTHON ?= $(call first,python3.11 python3)
PYTHON_NEW ?= $(call first,python3.12 python3.13 $(HOME)/.pyenv/versions/3.12*/bin/python)
TASK ?= listops
ifneq ($(filter $(TASK),flipflop hops intersect range),)
# A probe takes longer for each variant, so that a demo of it has one seed and one of the two learning rates.
PROTOCOL := probe
SEEDS ?= 0
VARIANTS ?= transformer,local,linear,retention,lru
ONE_RATE := --gin 'cosine.base = 3e-3'
else
PROTOCOL := demo
SEEDS ?= 0,1,2
VARIANTS ?= transformer,local,dilated,linformer,luna,linear,performer,s5
endif
VENV := .venv
NEW := .venv-new
COMPILERS := .compilers
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# A strict editable install links the files there are: it is made again when a folder gains or loses one.
# The slash: `leaderboard` without it is the target below.
FOLDERS := setup.cfg pyproject.toml $(shell find lra tasks models gin leaderboard/ -type d -not -name __pycache__)
INSTALL = pip install --quiet --quiet --config-settings editable_mode=strict -e

.PHONY: demo test test-all test-slow test-new test-release fuzz accelerator leaderboard compilers new environments lint clean
.DELETE_ON_ERROR:

$(VENV)/bin/python:
	@echo "setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit("lra needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --upgrade pip

$(VENV)/lra: $(VENV)/bin/python $(FOLDERS)
	@echo "installing lra and what it stands on into $(VENV)"
	@$(VENV)/bin/$(INSTALL) .
	@touch $@

$(VENV)/dev: $(VENV)/bin/python $(FOLDERS)
	@echo "installing lra and what the tests need into $(VENV)"
	@$(VENV)/bin/$(INSTALL) '.[dev,seqio]'
	@touch $(VENV)/lra $@

# Compilers of TPU and GPU, beside the environment: inside it JAX would look for the devices at each start.
$(COMPILERS)/done: $(VENV)/dev
	@echo "installing the compilers of TPU and GPU into $(COMPILERS)"
	@rm -rf $(COMPILERS)
	@jax=$$($(VENV)/bin/python -c 'import jax; print(jax.__version__)') && \
	  $(VENV)/bin/pip install --quiet --no-deps --target $(COMPILERS) libtpu jax-cuda12-plugin==$$jax jax-cuda12-pjrt==$$jax \
	  nvidia-cuda-nvcc-cu12 nvidia-cuda-runtime-cu12 nvidia-cuda-cupti-cu12 nvidia-cuda-nvrtc-cu12
	@touch $@

demo: $(VENV)/lra
	@$(VENV)/bin/lra prepare $(TASK) --protocol $(PROTOCOL)
	@$(VENV)/bin/lra sweep --tasks $(TASK) --variants $(VARIANTS) --protocols $(PROTOCOL) --seeds $(SEEDS) $(ONE_RATE)
	@$(VENV)/bin/lra leaderboard build

LATER := slow or more or interpreter or compilers
# in the order of the files: those with few tests, which xdist puts last, are the slow ones
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
PYTEST = JAX_PLATFORMS=cpu $(VENV)/bin/pytest $(PARALLEL)
test: $(VENV)/dev
	$(PYTEST) -m "not ($(LATER) or release)"

test-all: test
	@$(MAKE) --no-print-directory test-slow
	@if [ -n "$(PYTHON_NEW)" ]; then $(MAKE) --no-print-directory test-new; else echo "no Python 3.12 at hand: the newest JAX was not tested"; fi

# Where there are no such compilers for a machine, the tests that need them say so and are skipped.
# Kernels are interpreted once: those of GPUs by the newest JAX, whose interpreter finds races, if it is at hand; those
# of TPUs here. test_bfloat16.py has each op on each of them in both.
INTERPRETED := tests/models/kernels/*
test-slow: $(VENV)/dev
	@$(MAKE) --no-print-directory $(COMPILERS)/done || echo "no compilers of TPU and GPU for this machine"
	PYTHONPATH=$(CURDIR)/$(COMPILERS) $(PYTEST) -m "($(LATER)) and not release" $(if $(PYTHON_NEW),--ignore-glob '$(INTERPRETED)/test_gpu.py')

# What CI has no time for: all variants where one of each kind is shown, and what takes minutes. Before a release.
test-release: $(VENV)/dev
	@$(MAKE) --no-print-directory $(COMPILERS)/done || echo "no compilers of TPU and GPU for this machine"
	PYTHONPATH=$(CURDIR)/$(COMPILERS) $(PYTEST) -m release

# A failure prints the line `@reproduce_failure`, which repeats its example.
fuzz: $(VENV)/dev
	$(PYTEST) -m hypothesis --hypothesis-profile new

# The newest JAX needs Python 3.12. A wheel and not a link: the links are the other environment's. It is shown what
# another JAX may break: the model, its ops and kernels, and the files of the harness that compile, train, score and
# save. Of the tests of each variant the mark `once` leaves the oracle, with its gradients.
HARNESS := $(addprefix test_,checkpoint compilation compute_type convolution evaluation placement run settings tracing \
  train trainer)
test-new: new
	JAX_PLATFORMS=cpu $(NEW)/bin/pytest $(PARALLEL) -m "not (slow or more or compilers or once or release)" \
	  --ignore-glob '$(INTERPRETED)/test_tpu.py' tests/models tests/lra/proof/test_exact.py $(HARNESS:%=tests/lra/%.py)

new: $(VENV)/dev
	@test -x $(NEW)/bin/python || { echo "setting up $(NEW) with $(PYTHON_NEW)"; $(PYTHON_NEW) -m venv $(NEW) && $(NEW)/bin/pip install --quiet --upgrade pip; }
	@rm -rf build/wheel && $(VENV)/bin/python -m build --wheel --outdir build/wheel . >/dev/null
	@$(NEW)/bin/pip install --quiet pytest pytest-xdist hypothesis tensorboard build/wheel/*.whl
	@$(NEW)/bin/pip install --quiet --force-reinstall --no-deps build/wheel/*.whl

# Whatever Python has JAX for the device: nothing is installed. ACCELERATOR=cpu rehearses it on the CPU.
ACCELERATED ?= python3
MINUTES ?= 12
accelerator:
	@$(ACCELERATED) accelerator/run.py --minutes $(MINUTES) $(if $(filter cpu,$(ACCELERATOR)),--cpu)

# What the project's own records give; CI checks every byte.
leaderboard: $(VENV)/lra
	@$(VENV)/bin/lra leaderboard build leaderboard/results --out docs/leaderboard
	@$(VENV)/bin/python -c 'from lra.leaderboard.record import json_schema; print(json_schema(), end="")' > docs/record.schema.json
	@$(VENV)/bin/python docs/picture.py
	@$(VENV)/bin/python docs/make.py

compilers: $(COMPILERS)/done

environments: compilers $(if $(PYTHON_NEW),new)

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	cd build && ../$(VENV)/bin/mypy --config-file ../pyproject.toml  # where the links are

clean:
	rm -rf $(VENV) $(NEW) $(COMPILERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
