// What a process may take of the machine by Linux's control groups: the limits of containers, and of services.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace fastseq {

// A process's groups, of version 1 and 2. Each is limited by those that it is in, too.
class ControlGroups {
 public:
  // `groups`: the text of /proc/self/cgroup; `root`: the folder of all groups' files.
  ControlGroups(std::string groups, std::string root) : groups_(std::move(groups)), root_(std::move(root)) {}
  static ControlGroups of_this_process();

  // How many CPUs' time, rounded up; INT_MAX where nothing limits it.
  int cpus() const;
  // How much memory; UINT64_MAX where nothing limits it.
  uint64_t memory_bytes() const;

 private:
  // The least of what read(folder, unified) says of the groups that have a controller; unified: those of version 2.
  template <class Number, class Read>
  Number least(const std::string& controller, Number unlimited, const Read& read) const;

  std::string groups_;
  std::string root_;
};

}  // namespace fastseq
