// What every TensorFlow op of fastseq needs: owners for the C API's handles, tensors as the core's arrays, shape
// inference in a readable form, registration.
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

// How something that TensorFlow asked for went. After the first failure nothing is done any more.
class Outcome {
 public:
  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  void fail(TF_Code code, const char* message) {
    if (ok()) TF_SetStatus(status_, code, message);
  }
  void check(const Status& status) {
    if (!status.ok()) fail(TF_INVALID_ARGUMENT, status.message().c_str());
  }
  // Turns what the body throws into a failure: nothing may cross the C boundary.
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

// One run of a kernel; every call does nothing after a failure, which finish() hands to TensorFlow.
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
  // Ops have no optional inputs: one that is absent has 0 along every dimension.
  Array next_optional_input();
  Array next_output(DType dtype, std::initializer_list<int64_t> shape);
  Array next_output(DType dtype, const int64_t* shape, int rank);
  // Like input `index`, and in its memory where nobody else needs what is there. *input, which is that input's array,
  // is where it is from then on. No input may be taken after it.
  Array next_output_over(int index, Array* input);
  // A scalar.
  int64_t next_number(const char* name);
  // Absent, and of size 0 along every dimension, unless it is `wanted`.
  Array next_optional_output(bool wanted, DType dtype, std::initializer_list<int64_t> shape);
  // The next input is a token, and the next output says what is returned: whether the token is held by another node
  // that has yet to run (liveness_ops.cc).
  bool next_live();
  // The next output is input `index`, which has been taken before any output, in its memory.
  void pass_on(int index);
  void* scratch(size_t bytes);

 private:
  Array keep(TF_Tensor* tensor);

  TF_OpKernelContext* context_;
  int inputs_ = 0;                    // taken so far
  int outputs_ = 0;                   // likewise
  std::vector<OwnedTensor> tensors_;  // alive as long as the arrays that view them
  Memory scratch_;
};

// One inference of shapes. Attributes are not to be read here. What TensorFlow is told must hold for every value of
// them: it replaces a size that it does not know by one that is said to be the same.
class Shapes : public Outcome {
 public:
  Shapes(TF_ShapeInferenceContext* context, TF_Status* status) : Outcome(status), context_(context) {}
  // Input `index`, which must have `rank` dimensions as far as is known.
  TF_ShapeHandle* input(int index, int64_t rank);
  // Of any rank.
  TF_ShapeHandle* input(int index);
  // Dimension i of a shape, as a vector of one dimension.
  TF_ShapeHandle* dim(TF_ShapeHandle* shape, int64_t i);
  // One that is not known to be the same as any other: a handle of its own at every call.
  TF_ShapeHandle* unknown_dim();
  void set_outputs_unknown();
  // An array whose sizes stand for those of input `index`: numbers below 0. It has one for all of them together where
  // `rank` says that it may be any.
  Array sizes_of_input(int index, int rank);
  // Of an array with such sizes, or 0 for one that is not known. One that may be left out has none along a dimension,
  // the second if there are several; of one that holds raw bytes nobody knows how many there are.
  void set_output_of(int index, const Array& like, bool optional, bool bytes);
  int inputs() const;
  void set_output(int index, const std::vector<TF_ShapeHandle*>& dims);
  void set_output_like(int index, TF_ShapeHandle* shape);

 private:
  TF_ShapeHandle* own(TF_ShapeHandle* handle);

  TF_ShapeInferenceContext* context_;
  std::vector<OwnedShape> handles_;
  std::vector<TF_ShapeHandle*> sizes_;  // that sizes_of_input stands for
};

// The attributes of an op, while a kernel of it is made.
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

// An op as TensorFlow is told of it.
struct OpDefinition {
  std::string name;
  Names inputs;
  Names outputs;
  Names attrs;  // beside T: {float, double}
};

// The functions that TensorFlow calls for it.
struct OpFunctions {
  void (*infer_shapes)(TF_ShapeInferenceContext*, TF_Status*);
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
};

bool register_op(const OpDefinition& definition, const OpFunctions& functions);

// Registers the op and its CPU kernels for float and double; call it from a static initialiser. `Kernel` is
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
