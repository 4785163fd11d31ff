#include "cpu_quota.h"

#include <algorithm>
#include <climits>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>

namespace fastseq {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Of "quota period", in microseconds; no number, or none above 0, is no limit.
int cpus_of(const std::string& text) {
  std::istringstream stream(text);
  int64_t quota = 0;
  int64_t period = 0;
  if (!(stream >> quota >> period) || quota <= 0 || period <= 0) return INT_MAX;
  return static_cast<int>(std::min<int64_t>((quota - 1) / period + 1, INT_MAX));
}

int limit_of_group(const std::string& folder, bool unified) {
  if (unified) return cpus_of(text_of(folder + "/cpu.max"));
  return cpus_of(text_of(folder + "/cpu.cfs_quota_us") + " " + text_of(folder + "/cpu.cfs_period_us"));
}

bool contains(const std::string& list, const std::string& item) {
  return ("," + list + ",").find("," + item + ",") != std::string::npos;
}

}  // namespace

int cpu_quota_of(const std::string& groups, const std::string& root) {
  int least = INT_MAX;
  std::istringstream lines(groups);
  std::string line;
  while (std::getline(lines, line)) {  // number:controllers:/path, of version 2 without controllers
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    const bool unified = controllers.empty();
    if (!unified && !contains(controllers, "cpu")) continue;
    // Of a group outside of the container we know nothing.
    if (path.find('/') != 0 || path.find("..") != std::string::npos) continue;
    const std::string top = unified ? root : root + "/cpu";
    // Every group is limited by those that it is in. In a container the path may be the host's, of which only the last
    // one is to be seen, as the top.
    for (;; path.erase(path.rfind('/'))) {
      least = std::min(least, limit_of_group(top + path, unified));
      if (path.empty()) break;
    }
  }
  return least;
}

int cpu_quota() {
  static const int quota = cpu_quota_of(text_of("/proc/self/cgroup"), "/sys/fs/cgroup");
  return quota;
}

}  // namespace fastseq
