// Finds and loads cuBLAS.
#include "cublas.h"

#include <dlfcn.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/checks.h"
#include "fastseq/cuda.h"

namespace fastseq::cuda {
namespace {

constexpr const char* kNames[] = {"libcublas.so.13", "libcublas.so.12"};

std::mutex g_mutex;
std::vector<std::string> g_folders;
std::unique_ptr<const Cublas> g_functions;

void* open_library(std::string* looked_for) {
  // The library that PyTorch or CuPy has loaded, if any: a second one would take as much memory again.
  for (const char* name : kNames)
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) return library;
  std::vector<std::string> candidates(std::begin(kNames), std::end(kNames));
  for (const std::string& folder : g_folders)
    for (const char* name : kNames) candidates.push_back(folder + "/" + name);
  for (const std::string& candidate : candidates) {
    if (void* library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    *looked_for += (looked_for->empty() ? "" : ", ") + candidate;
  }
  return nullptr;
}

template <class Function>
Status find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function ? Status() : Status::unavailable(std::string("this cuBLAS has no ") + name);
}

}  // namespace

void look_for_libraries_in(const std::vector<std::string>& folders) {
  const std::lock_guard<std::mutex> lock(g_mutex);
  g_folders = folders;
}

Status load_cublas(const Cublas** functions) {
  const std::lock_guard<std::mutex> lock(g_mutex);
  if (!g_functions) {
    std::string looked_for;
    void* library = open_library(&looked_for);
    if (!library)
      return Status::unavailable("cuBLAS is not here; looked for " + looked_for +
                                 "; it comes with the CUDA toolkit and as the PyPI package nvidia-cublas");
    Cublas found = {};
    FASTSEQ_RETURN_IF_ERROR(find(library, "cublasCreate_v2", &found.create));
    FASTSEQ_RETURN_IF_ERROR(find(library, "cublasSetStream_v2", &found.set_stream));
    FASTSEQ_RETURN_IF_ERROR(find(library, "cublasSetWorkspace_v2", &found.set_workspace));
    FASTSEQ_RETURN_IF_ERROR(find(library, "cublasSetMathMode", &found.set_math_mode));
    FASTSEQ_RETURN_IF_ERROR(find(library, "cublasSgemm_v2_64", &found.sgemm));
    g_functions = std::make_unique<const Cublas>(found);
  }
  *functions = g_functions.get();
  return {};
}

}  // namespace fastseq::cuda
