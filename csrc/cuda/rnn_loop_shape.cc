// The choice of a recurrent op's time loop and of its launch shape.
#include <cuda_runtime.h>

#include <algorithm>
#include <iterator>

#include "common/checks.h"
#include "launch.h"
#include "rnn_loop.h"

namespace fastseq::cuda {
namespace {

struct Device {
  bool clusters = false;
  int multiprocessors = 1;
  int shared_bytes = 0;  // the largest shared memory of a block
};

Status current_device(Device* device) {
  int number = 0;
  FASTSEQ_RETURN_IF_ERROR(cuda_status("current device", cudaGetDevice(&number)));
  const auto get = [&](cudaDeviceAttr attribute, int* value) {
    return cuda_status("device attribute", cudaDeviceGetAttribute(value, attribute, number));
  };
  FASTSEQ_RETURN_IF_ERROR(has_clusters(number, &device->clusters));
  FASTSEQ_RETURN_IF_ERROR(get(cudaDevAttrMultiProcessorCount, &device->multiprocessors));
  return get(cudaDevAttrMaxSharedMemoryPerBlockOptin, &device->shared_bytes);
}

template <class Number>
Number divided_up(Number a, Number b) {
  return (a + b - 1) / b;
}

// Estimates in clock cycles of a multiprocessor. They need only be good enough to rank shapes; they have not been
// measured on a device.
constexpr double kClusterMeeting = 400;  // a barrier of a cluster, once a step
constexpr double kBlockMeeting = 60;     // a barrier of a block
constexpr double kStepLatency = 300;     // the elementwise part, and writing and reading the operand in shared memory
constexpr double kRowInstructions = 60;  // instructions of a thread for the elementwise part of a row
constexpr double kStepwiseLaunches = 9000;
constexpr double kStepwiseFma = 64;  // multiply-adds a cycle and multiprocessor, in small products

// The cost of a step for a cluster's rows, with four instructions a cycle.
double persistent_step(const RnnLoopShape& shape, int outputs) {
  const double instructions = shape.chunks * 4.0 * outputs + kRowInstructions;
  const double warps = divided_up(divided_up(shape.threads, 32), 4) * 4;
  return shape.rows * warps * instructions / 4 + kStepLatency + (shape.blocks > 1 ? kClusterMeeting : kBlockMeeting);
}

double stepwise_step(const RnnPlan& plan, const Device& device) {
  const double multiply_adds = static_cast<double>(plan.dims.batch) * static_cast<double>(plan.dims.units) *
                               static_cast<double>(plan.dims.units) * static_cast<double>(plan.dims.gates);
  return kStepwiseLaunches + multiply_adds / (kStepwiseFma * device.multiprocessors);
}

// Completes a shape with given blocks and lanes; false if it does not fit the device.
bool complete(const RnnPlan& plan, const LoopCell& cell, const Device& device, RnnLoopShape* shape) {
  shape->groups = divided_up(divided_up(shape->units, cell.units), shape->blocks);
  shape->chunks = divided_up(shape->units * cell.operands_of_unit, 4 * shape->lanes);
  shape->threads = divided_up(shape->groups * shape->lanes, 32) * 32;
  const auto* compiled =
      std::find_if(std::begin(kChunkSizes), std::end(kChunkSizes), [&](int chunks) { return chunks >= shape->chunks; });
  if (compiled == std::end(kChunkSizes) || shape->threads > most_threads(cell.outputs, *compiled)) return false;
  shape->chunks = *compiled;  // chunks beyond the operand are zero
  const int row_bytes =
      static_cast<int>(sizeof(float)) * (2 * 4 * shape->chunks * shape->lanes + cell.slots * shape->threads);
  const int clusters = std::max(1, device.multiprocessors / shape->blocks);
  const int64_t wanted = divided_up<int64_t>(plan.dims.batch, clusters);
  shape->rows = static_cast<int>(std::min<int64_t>(wanted, device.shared_bytes / row_bytes));
  shape->shared_bytes = static_cast<size_t>(shape->rows) * static_cast<size_t>(row_bytes);
  return shape->rows > 0;
}

}  // namespace

bool find_loop_shape(const RnnPlan& plan, bool backward, RnnLoopShape* best) {
  const RnnDims& d = plan.dims;
  const bool lacking = (d.gates == 3 && !plan.options.reset_after) || plan.recurrent_factors > 1;
  constexpr int64_t kMost = 1 << 20;  // far more units than fit, so that int does not overflow
  if (lacking || d.units > kMost || d.batch > INT32_MAX / 8 || d.timesteps > INT32_MAX / 2 || d.batch == 0)
    return false;
  Device device;
  if (!current_device(&device).ok()) return false;
  const LoopCell cell = (backward ? kPersistentBackward.cell : kPersistentForward.cell)(plan.options.cell);
  double least = stepwise_step(plan, device);
  bool found = false;
  for (int blocks = 1; blocks <= (device.clusters ? 8 : 1); blocks *= 2)
    for (int lanes = 4; lanes <= 32; lanes *= 2) {
      RnnLoopShape shape = {};
      shape.batch = static_cast<int>(d.batch);
      shape.timesteps = static_cast<int>(d.timesteps);
      shape.units = static_cast<int>(d.units);
      shape.blocks = blocks;
      shape.lanes = lanes;
      if (!complete(plan, cell, device, &shape)) continue;
      const int clusters = divided_up(shape.batch, shape.rows);
      const int waves = divided_up(clusters, std::max(1, device.multiprocessors / blocks));
      const double cost = waves * persistent_step(shape, cell.outputs);
      if (cost >= least) continue;
      least = cost;
      *best = shape;
      found = true;
    }
  return found;
}

}  // namespace fastseq::cuda
