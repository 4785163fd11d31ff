// The limits of Linux's control groups on a process, as containers and services set them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace fastseq {

// The control groups of a process, of version 1 and 2. The limits of a group's ancestors hold for it, too.
class ControlGroups {
 public:
  // `groups`: the text of /proc/self/cgroup; `root`: the folder with the files of all groups.
  ControlGroups(std::string groups, std::string root) : groups_(std::move(groups)), root_(std::move(root)) {}
  static ControlGroups of_this_process();

  // The limit of CPU time, as a number of CPUs, rounded up; INT_MAX where there is none.
  int cpus() const;
  // The limit of memory; UINT64_MAX where there is none.
  uint64_t memory_bytes() const;

 private:
  // The least result of read(folder, unified) over the groups that have the controller; `unified` groups are those of
  // version 2.
  template <class Number, class Read>
  Number least(const std::string& controller, Number unlimited, const Read& read) const;

  std::string groups_;
  std::string root_;
};

}  // namespace fastseq
