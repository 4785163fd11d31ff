// Options by their names in Keras.
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

}  // namespace

Status parse_activation(const char* argument, const std::string& name, Activation* activation) {
  static constexpr Named<Activation> kActivations[] = {{"tanh", Activation::kTanh},
                                                       {"sigmoid", Activation::kSigmoid},
                                                       {"hard_sigmoid", Activation::kHardSigmoid},
                                                       {"relu", Activation::kRelu},
                                                       {"linear", Activation::kLinear}};
  return find(kActivations, argument, name, activation);
}

Status parse_padding(const char* argument, const std::string& name, Padding* padding) {
  static constexpr Named<Padding> kPaddings[] = {
      {"valid", Padding::kValid}, {"same", Padding::kSame}, {"causal", Padding::kCausal}};
  return find(kPaddings, argument, name, padding);
}

}  // namespace fastseq
