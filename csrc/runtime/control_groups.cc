#include "control_groups.h"

#include <algorithm>
#include <climits>
#include <fstream>
#include <iterator>
#include <sstream>

namespace fastseq {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The number of CPUs from "quota period", both in microseconds. There is no limit unless both are numbers above 0.
int cpus_of(const std::string& text) {
  std::istringstream stream(text);
  int64_t quota = 0;
  int64_t period = 0;
  if (!(stream >> quota >> period) || quota <= 0 || period <= 0) return INT_MAX;
  return static_cast<int>(std::min<int64_t>((quota - 1) / period + 1, INT_MAX));
}

// The number in the text; without one, such as in "max", there is no limit.
uint64_t bytes_of(const std::string& text) {
  std::istringstream stream(text);
  uint64_t bytes = 0;
  return stream >> bytes ? bytes : UINT64_MAX;
}

bool contains(const std::string& list, const std::string& item) {
  return ("," + list + ",").find("," + item + ",") != std::string::npos;
}

}  // namespace

ControlGroups ControlGroups::of_this_process() { return {text_of("/proc/self/cgroup"), "/sys/fs/cgroup"}; }

template <class Number, class Read>
Number ControlGroups::least(const std::string& controller, Number unlimited, const Read& read) const {
  Number least = unlimited;
  std::istringstream lines(groups_);
  std::string line;
  while (std::getline(lines, line)) {  // "number:controllers:/path"; version 2 has no controllers there
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    const bool unified = controllers.empty();
    if (!unified && !contains(controllers, controller)) continue;
    // A group outside of the container cannot be read.
    if (path.find('/') != 0 || path.find("..") != std::string::npos) continue;
    const std::string top = unified ? root_ : root_ + "/" + controller;
    // In a container the path may be the host's. Then only its last group can be read, at the top.
    for (;; path.erase(path.rfind('/'))) {
      least = std::min(least, read(top + path, unified));
      if (path.empty()) break;
    }
  }
  return least;
}

int ControlGroups::cpus() const {
  return least("cpu", INT_MAX, [](const std::string& folder, bool unified) {
    return cpus_of(unified ? text_of(folder + "/cpu.max")
                           : text_of(folder + "/cpu.cfs_quota_us") + " " + text_of(folder + "/cpu.cfs_period_us"));
  });
}

uint64_t ControlGroups::memory_bytes() const {
  return least("memory", UINT64_MAX, [](const std::string& folder, bool unified) {
    return bytes_of(text_of(folder + (unified ? "/memory.max" : "/memory.limit_in_bytes")));
  });
}

}  // namespace fastseq
