PYTHON ?= python3
# Tests run in this many processes; each keeps to one thread, so that they do not fight for cores.
WORKERS ?= 2

bin := .venv/bin
pip := $(bin)/python -m pip
stamp := .venv/.setup-is-current
bench_stamp := .venv/.bench-is-current
engine_sources := CMakeLists.txt $(shell find csrc -type f)
cxx_sources := $(shell find csrc tests/native -name '*.cpp' -o -name '*.h')
one_thread := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo bench test test-all native sanitize arm64 lint types format clean

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(stamp) ## Make .venv with the pinned versions and build the engine into it

$(bin)/python:
	$(PYTHON) -m venv .venv

# The build tools live in .venv and the build is not isolated: constraints.txt then pins them too,
# and a changed kernel recompiles alone.
$(stamp): pyproject.toml constraints.txt $(engine_sources) | $(bin)/python
	$(pip) install -c constraints.txt cmake ninja nanobind scikit-build-core
	$(pip) install -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@

demo: setup ## Train a classifier of handwritten digits and show its score
	$(bin)/fastlstm train classify digits --epochs 15

# `make bench BENCH="--quick"` measures a part; `.venv/bin/python -m benchmarks --help` lists them.
bench: setup $(bench_stamp) ## Measure the speed beside other libraries; let nothing else run
	$(bin)/python -m benchmarks $(BENCH)

$(bench_stamp): $(stamp)
	$(pip) install -c constraints.txt --no-build-isolation -e '.[bench]'
	touch $@

test: setup ## Run the tests
	$(one_thread) $(bin)/python -m pytest -n $(WORKERS)

test-all: setup ## Run the tests and the heavy ones with them
	$(one_thread) $(bin)/python -m pytest -n $(WORKERS) -m "heavy or not heavy"

# $(call build_native,FOLDER,OPTIONS): the engine and its C++ tests, into build/FOLDER.
build_native = $(bin)/cmake -S . -B build/$(1) -G Ninja -DCMAKE_BUILD_TYPE=Release \
	-DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(bin)/ninja -DFASTLSTM_NATIVE_TESTS=ON $(2) \
	&& $(bin)/cmake --build build/$(1)
# Memory that is kept and larger than was asked for hides what is written beyond its end.
exact = -DFASTLSTM_EXACT_SCRATCH=ON
# Few CPUs have the tile registers of AMX; OFF runs the tests on the CPU's own.
EMULATE_TILES ?= ON
tiles = -DFASTLSTM_EMULATE_TILES=$(EMULATE_TILES)
native_tests = tests/native/native_tests

native: setup ## Run the C++ tests of the engine
	$(call build_native,native,$(exact) $(tiles))
	build/native/$(native_tests)

# The module too: how it is called wrongly is tested from Python, where most leaks are Python's own.
comma := ,
with_module = -DSKBUILD_PROJECT_VERSION_FULL=0 \
	-DPython_EXECUTABLE=$(CURDIR)/$(bin)/python \
	-Dnanobind_DIR=$$($(bin)/python -m nanobind --cmake_dir)

# Python knows neither; the sanitizer looks for the second one's functions when it starts.
preloaded = $(shell $(CXX) -print-file-name=libasan.so) $(shell $(CXX) -print-file-name=libstdc++.so)

sanitize: setup ## Run the tests of the engine under the sanitizers of GCC
	$(call build_native,address,-DFASTLSTM_SANITIZE=address$(comma)undefined $(exact) $(tiles) $(with_module))
	build/address/$(native_tests)
	$(one_thread) ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$(preloaded)" \
		PYTHONPATH=tests/native FASTLSTM_ENGINE_FOLDER=build/address \
		$(bin)/python -m pytest -p engine_from_folder \
		tests/test_engine_bindings.py \
		tests/test_plain.py tests/test_plain_scan.py
	$(call build_native,thread,-DFASTLSTM_SANITIZE=thread $(tiles))
	build/thread/$(native_tests)

qemu_arm64 = $(shell command -v qemu-aarch64-static || command -v qemu-aarch64)

arm64: setup ## Run the C++ tests of the engine for 64-bit Arm, on an emulator
	@if [ -z "$(qemu_arm64)" ] || ! command -v aarch64-linux-gnu-g++ >/dev/null; then \
		echo "make arm64 needs a cross compiler and an emulator; on Debian or Ubuntu:" \
			"apt-get install g++-aarch64-linux-gnu qemu-user-static" >&2; \
		exit 1; \
	fi
	$(call build_native,arm64,-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
		-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ $(exact))
	$(qemu_arm64) -L /usr/aarch64-linux-gnu build/arm64/$(native_tests)

lint: setup ## Check style and format
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/clang-format --dry-run --Werror $(cxx_sources)

types: setup ## Check the types
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(bin)/pyright --warnings

format: setup ## Put the code in format
	$(bin)/ruff check --fix .
	$(bin)/ruff format .
	$(bin)/clang-format -i $(cxx_sources)

clean: ## Remove what was built, .venv too
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
