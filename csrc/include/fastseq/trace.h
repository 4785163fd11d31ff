// A record of what the threads of teams do and when, for those who look for lost time (bench/timeline.py).
#pragma once

#include <cstdint>
#include <vector>

namespace fastseq {

// What a thread did from one time to another. Times are nanoseconds of the system's monotonic clock.
struct Span {
  enum class Kind { kWork, kWait };  // its part of an operation; within that, a wait for other threads

  Kind kind;
  int64_t thread;  // the system's number of the thread
  int rank;        // in the team; -1 for a wait
  int64_t begin;
  int64_t end;
  int first_cpu;
  int last_cpu;
  int64_t page_faults;  // of this thread, without those that read a disk
};

// Begins to record up to `capacity` spans; what was recorded before is lost. No operation may run at this time.
void start_tracing(int64_t capacity);
// Ends it and returns the spans in the order of their ends. No operation may run at this time. `lost` becomes the
// number of spans for which there was no room.
std::vector<Span> stop_tracing(int64_t* lost);

}  // namespace fastseq
