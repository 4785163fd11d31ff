// Makes an XLA handler for each operation of a list, from the statement of the operation's contract (statement.h).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "call.h"
#include "fastseq/memory.h"
#include "fastseq/operation_list.h"

namespace fastseq::xla {

// A CPU as the device that handlers compute on. The class for a GPU is in csrc/xla/gpu_device.h.
struct Cpu {
  explicit Cpu(const CallFrame&) {}
  template <class Operation>
  Status plan(Operation& operation) const {
    return operation.make_plan();
  }
  template <class Operation>
  Status run(const Operation& operation) const {
    const Memory scratch(operation.plan.scratch_bytes);
    return operation.run(scratch.get());
  }
};

template <class Operation, class Device>
Error* handle(CallFrame* frame) noexcept {
  return guarded(*frame, [&] {
    if (answer_metadata(*frame)) return;
    Call call(*frame);
    Operation operation;
    const auto read = [&](const auto& what, auto& value) { call.read(what, value); };
    operation.for_each_option(read);
    operation.for_each_input(read);
    const Device device(*frame);
    throw_if_error(device.plan(operation));
    operation.for_each_output(
        [&](const Output& output, Array& array, const Array& like) { call.next_result(output, like, &array); });
    call.finish();
    throw_if_error(device.run(operation));
  });
}

// The handlers of a list of operations, by the operations' names.
template <class Device, class... All>
std::vector<std::pair<std::string, Handler*>> handlers(OperationList<All...>) {
  return {{All::name(), &handle<All, Device>}...};
}

}  // namespace fastseq::xla
