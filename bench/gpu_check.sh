#!/usr/bin/env bash
# Checks fastseq on a machine with an NVIDIA GPU: builds it in a folder of its own, runs the tests of the CUDA path there
# and, over a few of them, NVIDIA's compute-sanitizer, then the benchmarks. Needs Python with NumPy, PyTorch and pytest, nvcc,
# CMake and a C++ compiler; no TensorFlow, no Keras, no network.
#
#   bash bench/gpu_check.sh [FOLDER]      # default: build/gpu; what the benches measured ends in FOLDER/*.json
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$source/build/gpu}
python=${PYTHON:-python3}

echo "== build"
mkdir -p "$folder"
if ! pybind11=$("$python" -m pybind11 --cmakedir 2>/dev/null); then
  # PyTorch has its headers.
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
cmake -S "$source" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DFASTSEQ_CUDA=ON -DFASTSEQ_WERROR=ON \
  -DCMAKE_CUDA_ARCHITECTURES="$architecture" -DPython_EXECUTABLE="$(command -v "$python")" \
  -Dpybind11_DIR="$pybind11" -DSKBUILD_PROJECT_VERSION=0.0.0 -DSKBUILD_PROJECT_VERSION_FULL=0.0.0
cmake --build "$folder" --parallel "$(nproc)"
rm -rf "$folder/site"
mkdir "$folder/site"
cp -r "$source/fastseq" "$folder/site/"
rm -f "$folder"/site/fastseq/*.so
cp "$folder"/libfastseq.so "$folder"/libfastseq_cuda.so "$folder"/_core.*.so "$folder"/_cuda.*.so "$folder/site/fastseq/"
export PYTHONPATH=$folder/site

echo "== tests"
"$python" -c "from fastseq import cuda; print(cuda.unavailable_because() or cuda.device_info())"
tests=("$python" -m pytest -q -p no:cacheprovider -c "$source/pyproject.toml" --rootdir "$source" "$source/tests/test_cuda.py")
"${tests[@]}"

echo "== compute-sanitizer"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    # PyTorch probes for what a driver may lack, which is no error of ours.
    compute-sanitizer --tool "$tool" --error-exitcode 9 --report-api-errors no --target-processes all \
      "${tests[@]}" -m cuda -k "float32 or stream"
  done
else
  echo "compute-sanitizer is not here"
fi

echo "== benchmarks"
"$python" "$source/bench/bench_cuda.py" --out "$folder/models.json"
"$python" "$source/bench/bench_cuda.py" --precision tf32 --out "$folder/models-tf32.json"
"$python" "$source/bench/bench_cuda.py" --dtype bfloat16 --precision tf32 --out "$folder/models-bfloat16.json"
"$python" "$source/bench/bench_cuda.py" --grid --rounds 10 --out "$folder/grid.json"
