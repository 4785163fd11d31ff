// The limits of control groups, read from folders like those of Linux.
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "runtime/control_groups.h"

namespace {

using namespace fastseq;
using namespace fastseq::test;
namespace fs = std::filesystem;

class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("fastseq-groups-" + std::to_string(getpid()))) {
    fs::create_directory(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

TEST(nothing_limits_where_there_are_no_groups) {
  const Folder root;
  for (const char* groups :
       {"", "\n", "nonsense\n", "0:\n", "0::a\n", "0::/\n", "0::/a/b\n", "2:cpuacct:/\n", "1:cpu:/a\n"})
    CHECK_EQUAL(ControlGroups(groups, root.path()).cpus(), INT_MAX);
  CHECK(ControlGroups::of_this_process().cpus() >= 1);
}

TEST(version_2_has_quota_and_period_in_one_file) {
  const Folder root;
  const auto quota = [&](const char* text) {
    root.write("cpu.max", text);
    return ControlGroups("0::/\n", root.path()).cpus();
  };
  CHECK_EQUAL(quota("200000 100000\n"), 2);
  CHECK_EQUAL(quota("200001 100000\n"), 3);
  CHECK_EQUAL(quota("1000 100000\n"), 1);
  CHECK_EQUAL(quota("9223372036854775807 1\n"), INT_MAX);
  for (const char* unlimited :
       {"max 100000\n", "", "100000", "0 100000", "-1 100000", "100000 0", "99999999999999999999 1"})
    CHECK_EQUAL(quota(unlimited), INT_MAX);
}

TEST(the_least_of_a_group_and_those_it_is_in) {
  const Folder root;
  root.write("a/b/cpu.max", "400000 100000");
  root.write("a/cpu.max", "max 100000");
  CHECK_EQUAL(ControlGroups("0::/a/b\n", root.path()).cpus(), 4);
  root.write("a/cpu.max", "300000 100000");
  CHECK_EQUAL(ControlGroups("0::/a/b\n", root.path()).cpus(), 3);
  CHECK_EQUAL(ControlGroups("0::/a\n", root.path()).cpus(), 3);
  // The host's path, where the container sees its own group as the top.
  root.write("cpu.max", "200000 100000");
  CHECK_EQUAL(ControlGroups("0::/docker/1234\n", root.path()).cpus(), 2);
  CHECK_EQUAL(ControlGroups("0::/../other\n", root.path()).cpus(), INT_MAX);
}

TEST(version_1_has_a_controller_for_it) {
  const Folder root;
  root.write("cpu/docker/cpu.cfs_quota_us", "150000\n");
  root.write("cpu/docker/cpu.cfs_period_us", "100000\n");
  root.write("cpu/cpu.cfs_quota_us", "-1\n");
  root.write("cpu/cpu.cfs_period_us", "100000\n");
  const std::string groups = "5:cpuset:/\n4:cpu,cpuacct:/docker\n0::/\n";
  CHECK_EQUAL(ControlGroups(groups, root.path()).cpus(), 2);
  root.write("cpu/docker/cpu.cfs_quota_us", "-1\n");
  CHECK_EQUAL(ControlGroups(groups, root.path()).cpus(), INT_MAX);
}

TEST(memory_is_limited_likewise) {
  const Folder root;
  const auto bytes = [&](const char* groups) { return ControlGroups(groups, root.path()).memory_bytes(); };
  CHECK_EQUAL(bytes("0::/a/b\n"), UINT64_MAX);
  root.write("memory.max", "max\n");
  root.write("a/b/memory.max", "4096\n");
  CHECK_EQUAL(bytes("0::/a/b\n"), 4096U);
  CHECK_EQUAL(bytes("0::/a\n"), UINT64_MAX);
  root.write("a/memory.max", "0\n");
  CHECK_EQUAL(bytes("0::/a/b\n"), 0U);
  root.write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("memory/docker/memory.limit_in_bytes", "1048576\n");
  CHECK_EQUAL(bytes("6:memory:/docker\n5:cpu:/docker\n"), 1048576U);
  CHECK_EQUAL(bytes("6:cpuset:/docker\n"), UINT64_MAX);
}

}  // namespace
