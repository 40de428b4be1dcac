// Golden values that a script of tests/golden wrote.
#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

namespace switchyard {

// All tensors of tests/golden/<file>, by name. A missing file is an error.
std::map<std::string, at::Tensor> read_golden(const std::string& file);

}  // namespace switchyard
