# Every target makes the environment it needs by itself: Python 3.11 to 3.13 and make are enough.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,\
	$(shell command -v $(name) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
# Made anew whenever the dependencies change.
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
# The demonstration keeps everything it makes in one folder, to look at and to delete.
DEMO := demo

# Compilers for TPUs: a gigabyte of its own.
TPU_VENV := .venv-tpu
TPU_READY := $(TPU_VENV)/.ready
TPU_TOPOLOGY ?= v3:2x2x1
TPU_OUT := build/tpu-check

# Stacks that are not this package's own: TensorFlow 2.15 with tensorflow-addons, Keras on JAX.
PYTHON311 ?= $(shell command -v python3.11 2>/dev/null)
TF215_VENV := .venv-tf215
TF215_READY := $(TF215_VENV)/.ready
JAX_VENV := .venv-jax
JAX_READY := $(JAX_VENV)/.ready
INTEROP := build/interop

.PHONY: help demo test test-slow lint docs format bench tpu-check tpu-check-steps clean
.PHONY: test-interop test-tf215 test-jax test-beam test-torch

help:
	@echo "make demo       pretrain a small encoder, score it on synthetic tasks (minutes)"
	@echo "make test       all tests but the slow ones (about five minutes on two cores)"
	@echo "make test-slow  the whole network in float64 and other long proofs"
	@echo "make test-interop  TF 2.15 with tensorflow-addons, and the JAX backend (two environments)"
	@echo "make test-beam  the workers of Apache Beam (an environment of its own)"
	@echo "make test-torch PyTorch installed beside this package (an environment of its own)"
	@echo "make lint       ruff, mypy, and the documentation"
	@echo "make docs       the documentation as a site, in build/site"
	@echo "make bench      speed and memory, as ratios to this machine's own peak and to peers"
	@echo "make tpu-check  compile the training step for a TPU that is not here (15 minutes)"

$(READY): setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(TPU_READY): benchmarks/tpu/requirements.txt
	$(PYTHON) -m venv $(TPU_VENV)
	$(TPU_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(TF215_READY): tests/interop/requirements-tf215.txt
	@test -n "$(PYTHON311)" || { echo "TensorFlow 2.15 needs python3.11; set PYTHON311=..."; exit 1; }
	$(PYTHON311) -m venv $(TF215_VENV)
	$(TF215_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(JAX_READY): tests/interop/requirements-jax.txt
	$(PYTHON) -m venv $(JAX_VENV)
	$(JAX_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# Recordings that the pretraining of the demonstration learns from: training clips of these tasks.
DEMO_TASKS := audioset birdsong tut18 speech_commands_v2 voxforge nsynth_pitch magnatagatune

demo: export HARES_CACHE_DIR = $(DEMO)/cache
demo: $(READY)
	$(BIN)/hares-export --model=log_mel_statistics --overwrite \
		--output=$(DEMO)/log_mel_statistics
	$(BIN)/hares-export --model=slowfast_nfnet_tiny --random_weights --seed=0 --overwrite \
		--name=tiny_random --output=$(DEMO)/tiny_random
	$(BIN)/hares-prepare $(DEMO_TASKS:%=--tasks=mini_%) --overwrite --output=$(DEMO)/clips
	rm -rf $(DEMO)/run
	$(BIN)/hares-pretrain --config=demo --data=$(DEMO)/clips --workdir=$(DEMO)/run
	$(BIN)/hares-export --checkpoint=$(DEMO)/run --overwrite \
		--name=tiny_simclr --output=$(DEMO)/tiny_simclr
	$(BIN)/hares-evaluate --handle=$(DEMO)/log_mel_statistics --handle=$(DEMO)/tiny_random \
		--handle=$(DEMO)/tiny_simclr --tasks=mini --output=$(DEMO)/results
	$(BIN)/hares-report $(DEMO)/results --output=$(DEMO)/report.html

# A file's tests stay together: they share what is expensive. Each process takes about a gigabyte.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

test: $(READY)
	$(PYTEST) -m "not slow"

test-slow: $(READY)
	$(PYTEST) -m slow

# Each environment is built once. No network, or no such wheels, is nothing that can be mended here.
test-interop: $(READY)
	@rm -rf $(INTEROP)
	@$(BIN)/python tests/interop/prepare.py $(INTEROP)
	@if $(MAKE) --no-print-directory $(TF215_READY); \
	then $(MAKE) --no-print-directory test-tf215; \
	else echo "test-interop: TensorFlow 2.15 is skipped, because its environment" \
		"(tests/interop/requirements-tf215.txt) cannot be built here"; fi
	@if $(MAKE) --no-print-directory $(JAX_READY); \
	then $(MAKE) --no-print-directory test-jax; \
	else echo "test-interop: JAX is skipped, because its environment" \
		"(tests/interop/requirements-jax.txt) cannot be built here"; fi

# There: load, fine-tune, export. Back here: load and score what was exported there.
test-tf215 test-jax: export HARES_INTEROP = $(abspath $(INTEROP))
test-tf215:
	$(TF215_VENV)/bin/python -m pytest -p no:cacheprovider tests/interop/old_stack.py
	$(BIN)/python -m pytest -p no:cacheprovider tests/interop/back_home.py

test-jax: export KERAS_BACKEND = jax
test-jax:
	$(JAX_VENV)/bin/python -m pytest -p no:cacheprovider tests/interop/jax_backend.py

# Apache Beam pins much of what else is installed.
BEAM_VENV := .venv-beam
BEAM_READY := $(BEAM_VENV)/.ready

$(BEAM_READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(BEAM_VENV)
	$(BEAM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[dev,beam]'
	@touch $@

test-beam: $(BEAM_READY)
	$(BEAM_VENV)/bin/python -m pytest -k "beam or Beam" \
		tests/data/test_prepare_resume.py tests/evaluation/test_distributed.py

# Installing PyTorch afterwards must leave an environment in which everything imports. The CPU build
# alone is several hundred megabytes.
TORCH ?= torch
TORCH_VENV := .venv-torch
TORCH_READY := $(TORCH_VENV)/.ready

$(TORCH_READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(TORCH_VENV)
	$(TORCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	$(TORCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' pytest
	@touch $@

test-torch: $(TORCH_READY)
	$(TORCH_VENV)/bin/python -m pytest -p no:cacheprovider tests/interop/torch_encoder.py

lint: $(READY) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy hares_tf

# Any warning, such as a link that leads nowhere, is an error.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(BENCH_READY)
	$(BIN)/python benchmarks/speed/log_mel.py
	$(BIN)/python benchmarks/speed/embedding.py
	$(BIN)/python benchmarks/speed/flavors.py
	$(BIN)/python benchmarks/speed/runtimes.py
	$(BIN)/python benchmarks/speed/evaluation.py
	$(BIN)/python benchmarks/speed/store.py
	$(BIN)/python benchmarks/speed/input_pipeline.py
	$(BIN)/python benchmarks/speed/training_step.py
	$(BIN)/python benchmarks/speed/training_run.py
	$(BIN)/python benchmarks/speed/heads.py
	$(BIN)/python benchmarks/speed/fast_protocol.py
	$(BIN)/python benchmarks/speed/shared_cores.py
	$(BIN)/python benchmarks/speed/voxceleb_head.py
	$(BIN)/python benchmarks/speed/memory.py
	$(BIN)/python benchmarks/speed/memory_growth.py

# No network, or no such wheels for this machine, is nothing that this project can mend.
tpu-check: $(READY)
	@if $(MAKE) --no-print-directory $(TPU_READY); \
	then $(MAKE) --no-print-directory tpu-check-steps; \
	else echo "tpu-check is skipped: jax and libtpu (benchmarks/tpu/requirements.txt) cannot be" \
		"installed here"; fi

# The paper's step as eight cores run it; and one that no core can hold, which must be refused.
tpu-check-steps: export TF_CPP_MIN_LOG_LEVEL = 3
tpu-check-steps:
	@mkdir -p $(TPU_OUT)
	@$(BIN)/python benchmarks/tpu/export_step.py --config=slowfast_nfnet_f0_simclr \
		--clips=128 --replicas=8 --output=$(TPU_OUT)/step.mlir
	@$(TPU_VENV)/bin/python benchmarks/tpu/compile_step.py $(TPU_OUT)/step.mlir --replicas=8 \
		--topology=$(TPU_TOPOLOGY) --paper --json=$(TPU_OUT)/step.json
	@$(BIN)/python benchmarks/tpu/export_step.py --config=tests/micro.py \
		--clips=80000 --replicas=8 --output=$(TPU_OUT)/too_large.mlir
	@$(TPU_VENV)/bin/python benchmarks/tpu/compile_step.py $(TPU_OUT)/too_large.mlir --replicas=8 \
		--topology=$(TPU_TOPOLOGY) --expect_too_large

clean:
	rm -rf $(DEMO) .pytest_cache .ruff_cache
