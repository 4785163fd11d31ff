// Devices, their memory, and the conversion of CUDA's errors to Status.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <string>

#include "common/checks.h"
#include "fastseq/cuda.h"
#include "fastseq/memory.h"
#include "launch.h"

namespace fastseq::cuda {
namespace {

// The compute capabilities that this build has code for, ascending; 860 stands for 8.6. For the last one there is also
// PTX, which runs on all newer devices.
constexpr int kArchitectures[] = {__CUDA_ARCH_LIST__};

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Status attribute(cudaDeviceAttr which, int device, int* value) {
  return cuda_status("device attribute", cudaDeviceGetAttribute(value, which, device));
}

// 860 for 8.6.
Status capability_of(int device, int* capability) {
  int major = 0;
  int minor = 0;
  FASTSEQ_RETURN_IF_ERROR(attribute(cudaDevAttrComputeCapabilityMajor, device, &major));
  FASTSEQ_RETURN_IF_ERROR(attribute(cudaDevAttrComputeCapabilityMinor, device, &minor));
  *capability = 100 * major + 10 * minor;
  return {};
}

bool has_code_for(int device) {
  int capability = 0;
  return capability_of(device, &capability).ok() && capability >= kArchitectures[0];
}

// Why CUDA sees no device.
std::string no_device_because(cudaError_t error) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) return "there is no NVIDIA driver on this machine";
  if (error == cudaErrorInsufficientDriver)
    return "the NVIDIA driver is too old: it supports CUDA " + version_text(driver) + ", and this build needs " +
           version_text(CUDART_VERSION);
  if (error == cudaSuccess || error == cudaErrorNoDevice) return "no NVIDIA GPU is visible to this process";
  return cudaGetErrorString(error);
}

// fastseq's memory pool. It keeps up to an eighth of the device's memory for later calls, while the default pool gives
// all memory back at every synchronisation. It is separate from the default pool, whose settings concern other
// libraries.
Status pool_of(int device, cudaMemPool_t* pool) {
  static std::mutex mutex;
  static std::map<int, cudaMemPool_t> pools;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = pools.find(device);
  if (found != pools.end()) {
    *pool = found->second;
    return {};
  }
  DeviceInfo info;
  FASTSEQ_RETURN_IF_ERROR(device_info(device, &info));
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("memory pool", cudaMemPoolCreate(pool, &properties)));
  uint64_t kept = info.memory_bytes / 8;
  FASTSEQ_RETURN_IF_ERROR(
      cuda_status("memory pool", cudaMemPoolSetAttribute(*pool, cudaMemPoolAttrReleaseThreshold, &kept)));
  pools.emplace(device, *pool);
  return {};
}

}  // namespace

Status cuda_status(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // clears the error, so that the next call does not report it again
  const std::string message = std::string(what) + ": " + cudaGetErrorString(error);
  return error == cudaErrorMemoryAllocation ? Status::out_of_memory(message) : Status::unavailable(message);
}

unsigned blocks_for(int64_t count, unsigned threads) {
  constexpr int64_t kMostBlocks = 65535;
  return static_cast<unsigned>(std::clamp<int64_t>((count + threads - 1) / threads, 1, kMostBlocks));
}

Status has_clusters(int device, bool* has) {
  constexpr int kFirstWithClusters = 900;
  int capability = 0;
  FASTSEQ_RETURN_IF_ERROR(capability_of(device, &capability));
  // A device runs the newest code that it can.
  *has = std::any_of(std::begin(kArchitectures), std::end(kArchitectures), [&](int architecture) {
    return architecture >= kFirstWithClusters && architecture <= capability;
  });
  return {};
}

int device_count(std::string* reason) {
  int visible = 0;
  const cudaError_t error = cudaGetDeviceCount(&visible);
  cudaGetLastError();
  if (error != cudaSuccess || visible == 0) {
    *reason = no_device_because(error);
    return 0;
  }
  int usable = 0;
  for (int device = 0; device < visible; ++device) usable += has_code_for(device);
  if (usable == 0)
    *reason = "this build has code for GPUs from compute capability " + std::to_string(kArchitectures[0] / 100) + "." +
              std::to_string(kArchitectures[0] % 100 / 10) + " on, and no such GPU is visible to this process";
  return usable;
}

Status device_info(int device, DeviceInfo* info) {
  int visible = 0;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("device count", cudaGetDeviceCount(&visible)));
  FASTSEQ_RETURN_IF_ERROR(check_range("device", device, 0, visible - 1));
  cudaDeviceProp properties;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("device properties", cudaGetDeviceProperties(&properties, device)));
  info->name = properties.name;
  info->major = properties.major;
  info->minor = properties.minor;
  info->multiprocessors = properties.multiProcessorCount;
  info->memory_bytes = properties.totalGlobalMem;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("driver version", cudaDriverGetVersion(&info->driver)));
  return cuda_status("runtime version", cudaRuntimeGetVersion(&info->runtime));
}

Status device_of(const void* data, int* device) {
  cudaPointerAttributes attributes;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("address", cudaPointerGetAttributes(&attributes, data)));
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
    return Status::invalid_argument("the address is not of a CUDA device's memory");
  *device = attributes.device;
  return {};
}

CurrentDevice::CurrentDevice(int device) {
  cudaGetDevice(&previous_);
  changed_ = previous_ != device;
  if (changed_) cudaSetDevice(device);
}

CurrentDevice::~CurrentDevice() {
  if (changed_) cudaSetDevice(previous_);
}

Status synchronize(Stream stream) {
  return cuda_status("stream", cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
}

Status order(Stream first, Stream second) {
  if (first == second) return {};
  cudaEvent_t event = nullptr;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("event", cudaEventCreateWithFlags(&event, cudaEventDisableTiming)));
  Status status = cuda_status("event", cudaEventRecord(event, static_cast<cudaStream_t>(first)));
  if (status.ok()) status = cuda_status("event", cudaStreamWaitEvent(static_cast<cudaStream_t>(second), event, 0));
  cudaEventDestroy(event);  // takes effect once the event has happened
  return status;
}

Status take_memory(size_t bytes, Stream stream, void** memory) {
  *memory = nullptr;
  if (bytes == 0) return {};
  int device = 0;
  cudaMemPool_t pool = nullptr;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("current device", cudaGetDevice(&device)));
  FASTSEQ_RETURN_IF_ERROR(pool_of(device, &pool));
  const auto queue = static_cast<cudaStream_t>(stream);
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("stream", cudaStreamIsCapturing(queue, &capture)));
  if (capture != cudaStreamCaptureStatusNone)
    return Status::unavailable("a call of fastseq cannot be captured in a CUDA graph: it takes memory of its own");
  const cudaError_t error = cudaMallocFromPoolAsync(memory, bytes, pool, queue);
  if (error != cudaSuccess) return cuda_status(("device memory, " + std::to_string(bytes) + " bytes").c_str(), error);
  if (!fresh_memory_is_poisoned()) return {};
  const Status poisoned = cuda_status("device memory", cudaMemsetAsync(*memory, 0xff, bytes, queue));
  if (!poisoned.ok()) give_memory_back(*memory, stream);
  return poisoned;
}

void give_memory_back(void* memory, Stream stream) noexcept {
  if (memory) cudaFreeAsync(memory, static_cast<cudaStream_t>(stream));
}

}  // namespace fastseq::cuda
