// The part of XLA's foreign function interface that fastseq uses. It is declared here so that the build needs no jaxlib
// and one binary works with every version from 0.5 on. The layouts are those of XLA's public header
// xla/ffi/api/c_api.h and have not changed since jaxlib 0.4.34. XLA has since inserted functions and fields without a
// new version, but all of them come after the declarations here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastseq::xla {

struct Error;    // defined by XLA
struct Context;  // defined by XLA

enum class ErrorCode : int { kInvalidArgument = 3, kResourceExhausted = 8, kUnimplemented = 12, kInternal = 13 };
enum class Stage : int { kInstantiate, kPrepare, kInitialize, kExecute };
enum class DataType : int {
  kPred = 1,
  kS32 = 4,
  kS64 = 5,
  kU8 = 6,
  kU16 = 7,
  kF16 = 10,
  kF32 = 11,
  kF64 = 12,
  kBf16 = 16
};

constexpr int kMetadataExtension = 1;
struct Extension {
  size_t struct_size;
  int type;
  Extension* next;
};

// Every struct except Metadata begins with a header.
struct Header {
  size_t struct_size;
  Extension* extensions;
};

struct Version {
  Header header;
  int major;
  int minor;
};

struct Metadata {
  size_t struct_size;
  Version version;
  uint32_t traits;
};

struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct Buffer {
  Header header;
  DataType dtype;
  void* data;
  int64_t rank;
  int64_t* dims;
};

constexpr int kBufferType = 1;
struct Buffers {  // arguments or results
  Header header;
  int64_t size;
  int* types;
  Buffer** buffers;
};

enum class AttributeType : int { kScalar = 3, kString = 4 };
struct Text {
  const char* data;
  size_t size;
};
struct Scalar {
  DataType dtype;
  void* value;
};
struct Attributes {
  Header header;
  int64_t size;
  AttributeType* types;
  Text** names;
  void** values;
};

struct CreateError {
  Header header;
  const char* message;
  ErrorCode code;
};
struct GetStream {
  Header header;
  Context* context;
  void* stream;
};
struct AllocateDeviceMemory {
  Header header;
  Context* context;
  size_t size;
  size_t alignment;
  void* data;
};
struct FreeDeviceMemory {
  Header header;
  Context* context;
  size_t size;
  void* data;
};

struct DestroyError {
  Header header;
  Error* error;
};

using Function = Error*(void*);
struct Api {
  Header header;
  Version version;
  const void* internal;
  Error* (*create_error)(CreateError*);
  Function* get_error_message;
  void (*destroy_error)(DestroyError*);
  Function* register_handler;
  Error* (*get_stream)(GetStream*);
  Function* register_type;
  Function* get_context;
  Function* set_state;
  Function* get_state;
  Error* (*allocate_device_memory)(AllocateDeviceMemory*);
  Error* (*free_device_memory)(FreeDeviceMemory*);
};

struct CallFrame {
  Header header;
  const Api* api;
  Context* context;
  Stage stage;
  Buffers arguments;
  Buffers results;
  Attributes attributes;
};

static_assert(sizeof(Buffer) == 48 && sizeof(Buffers) == 40 && sizeof(Attributes) == 48);
static_assert(sizeof(CallFrame) == 168 && offsetof(CallFrame, arguments) == 40);
static_assert(offsetof(Api, create_error) == 48 && offsetof(Api, allocate_device_memory) == 48 + 9 * sizeof(void*));

using Handler = Error*(CallFrame*);

}  // namespace fastseq::xla
