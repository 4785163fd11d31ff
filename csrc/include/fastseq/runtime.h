// Threads and ISA of the process: one setting for every framework that uses the core.
#pragma once

#include <string>
#include <vector>

#include "fastseq/status.h"

namespace fastseq {

// The number of threads a call uses at most, where there are as many CPUs: what set_num_threads said or, before that or
// after 0, what OpenMP gives the calling thread (OMP_NUM_THREADS, else the CPUs), or fewer where the process may take
// less CPU time, as in a container. Always 1 in a forked child.
int num_threads();
// threads >= 1, or 0 to follow OpenMP again.
Status set_num_threads(int threads);
// What set_num_threads last said; 0 when OpenMP decides.
int requested_threads();

// From now on, calls may have more threads than there are CPUs (on) or not. For tests: shows what many threads do where
// there are few CPUs.
void allow_oversubscription(bool on);

// The name of the ISA in use. The first call picks: FASTSEQ_ISA from the environment, else the best supported.
// A FASTSEQ_ISA that is unknown or not supported here is an error of every op until set_isa mends it.
Status isa(std::string* name);
Status set_isa(const std::string& name);
std::vector<std::string> available_isas();  // compiled in and supported by this machine, slowest first

struct BuildInfo {
  const char* version;
  const char* compiler;
  const char* build_type;
  const char* openmp;  // the date of the OpenMP specification the compiler follows, yyyymm
  const char* cuda;    // "no" where built without
};
BuildInfo build_info();

}  // namespace fastseq
