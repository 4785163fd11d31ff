// From Keras's names of options to the options.
#include "fastseq/names.h"

namespace fastseq {
namespace {

template <class Option>
struct Named {
  const char* name;
  Option option;
};

template <class Option, size_t kCount>
Status find(const Named<Option> (&known)[kCount], const char* argument, const std::string& name, Option* option) {
  std::string names;
  for (const Named<Option>& one : known) {
    if (name == one.name) {
      *option = one.option;
      return {};
    }
    names += (names.empty() ? "" : ", ") + std::string(one.name);
  }
  return Status::invalid_argument(std::string(argument) + " must be one of " + names + ", got '" + name + "'");
}

template <class Option, size_t kCount>
std::vector<std::string> all_from(const Named<Option> (&known)[kCount], Option option) {
  std::vector<std::string> names;
  for (const Named<Option>& one : known) names.insert(one.option == option ? names.begin() : names.end(), one.name);
  return names;
}

constexpr Named<Activation> kActivations[] = {{"tanh", Activation::kTanh},
                                              {"sigmoid", Activation::kSigmoid},
                                              {"hard_sigmoid", Activation::kHardSigmoid},
                                              {"relu", Activation::kRelu},
                                              {"linear", Activation::kLinear}};
constexpr Named<Padding> kPaddings[] = {
    {"valid", Padding::kValid}, {"same", Padding::kSame}, {"causal", Padding::kCausal}};
constexpr Named<Pointwise> kPointwise[] = {{"tanh", Pointwise::kTanh},
                                           {"sigmoid", Pointwise::kSigmoid},
                                           {"hard_sigmoid", Pointwise::kHardSigmoid},
                                           {"relu", Pointwise::kRelu},
                                           {"linear", Pointwise::kLinear},
                                           {"elu", Pointwise::kElu},
                                           {"selu", Pointwise::kSelu},
                                           {"softplus", Pointwise::kSoftplus},
                                           {"softsign", Pointwise::kSoftsign},
                                           {"silu", Pointwise::kSilu},
                                           {"hard_silu", Pointwise::kHardSilu},
                                           {"gelu", Pointwise::kGelu},
                                           {"gelu_tanh", Pointwise::kGeluTanh},
                                           {"exponential", Pointwise::kExponential},
                                           {"leaky_relu", Pointwise::kLeakyRelu},
                                           {"relu6", Pointwise::kRelu6},
                                           {"mish", Pointwise::kMish},
                                           {"log_sigmoid", Pointwise::kLogSigmoid},
                                           {"tanh_shrink", Pointwise::kTanhShrink},
                                           {"rectifier", Pointwise::kRectifier}};
constexpr Named<Combination> kCombinations[] = {
    {"add", Combination::kAdd},       {"subtract", Combination::kSubtract}, {"multiply", Combination::kMultiply},
    {"divide", Combination::kDivide}, {"maximum", Combination::kMaximum},   {"minimum", Combination::kMinimum}};
constexpr Named<MaskCombination> kMaskCombinations[] = {{"and", MaskCombination::kAnd}, {"or", MaskCombination::kOr}};
constexpr Named<Reduction> kReductions[] = {
    {"max", Reduction::kMax}, {"mean", Reduction::kMean}, {"sum", Reduction::kSum}};

}  // namespace

Status parse_option(const char* argument, const std::string& name, Activation* option) {
  return find(kActivations, argument, name, option);
}
Status parse_option(const char* argument, const std::string& name, Padding* option) {
  return find(kPaddings, argument, name, option);
}
Status parse_option(const char* argument, const std::string& name, Pointwise* option) {
  return find(kPointwise, argument, name, option);
}
Status parse_option(const char* argument, const std::string& name, Combination* option) {
  return find(kCombinations, argument, name, option);
}
Status parse_option(const char* argument, const std::string& name, MaskCombination* option) {
  return find(kMaskCombinations, argument, name, option);
}
Status parse_option(const char* argument, const std::string& name, Reduction* option) {
  return find(kReductions, argument, name, option);
}

std::vector<std::string> names_from(Activation option) { return all_from(kActivations, option); }
std::vector<std::string> names_from(Padding option) { return all_from(kPaddings, option); }
std::vector<std::string> names_from(Pointwise option) { return all_from(kPointwise, option); }
std::vector<std::string> names_from(Combination option) { return all_from(kCombinations, option); }
std::vector<std::string> names_from(MaskCombination option) { return all_from(kMaskCombinations, option); }
std::vector<std::string> names_from(Reduction option) { return all_from(kReductions, option); }

}  // namespace fastseq
