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

}  // namespace

Status parse_option(const char* argument, const std::string& name, Activation* option) {
  return find(kActivations, argument, name, option);
}

Status parse_option(const char* argument, const std::string& name, Padding* option) {
  return find(kPaddings, argument, name, option);
}

std::vector<std::string> names_from(Activation option) { return all_from(kActivations, option); }
std::vector<std::string> names_from(Padding option) { return all_from(kPaddings, option); }

}  // namespace fastseq
