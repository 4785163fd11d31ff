// The division of work, teams, barriers and their settings.
#include "runtime/team.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <thread>

#include "check.h"
#include "ops/batch_shards.h"
#include "ops/row_shares.h"
#include "runtime/settings.h"

namespace fastseq::test {
namespace {

TEST(parts_are_all_of_it_and_differ_by_one) {
  for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{64}, (int64_t{1} << 62) + 5})
    for (const int64_t parts : {1, 2, 3, 7, 100}) {
      int64_t next = 0;
      for (int64_t index = 0; index < parts; ++index) {
        const Range range = split(count, parts, index);
        CHECK_EQUAL(range.begin, next);
        const int64_t size = range.end - range.begin;
        CHECK(size == count / parts || size == count / parts + 1);
        next = range.end;
      }
      CHECK_EQUAL(next, count);
    }
}

TEST(every_member_is_called_once_with_its_place) {
  for (const TeamShape& shape : {TeamShape{1, 1, 1}, TeamShape{4, 1, 2}, TeamShape{2, 2, 2}, TeamShape{2, 3, 1}}) {
    std::vector<std::atomic<int>> calls(static_cast<size_t>(shape.threads()));
    std::vector<std::atomic<int>> in_subteam(static_cast<size_t>(shape.threads()));
    const bool complete = run_team(shape, [&](const Team& team) {
      ++calls[static_cast<size_t>(team.rank)];
      ++in_subteam[static_cast<size_t>(team.subteam() * team.subteam_size() + team.rank_in_subteam())];
    });
    CHECK(complete);
    for (const auto& count : calls) CHECK_EQUAL(count.load(), 1);
    for (const auto& count : in_subteam) CHECK_EQUAL(count.load(), 1);
  }
}

TEST(members_meet) {
  constexpr int kRounds = 200;
  const TeamShape shape{2, 2, 2};
  int written[4][kRounds] = {};  // plain: what a barrier fails to order is a race
  std::atomic<bool> missed{false};
  CHECK(run_team(shape, [&](const Team& team) {
    for (int round = 0; round < kRounds; ++round) {
      written[team.rank][round] = round + 1;
      const int partner = team.rank ^ 1;  // of the same group, which is a subteam of its own here
      if (round % 3 == 0)
        team.wait();
      else if (round % 3 == 1)
        team.group().wait();
      else
        team.wait_for_subteam();
      if (written[partner][round] != round + 1) missed = true;
      if (round % 3 == 0 && written[3 - team.rank][round] != round + 1) missed = true;
    }
  }));
  CHECK(!missed);
}

TEST(ranks_by_cpu_are_a_permutation) {
  std::vector<std::atomic<int>> calls(5);
  run_threads(5, [&](const Team& team) {
    team.wait();
    ++calls[static_cast<size_t>(team.by_cpu().rank)];
  });
  for (const auto& count : calls) CHECK_EQUAL(count.load(), 1);
}

#ifdef __linux__
TEST(members_have_cpus_of_their_own) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  for (size_t cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &one);
  constexpr int kRounds = 200;
  int apart = 0;
  for (int round = 0; round < kRounds; ++round) {
    // Brings both threads to the same CPU. Each may leave it afterwards, but the system need not move it.
    CHECK(run_team({2, 1, 1}, [&](const Team&) {
      (void)sched_setaffinity(0, sizeof(one), &one);
      (void)sched_setaffinity(0, sizeof(allowed), &allowed);
    }));
    CHECK(run_team({2, 1, 1}, [&](const Team& team) {
      team.wait();
      if (team.rank == 0 && team.cpus[0] != team.cpus[1]) ++apart;
      cpu_set_t now;
      CPU_ZERO(&now);
      CHECK_EQUAL(sched_getaffinity(0, sizeof(now), &now), 0);
      CHECK(CPU_EQUAL(&now, &allowed));
    }));
  }
  // The system itself may move a thread at any time.
  CHECK(apart > kRounds * 9 / 10);
}
#endif

TEST(a_team_that_openmp_does_not_give_is_not_called) {
  std::atomic<int> refused{0};
  std::atomic<int> single_threaded{0};
  run_threads(2, [&](const Team&) {
    // A nested region has one thread.
    if (!run_team({3, 1, 1}, [&](const Team&) { fail("called in part"); })) ++refused;
    run_threads(3, [&](const Team& team) { single_threaded += team.size; });
  });
  CHECK_EQUAL(refused.load(), 2);
  CHECK_EQUAL(single_threaded.load(), 2);
}

TEST(every_element_is_in_one_part) {
  for (const int64_t count : {0, 1, 2, 1000}) {
    std::vector<int> visits(static_cast<size_t>(count));
    for_each_part(count, 3, [&](const Range& range) {
      for (int64_t i = range.begin; i < range.end; ++i) ++visits[static_cast<size_t>(i)];
    });
    for (const int visit : visits) CHECK_EQUAL(visit, 1);
  }
}

TEST(denormals_are_kept_again_afterwards) {
  volatile float tiny = 1e-40F;
  std::atomic<int> flushed{0};
  run_threads(2, [&](const Team&) { flushed += tiny + 0.0F == 0.0F ? 1 : 0; });
  CHECK_EQUAL(flushed.load(), 2);
  CHECK(tiny + 0.0F != 0.0F);
}

TEST(subteams_divide_threads_and_shards) {
  for (int threads = 1; threads <= 70; ++threads)
    for (int shards = 1; shards <= 64; shards *= 2) {
      const int subteams = subteams_for(threads, shards);
      CHECK_EQUAL(threads % subteams, 0);
      CHECK(subteams <= shards);
      // With no more than this, no thread meets another one.
      if (shards % threads == 0) CHECK_EQUAL(subteams, threads);
      if (threads % shards == 0) CHECK_EQUAL(subteams, shards);
    }
  CHECK_EQUAL(subteams_for(6, 4), 2);
  CHECK_EQUAL(subteams_for(3, 2), 1);
  CHECK_EQUAL(subteams_for(7, 8), 1);
  CHECK_EQUAL(subteams_for(7, 32), 7);
  CHECK_EQUAL(subteams_for(12, 32), 12);
  CHECK_EQUAL(subteams_for(20, 8), 4);
  CHECK_EQUAL(subteams_for(24, 32), 8);
}

TEST(shards_follow_from_sizes) {
  constexpr int64_t kNear = 1000;
  constexpr int64_t kFar = 300 * 1024;
  for (const int64_t batch : {0, 1}) CHECK_EQUAL(batch_shards(batch, 10000, kNear, 4), 1);
  for (const int64_t batch : {2, 20, 64, 127}) CHECK_EQUAL(batch_shards(batch, 10000, kNear, 4), 2);
  CHECK_EQUAL(batch_shards(128, 255, kNear, 4), 1);
  CHECK_EQUAL(batch_shards(128, 1023, kNear, 4), 2);
  CHECK_EQUAL(batch_shards(128, 1024, kNear, 4), 4);
  CHECK_EQUAL(batch_shards(int64_t{1} << 40, int64_t{1} << 40, 0, 4), 64);
  CHECK_EQUAL(batch_shards(255, 100000, kFar, 4), 1);
  CHECK_EQUAL(batch_shards(256, 100000, kFar, 4), 2);
  // All but the first have 16 MB at most.
  CHECK_EQUAL(batch_shards(100000, 100000, 15 * 256 * 1024, 4), 2);
  CHECK_EQUAL(batch_shards(100000, 100000, 17 * 256 * 1024, 4), 1);
  CHECK_EQUAL(batch_shards(100000, 100000, int64_t{1} << 47, 8), 1);
}

TEST(shares_of_rows_meet_within_a_row) {
  const int32_t ids[] = {2, 2, 2, 2, 2, 2, 0, 2};
  int64_t begins[5];
  count_work(ids, 8, 4, 1, begins);
  const int64_t expected[] = {0, 2, 3, 11, 12};
  for (int i = 0; i < 5; ++i) CHECK_EQUAL(begins[i], expected[i]);
  const TableElement first = element_after(0, 4, 64, begins);
  CHECK(first.row == 0 && first.column == 0);
  const TableElement middle = element_after(7, 4, 64, begins);
  CHECK(middle.row == 2 && middle.column == 32);
  const TableElement last = element_after(12, 4, 64, begins);
  CHECK(last.row == 4 && last.column == 0);
}

TEST(threads_are_what_was_asked_for) {
  CHECK_INVALID(set_num_threads(-1), "threads must be 0 or more, got -1");
  require(set_num_threads(5));
  allow_oversubscription(true);
  CHECK_EQUAL(num_threads(), 5);
  CHECK_EQUAL(requested_threads(), 5);
  CHECK_EQUAL(threads_for_operations(0), 1);
  CHECK_EQUAL(threads_for_operations(3.5e7), 3);
  CHECK_EQUAL(threads_for_operations(1e300), 5);
  CHECK_EQUAL(threads_for_bytes(1e300), 5);
  allow_oversubscription(false);
  CHECK(threads_for_bytes(1e300) <= static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
  require(set_num_threads(0));
  CHECK(num_threads() >= 1);
}

TEST(an_isa_is_known_by_its_name) {
  std::string name;
  for (const std::string& available : available_isas()) {
    require(set_isa(available));
    require(isa(&name));
    CHECK_EQUAL(name, available);
  }
  CHECK_EQUAL(available_isas().front(), "scalar");
  const Status unknown = set_isa("AVX2 ");
  CHECK_EQUAL(unknown.message().rfind("isa must be one of scalar", 0), 0U);
  CHECK(unknown.message().find(", got 'AVX2 '") != std::string::npos);
}

}  // namespace
}  // namespace fastseq::test
