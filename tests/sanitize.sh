#!/bin/sh
# Builds with AddressSanitizer and UndefinedBehaviorSanitizer and runs the tests of the kernels in that build.
set -eu
cd "$(dirname "$0")/.."
cmake --preset asan -DPython_EXECUTABLE="$(command -v python)" -Dpybind11_DIR="$(python -m pybind11 --cmakedir)" >/dev/null
cmake --build --preset asan --parallel 2
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cp -r fastseq "$place/"
rm -f "$place"/fastseq/*.so
cp build/asan/libfastseq.so build/asan/_core.*.so "$place/fastseq/"
# Python itself is not built with the sanitizers, so their runtimes come first; its own leaks are not ours.
LD_PRELOAD="$(${CXX:-c++} -print-file-name=libasan.so) $(${CXX:-c++} -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 PYTHONPATH="$place" \
  python -m pytest -q tests/test_adam.py tests/test_conv1d.py tests/test_dropout.py tests/test_embedding.py \
  tests/test_pool.py tests/test_rnn.py tests/property --ignore tests/property/test_property_keras.py \
  -k "not forked and not tensorflow" -p no:cacheprovider "$@"
