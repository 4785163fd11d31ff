// Lists of all operations, for front ends that offer all of them.
#pragma once

#include <string>
#include <vector>

#include "fastseq/adam.h"
#include "fastseq/batch_product.h"
#include "fastseq/bernoulli.h"
#include "fastseq/conv1d.h"
#include "fastseq/dense.h"
#include "fastseq/dropout.h"
#include "fastseq/elementwise.h"
#include "fastseq/embedding.h"
#include "fastseq/layout.h"
#include "fastseq/pool.h"
#include "fastseq/rnn.h"
#include "fastseq/rowwise.h"

namespace fastseq {

template <class... All>
struct OperationList {
  // Calls body(null pointer of the operation's type) for the operation with this name. Returns false if there is none.
  template <class Body>
  static bool find(const std::string& name, const Body& body) {
    return ((name == All::name() && (body(static_cast<All*>(nullptr)), true)) || ...);
  }
  static std::vector<std::string> names() { return {All::name()...}; }
};

// Several lists as one.
template <class... Lists>
struct OperationLists {
  template <class Body>
  static bool find(const std::string& name, const Body& body) {
    return (Lists::find(name, body) || ...);
  }
  static std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const auto& names : {Lists::names()...}) all.insert(all.end(), names.begin(), names.end());
    return all;
  }
};

// The operations that also have kernels for GPUs, with the plan types of one kind of device.
template <class RnnPlan, class Conv1dPlan, class PoolPlan, class... More>
using DeviceOperations =
    OperationList<RnnForward<Cell::kLstm, RnnPlan>, RnnBackward<Cell::kLstm, RnnPlan>, RnnForward<Cell::kGru, RnnPlan>,
                  RnnBackward<Cell::kGru, RnnPlan>, RnnForward<Cell::kSimpleRnn, RnnPlan>,
                  RnnBackward<Cell::kSimpleRnn, RnnPlan>, Conv1dForward<Conv1dPlan>, Conv1dBackward<Conv1dPlan>,
                  PoolForward<true, PoolPlan>, PoolBackward<true, PoolPlan>, More...>;

// The operations with a gradient.
template <class... More>
using DifferentiableOperations = DeviceOperations<RnnPlan, Conv1dPlan, PoolPlan, PoolForward<false>,
                                                  PoolBackward<false>, EmbeddingForward, EmbeddingBackward, More...>;

using CpuOperations = DifferentiableOperations<Adam, Bernoulli, Dropout>;

// The operations of layers with weights, for prediction: the weights are prepared once.
using WeightOperations = OperationList<Conv1dLookup, Conv1dPredict, Dense, RnnLookup<Cell::kLstm>,
                                       RnnLookup<Cell::kGru>, RnnLookup<Cell::kSimpleRnn>, RnnPredict<Cell::kLstm>,
                                       RnnPredict<Cell::kGru>, RnnPredict<Cell::kSimpleRnn>>;

// The operations of which programs consist beside the layers.
using ElementaryOperations =
    OperationList<Activate, BatchProduct, Combine, CombineMasks, Concatenate, Keep, LastStep, LayerNormalization, Pad,
                  Reduce, Repeat, Reshape, Slice, Softmax, Transpose, Unequal>;

// The operations that have no gradient, for prediction only.
using PredictionOperations = OperationLists<WeightOperations, ElementaryOperations>;

// The operations that a program (program.h) may have.
using ProgramOperations =
    OperationLists<PredictionOperations, OperationList<EmbeddingForward, PoolForward<true>, PoolForward<false>>>;

using AllOperations = OperationLists<CpuOperations, PredictionOperations>;

}  // namespace fastseq
