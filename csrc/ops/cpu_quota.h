// The limits that control groups of Linux set to CPU time: those of containers, and of services.
#pragma once

#include <string>

namespace fastseq {

// How many CPUs' time this process may take, rounded up; INT_MAX where nothing limits it. Read once.
int cpu_quota();

// The same by the text of /proc/self/cgroup, `groups`, and the groups' files in the folder `root`.
int cpu_quota_of(const std::string& groups, const std::string& root);

}  // namespace fastseq
