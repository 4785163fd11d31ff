// A GPU as the device that handlers compute on. XLA provides the stream and the scratch memory of a call.
#pragma once

#include <cstdint>

#include "call.h"
#include "fastseq/cuda.h"

namespace fastseq::xla {

class Gpu {
 public:
  explicit Gpu(const CallFrame& frame) : frame_(frame) {
    GetStream arguments{{sizeof(GetStream), nullptr}, frame.context, nullptr};
    check(frame.api->get_stream(&arguments), "has no stream");
    stream_ = arguments.stream;
  }

  // XLA makes the stream's device current during a call.
  template <class Operation>
  Status plan(Operation& operation) const {
    return operation.make_plan(cuda::Precision::kFloat32);
  }

  template <class Operation>
  Status run(const Operation& operation) const {
    if (operation.plan.scratch_bytes == 0) return operation.run(nullptr, stream_);
    // Plans ask for scratch aligned to 256 bytes, and XLA grants 16 at most.
    constexpr size_t kAlignment = 256;
    const size_t bytes = operation.plan.scratch_bytes + kAlignment;
    AllocateDeviceMemory arguments{{sizeof(AllocateDeviceMemory), nullptr}, frame_.context, bytes, 16, nullptr};
    check(frame_.api->allocate_device_memory(&arguments), "has no memory for scratch");
    const auto address = (reinterpret_cast<uintptr_t>(arguments.data) + kAlignment - 1) / kAlignment * kAlignment;
    const Status status = operation.run(reinterpret_cast<void*>(address), stream_);
    // XLA frees the memory in the order of the stream, so that work that is queued already can still use it.
    FreeDeviceMemory given_back{{sizeof(FreeDeviceMemory), nullptr}, frame_.context, bytes, arguments.data};
    check(frame_.api->free_device_memory(&given_back), "does not take scratch back");
    return status;
  }

 private:
  void check(Error* error, const char* what) const {
    if (!error) return;
    DestroyError arguments{{sizeof(DestroyError), nullptr}, error};
    frame_.api->destroy_error(&arguments);
    throw CallError(ErrorCode::kInternal, std::string("XLA ") + what);
  }

  const CallFrame& frame_;
  cuda::Stream stream_ = nullptr;
};

}  // namespace fastseq::xla
