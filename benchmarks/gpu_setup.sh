#!/usr/bin/env bash
# Build the engine beside the sources, for a machine that has no fastlstm and no network; then
# PYTHONPATH=src is enough. `import fastlstm` needs the engine, on a GPU too. It takes CMake, ninja,
# a C++ compiler, Python's headers and nanobind. Usage: bash benchmarks/gpu_setup.sh [PYTHON]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${1:-python3}

if PYTHONPATH=src "$python" -c "import fastlstm" 2>/dev/null; then
  echo "fastlstm can be imported: nothing to build"
  exit 0
fi
PATH=$(dirname "$(command -v "$python")"):$PATH  # CMake and ninja may be Python packages
build=build/gpu-setup
mkdir -p build
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DSKBUILD_PROJECT_VERSION_FULL="$version" \
  -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" \
  -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" >"$build.log" 2>&1 ||
  { cat "$build.log" >&2; exit 1; }
cmake --build "$build" --target _engine >>"$build.log" 2>&1 || { tail -30 "$build.log" >&2; exit 1; }
cp "$build"/_engine*.so src/fastlstm/
PYTHONPATH=src "$python" -c "import fastlstm; print('built fastlstm', fastlstm.__version__)"
