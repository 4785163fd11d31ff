// The patches of x for the outputs of a convolution.
#pragma once

#include "implicit_product.cuh"

namespace fastseq::cuda {

// The patches (B T', K C/G) of the first group. Those of each further group begin C/G elements later.
template <class T>
Patches<T> patches_of_x(const Conv1dPlan& plan, const Conv1dInputs& in) {
  const Conv1dDims& d = plan.dims;
  Patches<T> x(in.x.as<T>(), d.batch, d.convolved, d.width, d.channels / plan.options.groups, d.timesteps, d.channels);
  x.start = -d.padding_before;
  x.position_step = plan.options.strides;
  x.tap_step = plan.options.dilation_rate;
  return x;
}

}  // namespace fastseq::cuda
