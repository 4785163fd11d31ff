// The common part of fastseq's TensorFlow ops: owners of the C API's handles, access to tensors as the core's arrays,
// shape inference, and registration.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "c_api.h"
#include "fastseq/array.h"
#include "fastseq/memory.h"
#include "fastseq/names.h"
#include "fastseq/statement.h"
#include "fastseq/status.h"

namespace fastseq::tensorflow {

template <class Handle, void (*destroy)(Handle*)>
struct Deleter {
  void operator()(Handle* handle) const { destroy(handle); }
};
template <class Handle, void (*destroy)(Handle*)>
using Owner = std::unique_ptr<Handle, Deleter<Handle, destroy>>;
using OwnedStatus = Owner<TF_Status, TF_DeleteStatus>;
using OwnedTensor = Owner<TF_Tensor, TF_DeleteTensor>;
using OwnedShape = Owner<TF_ShapeHandle, TF_DeleteShapeHandle>;

// The status of a callback from TensorFlow. After the first failure the functions of the derived classes do nothing.
class Outcome {
 public:
  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  void fail(TF_Code code, const char* message) {
    if (ok()) TF_SetStatus(status_, code, message);
  }
  void check(const Status& status) {
    if (!status.ok()) fail(TF_INVALID_ARGUMENT, status.message().c_str());
  }
  // Turns the body's exceptions into failures, since no exception may cross the C boundary.
  template <class Body>
  void guard(const Body& body) {
    try {
      body();
    } catch (const std::bad_alloc&) {
      fail(TF_RESOURCE_EXHAUSTED, "fastseq: out of memory");
    } catch (const std::exception& error) {
      fail(TF_INTERNAL, error.what());
    } catch (...) {
      fail(TF_INTERNAL, "unknown C++ exception");
    }
  }

 protected:
  Outcome() : owned_(TF_NewStatus()), status_(owned_.get()) {}
  explicit Outcome(TF_Status* status) : status_(status) {}

 private:
  OwnedStatus owned_;

 protected:
  TF_Status* status_;
};

// One run of a kernel. After a failure all functions do nothing, and finish() reports the failure to TensorFlow.
class Context : public Outcome {
 public:
  explicit Context(TF_OpKernelContext* context) : context_(context) {}
  void finish() {
    if (!ok()) TF_OpKernelContext_Failure(context_, status_);
  }

  // Inputs and outputs come in the order of the op's definition.
  Array next_input();
  template <size_t kCount>
  std::array<Array, kCount> next_inputs() {
    std::array<Array, kCount> inputs;
    for (Array& input : inputs) input = next_input();
    return inputs;
  }
  // TensorFlow's ops have no optional inputs. An absent input has size 0 in every dimension.
  Array next_optional_input();
  Array next_output(DType dtype, std::initializer_list<int64_t> shape);
  Array next_output(DType dtype, const int64_t* shape, int rank);
  // An output like input `index`, in the input's memory if nothing else uses that. `input` is that input's array; it is
  // updated if its memory has moved. No input may be read after this call.
  Array next_output_over(int index, Array* input);
  // A scalar.
  int64_t next_number(const char* name);
  // Unless it is `wanted`, the output has size 0 in every dimension, and the result is an absent array.
  Array next_optional_output(bool wanted, DType dtype, std::initializer_list<int64_t> shape);
  // Whether the next input, a token, is also held by another node that has yet to run (liveness_ops.cc). The next
  // output has the same value.
  bool next_live();
  // The next output is input `index`, without a copy. All inputs must have been read before any output.
  void pass_on(int index);
  void* scratch(size_t bytes);

 private:
  Array keep(TF_Tensor* tensor);

  TF_OpKernelContext* context_;
  int inputs_ = 0;                    // inputs read so far
  int outputs_ = 0;                   // outputs made so far
  std::vector<OwnedTensor> tensors_;  // the tensors of all arrays that were returned
  Memory scratch_;
};

// One inference of shapes. The C API has no access to attributes here, so the result must hold for all their values.
// TensorFlow takes two dimensions with the same handle for equal, even if their size is unknown.
class Shapes : public Outcome {
 public:
  Shapes(TF_ShapeInferenceContext* context, TF_Status* status) : Outcome(status), context_(context) {}
  // The shape of input `index`. It is an error if its rank is known and is not `rank`.
  TF_ShapeHandle* input(int index, int64_t rank);
  // The shape of input `index`, of any rank.
  TF_ShapeHandle* input(int index);
  // Dimension i of a shape, as a shape with one dimension.
  TF_ShapeHandle* dim(TF_ShapeHandle* shape, int64_t i);
  // An unknown dimension. Every call makes another handle, so that TensorFlow takes no two of them for equal.
  TF_ShapeHandle* unknown_dim();
  void set_outputs_unknown();
  // An array with a negative number in place of each size of input `index`, which set_output_of translates back. If
  // `rank` is kAnyRank, there is one number for the whole shape.
  Array sizes_of_input(int index, int rank);
  // Sets the shape of an output to that of `like`, which has sizes from sizes_of_input, or 0 for an unknown size. The
  // dimension that is 0 if an optional output is left out is unknown, and so is the last one of raw bytes.
  void set_output_of(int index, const Array& like, bool optional, bool bytes);
  int inputs() const;
  void set_output(int index, const std::vector<TF_ShapeHandle*>& dims);
  void set_output_like(int index, TF_ShapeHandle* shape);

 private:
  TF_ShapeHandle* own(TF_ShapeHandle* handle);

  TF_ShapeInferenceContext* context_;
  std::vector<OwnedShape> handles_;
  std::vector<TF_ShapeHandle*> sizes_;  // the dimension for each number of sizes_of_input
};

// The attributes of an op, when a kernel is constructed.
class Attributes : public Outcome {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction) : construction_(construction) {}
  void finish() {
    if (!ok()) TF_OpKernelConstruction_Failure(construction_, status_);
  }

  void read(const char* name, bool* option) { *option = boolean(name); }
  void read(const char* name, int64_t* option) { *option = integer(name); }
  template <class Option>
  void read(const char* name, Option* option) {
    check(parse_option(name, string(name), option));
  }
  bool boolean(const char* name);
  int64_t integer(const char* name);
  std::vector<int64_t> integers(const char* name);
  std::string string(const char* name);

 private:
  TF_OpKernelConstruction* construction_;
};

using Names = std::vector<std::string>;

// The definition of an op in TensorFlow's notation.
struct OpDefinition {
  std::string name;
  Names inputs;
  Names outputs;
  Names attrs;  // besides T: {float, double}
};

// The functions that TensorFlow calls for an op.
struct OpFunctions {
  void (*infer_shapes)(TF_ShapeInferenceContext*, TF_Status*);
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
};

bool register_op(const OpDefinition& definition, const OpFunctions& functions);

// Registers the op and its CPU kernels for float and double. It is called from a static initialiser. `Kernel` is
//   struct Kernel {
//     static void infer_shapes(Shapes& shapes);
//     explicit Kernel(Attributes& attributes);
//     void compute(Context& context) const;
//   };
template <class Kernel>
bool register_op(const OpDefinition& definition) {
  OpFunctions functions;
  functions.infer_shapes = [](TF_ShapeInferenceContext* raw, TF_Status* status) {
    Shapes shapes(raw, status);
    shapes.guard([&] {
      shapes.set_outputs_unknown();
      Kernel::infer_shapes(shapes);
    });
  };
  functions.create = [](TF_OpKernelConstruction* raw) -> void* {
    Attributes attributes(raw);
    Kernel* kernel = nullptr;
    attributes.guard([&] { kernel = new Kernel(attributes); });
    attributes.finish();
    return kernel;
  };
  functions.compute = [](void* kernel, TF_OpKernelContext* raw) {
    Context context(raw);
    context.guard([&] { static_cast<const Kernel*>(kernel)->compute(context); });
    context.finish();
  };
  functions.destroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  return register_op(definition, functions);
}

}  // namespace fastseq::tensorflow
