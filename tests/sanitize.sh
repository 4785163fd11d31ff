#!/bin/sh
# Runs the core's tests, in C++ and in Python, under a tool that checks accesses to memory or between threads:
#   sh tests/sanitize.sh asan [PYTEST ARGUMENT ...]   AddressSanitizer and UndefinedBehaviorSanitizer; the default
#   sh tests/sanitize.sh tsan                         ThreadSanitizer, of the C++ tests: Clang with libomp and libarcher
#   sh tests/sanitize.sh valgrind                     memcheck, of the C++ tests except the one of denormals
#   sh tests/sanitize.sh fuzz [LIBFUZZER OPTION ...]  calls of every op with arbitrary arguments: Clang with libFuzzer
# CXX names the compiler.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
tool=${1:-asan}
[ $# -eq 0 ] || shift

build() {
  cmake --preset "$1" -DPython_EXECUTABLE="$(command -v python)" \
    -Dpybind11_DIR="$(python -m pybind11 --cmakedir 2>/dev/null)" >/dev/null
  cmake --build --preset "$1" --parallel 2
}

# The tests of the kernels in Python. Python itself is not built with the sanitizers, so their runtimes come first. In a
# folder where the only fastseq is the instrumented one: Python looks there before it looks anywhere else.
python_tests() {
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  cp -r fastseq "$place/"
  rm -f "$place"/fastseq/*.so
  cp build/asan/libfastseq.so build/asan/_core.*.so "$place/fastseq/"
  cd "$place"
  LD_PRELOAD="$(${CXX:-c++} -print-file-name=libasan.so) $(${CXX:-c++} -print-file-name=libubsan.so)" \
    PYTHONPATH="$place" \
    python -m pytest -q -c "$root/pyproject.toml" --rootdir "$root" \
    "$root"/tests/test_activations.py "$root"/tests/test_adam.py "$root"/tests/test_conv1d.py \
    "$root"/tests/test_conv1d_max_pool.py "$root"/tests/test_dropout.py "$root"/tests/test_embedding.py \
    "$root"/tests/test_pool.py "$root"/tests/test_rnn.py "$root"/tests/test_elementary.py "$root"/tests/test_program.py \
    "$root"/tests/property --ignore "$root/tests/property/test_property_keras.py" \
    -k "not forked and not keras and not tensorflow" -p no:cacheprovider "$@"
}

case $tool in
  asan)
    # What Python and OpenMP leave to the system at the end is not ours; memory that nobody has is tested for.
    export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
    build asan
    (cd build/asan && ctest --output-on-failure)
    python_tests "$@"
    ;;
  tsan)
    # libarcher tells the sanitizer where OpenMP's threads meet; without it, every parallel loop is a race.
    export CXX="${CXX:-clang++}" TSAN_OPTIONS=ignore_noninstrumented_modules=1
    build core-tsan
    # It lies beside the compiler, where the loader does not look. same_bits would take an hour.
    OMP_TOOL_LIBRARIES=$(dirname "$(readlink -f "$(command -v "$CXX")")")/../lib/libarcher.so
    export OMP_TOOL_LIBRARIES
    (cd build/core-tsan && ctest --output-on-failure --exclude-regex same_bits)
    ;;
  valgrind)
    build core
    for subject in memory control_groups checks plans rnn conv1d pool embedding dropout adam; do
      echo "$subject"
      OMP_WAIT_POLICY=passive valgrind -q --error-exitcode=1 "build/core/test_$subject" >/dev/null
    done
    ;;
  fuzz)
    export CXX="${CXX:-clang++}"
    build fuzz
    mkdir -p build/corpus
    OMP_WAIT_POLICY=passive build/fuzz/fuzz_ops -max_len=512 -timeout=10 -rss_limit_mb=2048 "$@" build/corpus
    ;;
  *)
    echo "expected asan, tsan, valgrind or fuzz, got $tool" >&2
    exit 2
    ;;
esac
