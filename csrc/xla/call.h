// One call of a handler: reads its buffers as the core's arrays and its attributes as options, returns errors to XLA.
//
// The call's arguments are the operation's arrays that are present, in the order of the statement (statement.h). The
// attribute "present" has a bit for each array; the lowest bit is the first array's. Options and numbers are attributes
// with the same names. The call's results are the operation's results that are wanted. Arrays that forward saves for
// backward are raw bytes, as on TensorFlow.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "fastseq/array.h"
#include "fastseq/names.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"
#include "ffi.h"

namespace fastseq::xla {

// An exception within a handler; the handler returns it to XLA as an error.
struct CallError : std::runtime_error {
  CallError(ErrorCode the_code, const std::string& message) : std::runtime_error(message), code(the_code) {}
  const ErrorCode code;
};

inline CallError internal_error(const std::string& message) {
  return {ErrorCode::kInternal, message + ": the program was not made by this version of fastseq"};
}

void throw_if_error(const Status& status);

class Call {
 public:
  // Throws if the call is not an execution, or if an argument or a result is not a buffer.
  explicit Call(const CallFrame& frame);

  const CallFrame& frame() const { return frame_; }

  // Reads the next array, or a number.
  void read(const Input& input, Array& array);
  template <class Number>
  void read(const Input& input, Number& number) {
    read(input.name, number);
  }

  // Reads an option.
  void read(const char* name, bool& option) { option = scalar<bool>(name, DataType::kPred); }
  void read(const char* name, double& option) { option = scalar<double>(name, DataType::kF64); }
  void read(const char* name, int64_t& option) { option = scalar<int64_t>(name, DataType::kS64); }
  template <class Option, class = std::enable_if_t<std::is_enum_v<Option>>>
  void read(const char* name, Option& option) {
    throw_if_error(parse_option(name, text(name), &option));
  }

  // Sets *array to the next result, which must have the shape and dtype of `like`. Does nothing if it is not wanted.
  void next_result(const Output& output, const Array& like, Array* array);

  // Throws if there are arguments, results or attributes that have not been read.
  void finish() const;

 private:
  const void* attribute(const char* name, AttributeType type);
  template <class Value>
  Value scalar(const char* name, DataType dtype) {
    const auto* found = static_cast<const Scalar*>(attribute(name, AttributeType::kScalar));
    if (found->dtype != dtype) throw internal_error(std::string("the attribute ") + name + " has another dtype");
    return *static_cast<const Value*>(found->value);
  }
  std::string text(const char* name);

  const CallFrame& frame_;
  uint64_t present_ = 0;
  int arrays_ = 0;
  int64_t arguments_ = 0;
  int64_t results_ = 0;
  int64_t attributes_ = 0;
};

// Answers the query for metadata that XLA makes when a handler is registered. Returns false if the frame is a call.
bool answer_metadata(const CallFrame& frame);

Error* make_error(const CallFrame& frame, ErrorCode code, const char* message) noexcept;

// Runs the body and turns an exception into an XLA error. Returns null if there is no exception.
template <class Body>
Error* guarded(const CallFrame& frame, const Body& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const CallError& error) {
    return make_error(frame, error.code, error.what());
  } catch (const std::bad_alloc&) {
    return make_error(frame, ErrorCode::kResourceExhausted, "fastseq: out of memory");
  } catch (const std::exception& error) {
    return make_error(frame, ErrorCode::kInternal, error.what());
  } catch (...) {
    return make_error(frame, ErrorCode::kInternal, "unknown C++ exception");
  }
}

}  // namespace fastseq::xla
