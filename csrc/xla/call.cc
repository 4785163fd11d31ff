#include "call.h"

#include <algorithm>
#include <cstring>

namespace fastseq::xla {
namespace {

struct KnownType {
  DataType xla;
  DType core;
};
constexpr KnownType kTypes[] = {
    {DataType::kPred, DType::kBool},   {DataType::kS32, DType::kInt32},   {DataType::kS64, DType::kInt64},
    {DataType::kU8, DType::kUInt8},    {DataType::kU16, DType::kUInt16},  {DataType::kF16, DType::kFloat16},
    {DataType::kF32, DType::kFloat32}, {DataType::kF64, DType::kFloat64}, {DataType::kBf16, DType::kBFloat16}};

Array array_of(const Buffer& buffer) {
  Array array;
  for (const KnownType& known : kTypes)
    if (known.xla == buffer.dtype) array.dtype = known.core;
  array.present = true;
  array.data = buffer.data;
  array.rank = static_cast<int>(buffer.rank);
  std::copy_n(buffer.dims, std::min<int64_t>(buffer.rank, Array::kMaxRank), array.shape);
  return array;
}

void check_buffers(const Buffers& buffers) {
  for (int64_t i = 0; i < buffers.size; ++i)
    if (buffers.types[i] != kBufferType) throw internal_error("an argument or a result is no buffer");
}

}  // namespace

void throw_if_error(const Status& status) {
  if (status.ok()) return;
  switch (status.code()) {
    case StatusCode::kOutOfMemory:
      throw CallError(ErrorCode::kResourceExhausted, status.message());
    case StatusCode::kUnavailable:
      throw CallError(ErrorCode::kInternal, status.message());
    default:
      throw CallError(ErrorCode::kInvalidArgument, status.message());
  }
}

Call::Call(const CallFrame& frame) : frame_(frame) {
  if (frame.stage != Stage::kExecute)
    throw CallError(ErrorCode::kUnimplemented, "fastseq's operations have no other stage than execution");
  check_buffers(frame.arguments);
  check_buffers(frame.results);
  present_ = static_cast<uint64_t>(scalar<int64_t>("present", DataType::kS64));
}

void Call::read(const Input& input, Array& array) {
  if ((present_ >> arrays_++ & 1) == 0) return;
  if (arguments_ == frame_.arguments.size) throw internal_error(std::string("there is no argument ") + input.name);
  array = array_of(*frame_.arguments.buffers[arguments_++]);
  if (input.holds == Holds::kSaved) array = bytes_as(array, input.dtype);
}

void Call::next_result(const Output& output, const Array& like, Array* array) {
  if (!output.wanted) return;
  if (results_ == frame_.results.size) throw internal_error(std::string("there is no result ") + output.name);
  const Array result = array_of(*frame_.results.buffers[results_++]);
  const Array expected = output.holds == Holds::kSaved ? as_bytes(like) : like;
  if (result.dtype != expected.dtype || result.rank != expected.rank ||
      !std::equal(result.shape, result.shape + result.rank, expected.shape))
    throw internal_error(std::string("the result ") + output.name + " has another shape or dtype");
  *array = like;
  array->data = result.data;
}

void Call::finish() const {
  if (arguments_ != frame_.arguments.size || results_ != frame_.results.size || attributes_ != frame_.attributes.size ||
      present_ >> arrays_ != 0)
    throw internal_error("there are arguments, results or attributes that the operation does not have");
}

const void* Call::attribute(const char* name, AttributeType type) {
  const Attributes& all = frame_.attributes;
  const size_t size = std::strlen(name);
  for (int64_t i = 0; i < all.size; ++i) {
    if (all.names[i]->size != size || std::memcmp(all.names[i]->data, name, size) != 0) continue;
    if (all.types[i] != type) break;
    ++attributes_;
    return all.values[i];
  }
  throw internal_error(std::string("there is no attribute ") + name + " of its kind");
}

std::string Call::text(const char* name) {
  const auto* found = static_cast<const Text*>(attribute(name, AttributeType::kString));
  return {found->data, found->size};
}

bool answer_metadata(const CallFrame& frame) {
  Extension* extension = frame.header.extensions;
  while (extension && extension->type != kMetadataExtension) extension = extension->next;
  if (!extension) return false;
  // Up to jaxlib 0.7.2 the version must equal the runtime's version, which is 0.1, and this call has no api. Later
  // runtimes take any version that they know.
  constexpr int kNewestKnown = 5;
  Metadata& metadata = *reinterpret_cast<MetadataExtension*>(extension)->metadata;
  metadata.version.major = 0;
  metadata.version.minor = frame.api ? std::min(frame.api->version.minor, kNewestKnown) : 1;
  metadata.traits = 0;  // the calls allocate memory, so they cannot be recorded into a CUDA graph
  return true;
}

Error* make_error(const CallFrame& frame, ErrorCode code, const char* message) noexcept {
  CreateError arguments{};
  // The size includes the last field, but not the padding behind it.
  arguments.header.struct_size = offsetof(CreateError, code) + sizeof(ErrorCode);
  arguments.message = message;
  arguments.code = code;
  return frame.api->create_error(&arguments);
}

}  // namespace fastseq::xla
