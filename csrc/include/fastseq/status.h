// Status, by which the core reports errors. It is a return value: no exception may pass through the C callbacks of a
// framework or out of a parallel region.
#pragma once

#include <string>
#include <utility>

namespace fastseq {

enum class StatusCode { kOk, kInvalidArgument, kInvalidDtype, kOutOfMemory, kUnavailable };

class Status {
 public:
  Status() = default;
  static Status invalid_argument(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }
  static Status invalid_dtype(std::string message) { return {StatusCode::kInvalidDtype, std::move(message)}; }
  static Status out_of_memory(std::string message) { return {StatusCode::kOutOfMemory, std::move(message)}; }
  // The machine lacks a device or library that the op needs, or the device failed.
  static Status unavailable(std::string message) { return {StatusCode::kUnavailable, std::move(message)}; }
  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// Evaluates an expression of type Status; returns it from the enclosing function if it is an error.
#define FASTSEQ_RETURN_IF_ERROR(expression)   \
  do {                                        \
    ::fastseq::Status status_ = (expression); \
    if (!status_.ok()) return status_;        \
  } while (false)

}  // namespace fastseq
