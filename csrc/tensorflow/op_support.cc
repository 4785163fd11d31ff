#include "op_support.h"

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace fastseq::tensorflow {
namespace {

constexpr std::pair<TF_DataType, DType> kDTypes[] = {
    {TF_FLOAT, DType::kFloat32}, {TF_DOUBLE, DType::kFloat64}, {TF_UINT8, DType::kUInt8},
    {TF_BOOL, DType::kBool},     {TF_INT32, DType::kInt32},    {TF_INT64, DType::kInt64},
};

DType to_dtype(TF_DataType type) {
  for (const auto& [known, dtype] : kDTypes)
    if (known == type) return dtype;
  return DType::kOther;
}

TF_DataType from_dtype(DType dtype) {
  for (const auto& [type, known] : kDTypes)
    if (known == dtype) return type;
  throw std::logic_error("no op of fastseq has tensors of this dtype");
}

Array view(const TF_Tensor* tensor) {
  Array array;
  array.present = true;
  array.data = TF_TensorData(tensor);
  array.dtype = to_dtype(TF_TensorType(tensor));
  array.rank = TF_NumDims(tensor);
  for (int i = 0; i < array.rank && i < Array::kMaxRank; ++i) array.shape[i] = TF_Dim(tensor, i);
  return array;
}

}  // namespace

// --- Context --------------------------------------------------------------------------------------------------------

// Takes ownership of the tensor.
Array Context::keep(TF_Tensor* tensor) {
  OwnedTensor owned(tensor);
  tensors_.push_back(std::move(owned));
  return ok() ? view(tensor) : Array{};
}

Array Context::next_input() {
  const int index = inputs_++;
  if (!ok()) return {};
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context_, index, &tensor, status_);
  return keep(tensor);
}

Array Context::next_optional_input() {
  const Array array = next_input();
  bool absent = array.rank > 0;
  for (int i = 0; i < array.rank && i < Array::kMaxRank; ++i) absent = absent && array.shape[i] == 0;
  return absent ? Array{} : array;
}

Array Context::next_output(DType dtype, std::initializer_list<int64_t> shape) {
  return next_output(dtype, shape.begin(), static_cast<int>(shape.size()));
}

Array Context::next_output(DType dtype, const int64_t* shape, int rank) {
  const int index = outputs_++;
  if (!ok()) return {};
  const TF_DataType type = from_dtype(dtype);
  const size_t bytes = array_bytes(dtype, shape, rank);
  if (bytes < kSmallestRecycledBlock)
    return keep(TF_AllocateOutput(context_, index, type, shape, rank, bytes, status_));
  const auto give_back = [](void* data, size_t size, void*) { give_memory_back(data, size); };
  const Array array = keep(TF_NewTensor(type, shape, rank, take_memory(bytes), bytes, give_back, nullptr));
  TF_SetOutput(context_, index, tensors_.back().get(), status_);
  return ok() ? array : Array{};
}

Array Context::next_output_over(int index, Array* input) {
  if (!ok()) return {};
  // TensorFlow only forwards memory that it has allocated itself.
  if (is_large_block(input->data)) return next_output(input->dtype, input->shape, input->rank);
  const int output = outputs_++;
  // Inputs are the first tensors. TensorFlow forwards an input's memory only if nothing holds the input, not even this
  // object.
  tensors_[static_cast<size_t>(index)].reset();
  int forwarded = -1;
  const Array array = keep(
      TF_ForwardInputOrAllocateOutput(context_, &index, 1, output, input->shape, input->rank, &forwarded, status_));
  if (!ok()) return {};
  if (forwarded == index) {
    *input = array;
    return array;
  }
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context_, index, &tensor, status_);
  if (!ok()) return {};
  tensors_[static_cast<size_t>(index)].reset(tensor);
  return array;
}

Array Context::next_optional_output(bool wanted, DType dtype, std::initializer_list<int64_t> shape) {
  if (wanted) return next_output(dtype, shape);
  const int64_t nothing[Array::kMaxRank] = {};
  next_output(dtype, nothing, static_cast<int>(shape.size()));
  return {};
}

int64_t Context::next_number(const char* name) {
  const Array number = next_input();
  if (ok() && number.rank != 0) fail(TF_INVALID_ARGUMENT, (std::string(name) + " must be a scalar").c_str());
  return ok() ? *number.as<const int64_t>() : 0;
}

bool Context::next_live() {
  const int input = inputs_++;
  const int output = outputs_++;
  if (!ok()) return true;
  const int64_t one = 1;
  int forwarded = -1;
  const Array live = keep(TF_ForwardInputOrAllocateOutput(context_, &input, 1, output, &one, 1, &forwarded, status_));
  if (!ok()) return true;
  const bool held = forwarded != input;
  *live.as<uint8_t>() = held;
  return held;
}

void Context::pass_on(int index) {
  if (ok()) TF_SetOutput(context_, outputs_++, tensors_[static_cast<size_t>(index)].get(), status_);
}

void* Context::scratch(size_t bytes) {
  if (!ok()) return nullptr;
  scratch_ = Memory(bytes);
  return scratch_.get();
}

// --- Shapes ---------------------------------------------------------------------------------------------------------

TF_ShapeHandle* Shapes::own(TF_ShapeHandle* handle) {
  OwnedShape owned(handle);
  handles_.push_back(std::move(owned));
  return handle;
}

TF_ShapeHandle* Shapes::input(int index) {
  TF_ShapeHandle* shape = own(TF_NewShapeHandle());
  if (ok()) TF_ShapeInferenceContextGetInput(context_, index, shape, status_);
  return shape;
}

TF_ShapeHandle* Shapes::input(int index, int64_t rank) {
  TF_ShapeHandle* shape = input(index);
  if (ok()) TF_ShapeInferenceContextWithRank(context_, shape, rank, shape, status_);
  return shape;
}

TF_ShapeHandle* Shapes::dim(TF_ShapeHandle* shape, int64_t i) {
  TF_ShapeHandle* result = own(TF_NewShapeHandle());
  if (ok()) TF_ShapeInferenceContextSubshape(context_, shape, i, i + 1, result, status_);
  return result;
}

TF_ShapeHandle* Shapes::unknown_dim() {
  // -1 is TensorFlow's unknown dimension. The parameter is unsigned; TensorFlow casts it back.
  return own(TF_ShapeInferenceContextVectorFromSize(context_, static_cast<size_t>(-1)));
}

void Shapes::set_output(int index, const std::vector<TF_ShapeHandle*>& dims) {
  TF_ShapeHandle* shape = nullptr;
  for (TF_ShapeHandle* next : dims) {
    if (!shape) {
      shape = next;
      continue;
    }
    TF_ShapeHandle* joined = own(TF_NewShapeHandle());
    if (ok()) TF_ShapeInferenceContextConcatenateShapes(context_, shape, next, joined, status_);
    shape = joined;
  }
  set_output_like(index, shape);
}

void Shapes::set_outputs_unknown() { TF_ShapeInferenceContextSetUnknownShape(context_, status_); }

Array Shapes::sizes_of_input(int index, int rank) {
  Array array;
  array.present = true;
  array.rank = rank == Input::kAnyRank ? 1 : rank;
  TF_ShapeHandle* shape = rank == Input::kAnyRank ? input(index) : input(index, rank);
  for (int i = 0; i < array.rank; ++i) {
    sizes_.push_back(rank == Input::kAnyRank ? shape : dim(shape, i));
    array.shape[i] = -static_cast<int64_t>(sizes_.size());
  }
  return array;
}

void Shapes::set_output_of(int index, const Array& like, bool optional, bool bytes) {
  std::vector<TF_ShapeHandle*> dims;
  for (int i = 0; i < like.rank; ++i) {
    const bool unknown = like.shape[i] == 0 || (optional && i == 1) || (bytes && i == like.rank - 1);
    dims.push_back(unknown ? unknown_dim() : sizes_[static_cast<size_t>(-like.shape[i] - 1)]);
  }
  if (!optional || like.rank > 1) set_output(index, dims);
}

int Shapes::inputs() const { return static_cast<int>(TF_ShapeInferenceContextNumInputs(context_)); }

void Shapes::set_output_like(int index, TF_ShapeHandle* shape) {
  if (ok()) TF_ShapeInferenceContextSetOutput(context_, index, shape, status_);
}

// --- Attributes -----------------------------------------------------------------------------------------------------

bool Attributes::boolean(const char* name) {
  unsigned char value = 0;
  if (ok()) TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status_);
  return value != 0;
}

int64_t Attributes::integer(const char* name) {
  int64_t value = 0;
  if (ok()) TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status_);
  return value;
}

std::vector<int64_t> Attributes::integers(const char* name) {
  int32_t count = 0;
  int32_t size = 0;
  if (ok()) TF_OpKernelConstruction_GetAttrSize(construction_, name, &count, &size, status_);
  std::vector<int64_t> values(ok() ? static_cast<size_t>(count) : 0);
  if (ok()) TF_OpKernelConstruction_GetAttrInt64List(construction_, name, values.data(), count, status_);
  return values;
}

std::string Attributes::string(const char* name) {
  int32_t count = 0;
  int32_t size = 0;
  if (ok()) TF_OpKernelConstruction_GetAttrSize(construction_, name, &count, &size, status_);
  std::string value(ok() ? static_cast<size_t>(size) : 0, ' ');
  if (ok()) TF_OpKernelConstruction_GetAttrString(construction_, name, value.data(), value.size(), status_);
  return value;
}

// --- registration ---------------------------------------------------------------------------------------------------

bool register_op(const OpDefinition& definition, const OpFunctions& functions) {
  const char* name = definition.name.c_str();
  const OwnedStatus status(TF_NewStatus());
  const auto registered = [&] {
    if (TF_GetCode(status.get()) == TF_OK) return true;
    std::fprintf(stderr, "fastseq: cannot register the TensorFlow op %s: %s\n", name, TF_Message(status.get()));
    return false;
  };
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(op, "T: {float, double}");
  for (const std::string& attr : definition.attrs) TF_OpDefinitionBuilderAddAttr(op, attr.c_str());
  for (const std::string& input : definition.inputs) TF_OpDefinitionBuilderAddInput(op, input.c_str());
  for (const std::string& output : definition.outputs) TF_OpDefinitionBuilderAddOutput(op, output.c_str());
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, functions.infer_shapes);
  TF_RegisterOpDefinition(op, status.get());
  if (!registered()) return false;
  for (const TF_DataType type : {TF_FLOAT, TF_DOUBLE}) {
    TF_KernelBuilder* kernel = TF_NewKernelBuilder(name, "CPU", functions.create, functions.compute, functions.destroy);
    TF_KernelBuilder_TypeConstraint(kernel, "T", type, status.get());
    if (!registered()) return false;
    TF_RegisterKernelBuilder(name, kernel, status.get());
    if (!registered()) return false;
  }
  return true;
}

}  // namespace fastseq::tensorflow
