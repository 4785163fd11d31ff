// See cuda_runtime.h.
#include <cuda_runtime.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "device.cuh"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = 64 * 1024;

struct Barrier {
  unsigned members = 0;
  unsigned arrived = 0;
  unsigned generation = 0;
};

struct Block {
  uint3 index;
  std::vector<float> shared;
  Barrier barrier;
};

struct Warp {
  Barrier barrier;
  float values[kWarp] = {};
};

struct Fiber {
  uint3 thread;
  Block* block;
  Warp* warp;
  unsigned lane;
  ucontext_t start;
  jmp_buf at;
  bool started = false;
  bool done = false;
};

// The cluster that runs, and where its fibers return to.
struct Cluster {
  std::vector<Block> blocks;
  std::vector<Warp> warps;
  std::vector<Fiber> fibers;
  Barrier barrier;
  const std::function<void()>* thread = nullptr;
  Fiber* running = nullptr;
  jmp_buf scheduler;
  uint64_t progress = 0;  // barriers passed and fibers ended
};

Cluster* g_cluster = nullptr;
unsigned g_order_seed = 0;
std::mutex g_one_launch;

// Stacks are kept for the next launch.
char* stack(size_t index) {
  static std::vector<char*> stacks;
  while (stacks.size() <= index) {
    void* memory =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    stacks.push_back(static_cast<char*>(memory));
  }
  return stacks[index];
}

void yield() {
  Fiber* self = g_cluster->running;
  if (_setjmp(self->at) == 0) _longjmp(g_cluster->scheduler, 1);
}

void wait_at(Barrier* barrier) {
  const unsigned generation = barrier->generation;
  if (++barrier->arrived == barrier->members) {
    barrier->arrived = 0;
    ++barrier->generation;
    ++g_cluster->progress;
    return;
  }
  while (barrier->generation == generation) yield();
}

void fiber_main() {
  Cluster* cluster = g_cluster;
  (*cluster->thread)();
  cluster->running->done = true;
  ++cluster->progress;
  _longjmp(cluster->scheduler, 1);
}

void resume(Fiber* fiber) {
  g_cluster->running = fiber;
  threadIdx = fiber->thread;
  blockIdx = fiber->block->index;
  if (_setjmp(g_cluster->scheduler) != 0) return;
  if (fiber->started) _longjmp(fiber->at, 1);
  fiber->started = true;
  setcontext(&fiber->start);
}

void run_cluster(const cudaLaunchConfig_t& config, unsigned size, unsigned cluster_index,
                 const std::function<void()>& thread, std::mt19937* random) {
  Cluster cluster;
  cluster.thread = &thread;
  const unsigned threads = config.blockDim.x;
  const unsigned warps = (threads + kWarp - 1) / kWarp;
  cluster.blocks.resize(size);
  cluster.warps.resize(size * warps);
  cluster.fibers.resize(size * threads);
  cluster.barrier.members = size * threads;
  for (unsigned b = 0; b < size; ++b) {
    const unsigned index = cluster_index * size + b;
    Block& block = cluster.blocks[b];
    block.index = {index % config.gridDim.x, index / config.gridDim.x % config.gridDim.y,
                   index / config.gridDim.x / config.gridDim.y};
    block.shared.assign(config.dynamicSmemBytes / sizeof(float) + 8, NAN);
    block.barrier.members = threads;
    for (unsigned t = 0; t < threads; ++t) {
      Fiber& fiber = cluster.fibers[b * threads + t];
      fiber.thread = {t, 0, 0};
      fiber.block = &block;
      fiber.warp = &cluster.warps[b * warps + t / kWarp];
      fiber.lane = t % kWarp;
      ++fiber.warp->barrier.members;
      getcontext(&fiber.start);
      fiber.start.uc_stack.ss_sp = stack(b * threads + t);
      fiber.start.uc_stack.ss_size = kStackBytes;
      fiber.start.uc_link = nullptr;
      makecontext(&fiber.start, fiber_main, 0);
    }
  }
  g_cluster = &cluster;
  std::vector<unsigned> order(cluster.fibers.size());
  std::iota(order.begin(), order.end(), 0U);
  size_t left = order.size();
  while (left > 0) {
    if (g_order_seed != 0) std::shuffle(order.begin(), order.end(), *random);
    const uint64_t before = cluster.progress;
    for (const unsigned index : order) {
      Fiber* fiber = &cluster.fibers[index];
      if (fiber->done) continue;
      resume(fiber);
      if (fiber->done) --left;
    }
    if (cluster.progress == before) {
      std::fprintf(stderr, "emulated kernel: its threads wait at different barriers\n");
      std::abort();
    }
  }
  g_cluster = nullptr;
}

int environment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : otherwise;
}

struct Mapping {
  void* start;
  size_t bytes;
};
std::map<void*, Mapping>& mappings() {
  static auto* all = new std::map<void*, Mapping>;
  return *all;
}
std::mutex g_mappings;

}  // namespace

// The order in which threads take turns: 0 for that of their numbers, else a random one. Results must not depend on it.
extern "C" __attribute__((visibility("default"))) void emulate_in_order(unsigned seed) { g_order_seed = seed; }

cudaError_t run_emulated(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  const unsigned size = config.numAttrs > 0 ? config.attrs[0].val.clusterDim.x : 1;
  const unsigned blocks = config.gridDim.x * config.gridDim.y * config.gridDim.z;
  const unsigned threads = config.blockDim.x;
  int most_shared = 0;
  cudaDeviceGetAttribute(&most_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (blocks == 0 || threads == 0 || threads > 1024 || size == 0 || config.gridDim.x % size != 0 || size > 8 ||
      config.blockDim.y != 1 || config.blockDim.z != 1 || config.dynamicSmemBytes > static_cast<size_t>(most_shared) ||
      config.gridDim.y > 65535 || config.gridDim.z > 65535)
    return cudaErrorInvalidConfiguration;
  const std::lock_guard<std::mutex> lock(g_one_launch);
  std::mt19937 random(g_order_seed);
  blockDim = config.blockDim;
  gridDim = config.gridDim;
  for (unsigned cluster = 0; cluster < blocks / size; ++cluster) run_cluster(config, size, cluster, thread, &random);
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : "emulated error"; }
const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const int major = environment("FASTSEQ_EMULATED_MAJOR", 9);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = environment("FASTSEQ_EMULATED_MULTIPROCESSORS", 4);
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = (major == 9 ? 227 : 163) * 1024;
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated");
  cudaDeviceGetAttribute(&properties->major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&properties->multiProcessorCount, cudaDevAttrMultiProcessorCount, device);
  properties->totalGlobalMem = size_t{1} << 30;
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t) {
  if (bytes > size_t{1} << 34) return cudaErrorMemoryAllocation;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t rounded = (bytes + 15) / 16 * 16;
  const size_t whole = (rounded + page - 1) / page * page + page;
  void* start = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) return cudaErrorMemoryAllocation;
  mprotect(static_cast<char*>(start) + whole - page, page, PROT_NONE);
  *memory = static_cast<char*>(start) + whole - page - rounded;
  std::memset(*memory, 0xFF, rounded);
  const std::lock_guard<std::mutex> lock(g_mappings);
  mappings()[*memory] = {start, whole};
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
  if (!memory) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(g_mappings);
  const auto found = mappings().find(memory);
  if (found == mappings().end()) return cudaErrorInvalidValue;
  munmap(found->second.start, found->second.bytes);
  mappings().erase(found);
  return cudaSuccess;
}

namespace fastseq::cuda {

// Aligned to 16 bytes, as a GPU's is.
float* shared_memory() {
  float* memory = g_cluster->running->block->shared.data();
  return memory + (16 - reinterpret_cast<uintptr_t>(memory) % 16) % 16 / sizeof(float);
}

void sync_block() { wait_at(&g_cluster->running->block->barrier); }

void sync_cluster(unsigned) { wait_at(&g_cluster->barrier); }

float* shared_of_block(float* memory, unsigned block, unsigned) {
  Fiber* self = g_cluster->running;
  Block* own = self->block;
  float* own_start = shared_memory();
  self->block = &g_cluster->blocks[block];
  float* its_start = shared_memory();
  self->block = own;
  return its_start + (memory - own_start);
}

float exchange(float value, int lane_bits) {
  const Fiber* self = g_cluster->running;
  Warp* warp = self->warp;
  warp->values[self->lane] = value;
  wait_at(&warp->barrier);
  const float other = warp->values[self->lane ^ static_cast<unsigned>(lane_bits)];
  wait_at(&warp->barrier);
  return other;
}

}  // namespace fastseq::cuda
