// Records spans while a trace is taken (fastseq/trace.h). Else it costs a load of a flag.
#pragma once

#include <atomic>
#include <cstdint>

#include "fastseq/trace.h"

namespace fastseq {

extern std::atomic<bool> tracing;

// The CPU on which the thread runs; 0 where the system does not tell.
int current_cpu();

// Records the time from its construction to its destruction.
class SpanRecorder {
 public:
  SpanRecorder(Span::Kind kind, int rank) : active_(tracing.load(std::memory_order_relaxed)) {
    if (active_) begin(kind, rank);
  }
  ~SpanRecorder() {
    if (active_) end();
  }
  SpanRecorder(const SpanRecorder&) = delete;
  SpanRecorder& operator=(const SpanRecorder&) = delete;

 private:
  void begin(Span::Kind kind, int rank);
  void end();

  const bool active_;
  Span span_;
};

}  // namespace fastseq
