// Options by their names in Keras; the errors name the argument.
#pragma once

#include <string>
#include <vector>

#include "fastseq/activation.h"
#include "fastseq/padding.h"
#include "fastseq/status.h"

namespace fastseq {

Status parse_option(const char* argument, const std::string& name, Activation* option);
Status parse_option(const char* argument, const std::string& name, Padding* option);

// All names of options of this type, its own first.
std::vector<std::string> names_from(Activation option);
std::vector<std::string> names_from(Padding option);

}  // namespace fastseq
