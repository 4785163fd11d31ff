// From Keras's names of options to the options. Errors name the argument.
#pragma once

#include <string>
#include <vector>

#include "fastseq/activation.h"
#include "fastseq/elementwise.h"
#include "fastseq/padding.h"
#include "fastseq/rowwise.h"
#include "fastseq/status.h"

namespace fastseq {

Status parse_option(const char* argument, const std::string& name, Activation* option);
Status parse_option(const char* argument, const std::string& name, Padding* option);
Status parse_option(const char* argument, const std::string& name, Pointwise* option);
Status parse_option(const char* argument, const std::string& name, Combination* option);
Status parse_option(const char* argument, const std::string& name, MaskCombination* option);
Status parse_option(const char* argument, const std::string& name, Reduction* option);

// The names of all options of this type; the name of the given option comes first.
std::vector<std::string> names_from(Activation option);
std::vector<std::string> names_from(Padding option);
std::vector<std::string> names_from(Pointwise option);
std::vector<std::string> names_from(Combination option);
std::vector<std::string> names_from(MaskCombination option);
std::vector<std::string> names_from(Reduction option);

}  // namespace fastseq
