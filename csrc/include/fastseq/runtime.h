// Settings of the process: the number of threads and the instruction set (ISA), for all frameworks that use the core.
#pragma once

#include <string>
#include <vector>

#include "fastseq/status.h"

namespace fastseq {

// The largest number of threads of a call: the number given to set_num_threads or, where none or 0 was given, OpenMP's
// for the calling thread (OMP_NUM_THREADS, else the number of CPUs), or fewer where the CPU time of the process is
// limited, as in a container. A call has no more threads than there are CPUs. Always 1 in a forked child.
int num_threads();
// threads >= 1, or 0 to follow OpenMP again.
Status set_num_threads(int threads);
// The number last given to set_num_threads; 0 where OpenMP decides.
int requested_threads();

// While it exists, num_threads() is this number for the calls of the thread that has made it, instead of the process's;
// 0 changes nothing. A forked child still has 1.
class ThreadsOfCalls {
 public:
  explicit ThreadsOfCalls(int threads);
  ~ThreadsOfCalls();
  ThreadsOfCalls(const ThreadsOfCalls&) = delete;
  ThreadsOfCalls& operator=(const ThreadsOfCalls&) = delete;

 private:
  int before_;
};

// Sets whether calls may have more threads than there are CPUs. For tests with many threads on few CPUs.
void allow_oversubscription(bool on);

// The name of the ISA in use. The first call chooses it: FASTSEQ_ISA from the environment, else the best supported.
// If FASTSEQ_ISA is unknown or not supported by this machine, every op fails until set_isa is called.
Status isa(std::string* name);
Status set_isa(const std::string& name);
std::vector<std::string> available_isas();  // compiled in and supported by this machine, slowest first

struct BuildInfo {
  const char* version;
  const char* compiler;
  const char* build_type;
  const char* openmp;  // the date of the OpenMP specification that the compiler follows, yyyymm
  const char* cuda;    // "no" where built without CUDA
};
BuildInfo build_info();

}  // namespace fastseq
