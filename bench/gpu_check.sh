#!/usr/bin/env bash
# Checks fastseq on a machine with an NVIDIA GPU: builds it in a separate folder, runs the tests of the CUDA path, some of
# them also under NVIDIA's compute-sanitizer, and then the benchmarks. Needs Python with NumPy and PyTorch, nvcc, CMake,
# a C++ compiler, and pytest for the tests; no TensorFlow, no Keras, no network. If a stage fails, the next ones run
# nevertheless, and the exit status is not 0.
#
#   bash bench/gpu_check.sh [FOLDER]      # default: build/gpu; the results of the benchmarks are FOLDER/*.json
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$source/build/gpu}
python=$(command -v "${PYTHON:-python3}")
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
for program in nvcc cmake c++; do
  command -v "$program" >/dev/null || { echo "gpu_check: $program is not here" >&2; exit 2; }
done

echo "== build"
if ! pybind11=$("$python" -m pybind11 --cmakedir 2>/dev/null); then
  # PyTorch comes with pybind11's headers.
  pybind11=$folder/pybind11
  headers=$("$python" -c "import pathlib, torch; print(pathlib.Path(torch.__file__).parent / 'include')")
  mkdir -p "$pybind11"
  cat >"$pybind11/pybind11Config.cmake" <<CMAKE
function(pybind11_add_module name)
  python_add_library(\${name} MODULE WITH_SOABI \${ARGN})
  target_include_directories(\${name} SYSTEM PRIVATE "$headers")
endfunction()
CMAKE
fi
architecture=$("$python" -c "import torch; print('%d%d' % torch.cuda.get_device_capability())")
cmake -S "$source" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DFASTSEQ_CUDA=ON \
  -DCMAKE_CUDA_ARCHITECTURES="$architecture" -DPython_EXECUTABLE="$python" \
  -Dpybind11_DIR="$pybind11" -DSKBUILD_PROJECT_VERSION=0.0.0 -DSKBUILD_PROJECT_VERSION_FULL=0.0.0
cmake --build "$folder" --parallel "$(nproc)"
rm -rf "$folder/site"
mkdir "$folder/site"
cp -r "$source/fastseq" "$folder/site/"
rm -f "$folder"/site/fastseq/*.so
cp "$folder"/libfastseq.so "$folder"/libfastseq_cuda.so "$folder"/_core.*.so "$folder"/_cuda.*.so "$folder/site/fastseq/"
# Python imports from the current folder first, so that must not be the source tree.
cd "$folder/site"
export PYTHONPATH=$folder/site
"$python" -c "
from fastseq import cuda
print(cuda.unavailable_because() or cuda.device_info())
raise SystemExit(not cuda.is_available())"

failed=""
stage() {
  echo "== $1"
  "${@:2}" || failed+=" $1;"
}

if "$python" -c "import pytest" 2>/dev/null; then
  # -W default: warnings of PyTorch do not fail the tests.
  tests=("$python" -m pytest -q -p no:cacheprovider -W default -c "$source/pyproject.toml" --rootdir "$source")
  stage "tests" "${tests[@]}" "$source"/tests/test_cuda*.py
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck synccheck; do
      # Only fastseq's kernels are checked. PyTorch makes calls that fail with some drivers, which is no error here.
      stage "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 9 --report-api-errors no \
        --kernel-regex kns=fastseq --target-processes all "${tests[@]}" -m cuda "$source"/tests/test_cuda*.py \
        -k "(float32 or stream or 33 or 129 or many_rows) and not gates_dropout"
    done
  else
    echo "== compute-sanitizer is not here"
  fi
else
  echo "== no tests: pytest is not here"
  failed+=" tests;"
fi

bench=("$python" "$source/bench/bench_cuda.py")
stage "benchmark" "${bench[@]}" --out "$folder/models.json"
stage "benchmark, TF32" "${bench[@]}" --precision tf32 --out "$folder/models-tf32.json"
# cuDNN has no recurrent layers in bfloat16 before 9.13.
stage "benchmark, float16" "${bench[@]}" --dtype float16 --precision tf32 --out "$folder/models-float16.json"
stage "benchmark, grid" "${bench[@]}" --grid --rounds 10 --out "$folder/grid.json"
if [ -n "$failed" ]; then
  echo "failed:$failed" >&2
  exit 1
fi
