// The driver of random booleans: checks, the threshold, partition over threads.
#include "fastseq/bernoulli.h"

#include <cmath>
#include <string>

#include "common/checks.h"
#include "kernels/kernels.h"
#include "runtime/settings.h"
#include "runtime/team.h"

namespace fastseq {
namespace {

constexpr int64_t kElementsPerThread = 1 << 16;  // about 50 us of work, which repay waking a thread

}  // namespace

Status bernoulli_plan(const Array& key, const BernoulliOptions& options, BernoulliPlan* plan) {
  FASTSEQ_RETURN_IF_ERROR(check_array("key", key, DType::kInt32, {2}));
  if (!(options.probability >= 0.0 && options.probability <= 1.0))
    return Status::invalid_argument("probability must be in [0, 1], got " + std::to_string(options.probability));
  if (options.count < 0)
    return Status::invalid_argument("count must be at least 0, got " + std::to_string(options.count));
  FASTSEQ_RETURN_IF_ERROR(current_isa(&plan->isa));
  plan->count = options.count;
  const auto probability = static_cast<float>(options.probability);
  plan->threshold = static_cast<uint32_t>(std::ceil(std::ldexp(probability, 23)));
  plan->threads = threads_for(static_cast<double>(options.count / kElementsPerThread));
  return {};
}

Status bernoulli(const BernoulliPlan& plan, const Array& key, const Array& outputs) {
  FASTSEQ_RETURN_IF_ERROR(check_array("outputs", outputs, DType::kBool, {plan.count}));
  const auto* words = key.as<const int32_t>();
  for_each_part(plan.count, plan.threads, [&](const Range& part) {
    plan.isa->f32->bernoulli({{static_cast<uint32_t>(words[0]), static_cast<uint32_t>(words[1])},
                              plan.threshold,
                              static_cast<uint64_t>(part.begin),
                              part.end - part.begin,
                              outputs.as<bool>() + part.begin});
  });
  return {};
}

}  // namespace fastseq
