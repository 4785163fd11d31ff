// The structs of DLPack, a protocol for the exchange of arrays between libraries (versions 0.8 and 1.x).
#pragma once

#include <cstdint>

namespace fastseq::bindings {

enum DlDeviceType : int32_t { kDlCuda = 2, kDlCudaManaged = 13 };
enum DlTypeCode : uint8_t { kDlInt = 0, kDlUInt = 1, kDlFloat = 2, kDlBFloat = 4, kDlComplex = 5, kDlBool = 6 };

struct DlDevice {
  int32_t type;
  int32_t index;
};

struct DlType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct DlTensor {
  void* data;
  DlDevice device;
  int32_t rank;
  DlType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null for C-contiguous
  uint64_t byte_offset;
};

// The content of a capsule "dltensor".
struct DlManagedTensor {
  DlTensor tensor;
  void* context;
  void (*deleter)(DlManagedTensor* self);
};

// The content of a capsule "dltensor_versioned".
struct DlManagedTensorVersioned {
  uint32_t major;
  uint32_t minor;
  void* context;
  void (*deleter)(DlManagedTensorVersioned* self);
  uint64_t flags;
  DlTensor tensor;
};

}  // namespace fastseq::bindings
