// The messages of errors.
#include "common/checks.h"

#include "check.h"
#include "fastseq/dropout.h"
#include "fastseq/names.h"
#include "fastseq/peak.h"

namespace fastseq::test {
namespace {

TEST(a_status_carries_its_code_and_message) {
  CHECK(Status().ok());
  CHECK_EQUAL(Status().message(), "");
  CHECK_INVALID(Status::invalid_argument("a"), "a");
  CHECK_DTYPE(Status::invalid_dtype("b"), "b");
}

TEST(shapes_are_written_as_python_writes_them) {
  const int64_t shape[] = {20, 100, 46, 1, 2, 3, 4, 5};
  CHECK_EQUAL(shape_text(shape, 0, 0), "()");
  CHECK_EQUAL(shape_text(shape, 1, 1), "(20,)");
  CHECK_EQUAL(shape_text(shape, 3, 3), "(20, 100, 46)");
  CHECK_EQUAL(shape_text(shape, 11, 11), "(20, 100, 46, 1, 2, 3, 4, 5, ...)");
}

TEST(ranges_have_both_ends) {
  CHECK(check_range("n", 1, 1).ok());
  CHECK(check_range("n", INT32_MAX, 1).ok());
  CHECK_INVALID(check_range("pool_size", 0, 1), "pool_size must be at least 1, got 0");
  CHECK_INVALID(check_range("n", int64_t{1} << 31, 1), "n must be at most 2147483647, got 2147483648");
}

TEST(arrays_that_do_not_fit_are_named) {
  const Array array = shaped(DType::kFloat32, {4, 19});
  CHECK(check_array("kernel", array, DType::kFloat32, {4, 19}).ok());
  CHECK(check_optional("kernel", {}, DType::kFloat32, {4, 19}).ok());
  CHECK_INVALID(check_array("kernel", {}, DType::kFloat32, {4}), "kernel is required, got None");
  CHECK_INVALID(check_array("kernel", array, DType::kFloat32, {4, 20}), "kernel must have shape (4, 20), got (4, 19)");
  CHECK_INVALID(check_optional("kernel", array, DType::kFloat32, {76}), "kernel must have shape (76,), got (4, 19)");
  CHECK_DTYPE(check_array("kernel", array, DType::kFloat64, {4, 20}), "kernel must have dtype float64, got float32");
  CHECK(check_like("y", array, array).ok());
  CHECK_INVALID(check_like("y", {}, array), "y is required, got None");
  CHECK_INVALID(check_like("y", array, shaped(DType::kFloat32, {4})), "y must have shape (4,), got (4, 19)");
  CHECK_DTYPE(check_like("y", array, shaped(DType::kInt64, {4})), "y must have dtype int64, got float32");
  CHECK_INVALID(check_float_rank("x", array, 3, "(a, b, c)"), "x must have shape (a, b, c), got (4, 19)");
  CHECK_INVALID(check_float_rank("x", {}, 3, "(a, b, c)"), "x is required, got None");
  CHECK_DTYPE(check_float_rank("x", shaped(DType::kUInt16, {1}), 1, ""),
              "x must have dtype float32 or float64, got uint16");
  CHECK_DTYPE(check_float_rank("x", shaped(DType::kOther, {1}), 1, ""),
              "x must have dtype float32 or float64, got another dtype");
  CHECK_INVALID(check_integer("ids", {}), "ids is required, got None");
  CHECK_DTYPE(check_integer("ids", shaped(DType::kBool, {1})), "ids must have dtype int32 or int64, got bool");
}

TEST(sizes_are_not_negative_and_far_from_overflow) {
  const auto check = [](const std::vector<int64_t>& shape) {
    return check_float_rank("x", shaped(DType::kFloat32, shape), static_cast<int>(shape.size()), "");
  };
  CHECK(check({int64_t{1} << 31, int64_t{1} << 16}).ok());
  CHECK(check({int64_t{1} << 47, 0, 1}).ok());
  const std::string most =
      "x must have sizes of 0 or more and at most 2^47 elements, counting a size of 0 as 1, got shape ";
  CHECK_INVALID(check({3, -1}), most + "(3, -1)");
  CHECK_INVALID(check({0, -1}), most + "(0, -1)");
  CHECK_INVALID(check({int64_t{1} << 31, int64_t{1} << 16, 2}), most + "(2147483648, 65536, 2)");
  CHECK_INVALID(check({0, int64_t{1} << 40, int64_t{1} << 40}), most + "(0, 1099511627776, 1099511627776)");
}

TEST(the_first_index_out_of_range_is_found) {
  Arrays arrays;
  const Array ids = arrays.make("ids", DType::kInt32, {2, 3});
  for (int i = 0; i < 6; ++i) ids.as<int32_t>()[i] = i;
  CHECK(check_indices("ids", ids, 6).ok());
  CHECK_INVALID(check_indices("ids", ids, 4), "ids must be in [0, 4), got 4 at (1, 1)");
  ids.as<int32_t>()[2] = INT32_MIN;
  CHECK_INVALID(check_indices("ids", ids, 6), "ids must be in [0, 6), got -2147483648 at (0, 2)");
  const Array wide = arrays.make("ids", DType::kInt64, {1});
  *wide.as<int64_t>() = int64_t{1} << 32;
  CHECK_INVALID(check_indices("ids", wide, 4), "ids must be in [0, 4), got 4294967296 at (0,)");
  CHECK(check_indices("ids", shaped(DType::kInt32, {0, 5}), 0).ok());
}

TEST(options_are_known_by_keras_names) {
  Activation activation{};
  require(parse_option("activation", "hard_sigmoid", &activation));
  CHECK(activation == Activation::kHardSigmoid);
  CHECK_INVALID(parse_option("activation", "gelu", &activation),
                "activation must be one of tanh, sigmoid, hard_sigmoid, relu, linear, got 'gelu'");
  Padding padding{};
  require(parse_option("padding", "causal", &padding));
  CHECK(padding == Padding::kCausal);
  CHECK_INVALID(parse_option("padding", "", &padding), "padding must be one of valid, same, causal, got ''");
  HalfType half{};
  require(parse_half_type("cast_from", "bfloat16", &half));
  CHECK(half == HalfType::kBfloat16);
  CHECK_INVALID(parse_half_type("cast_from", "half", &half), "cast_from must be none, float16 or bfloat16, got 'half'");
}

TEST(the_peak_needs_threads_and_time) {
  double rate = 0.0;
  CHECK_INVALID(fma_peak(0, 1.0, &rate), "threads must be at least 1, got 0");
  CHECK_INVALID(fma_peak(1, 0.0, &rate), "seconds must be above 0, got 0.000000");
  CHECK_INVALID(fma_peak(1, std::nan(""), &rate), "seconds must be above 0, got nan");
  require(fma_peak(2, 1e-4, &rate));
  CHECK(rate > 0.0);
}

}  // namespace
}  // namespace fastseq::test
