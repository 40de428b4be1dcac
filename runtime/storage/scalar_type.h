// Between stored element types and LibTorch's.
#pragma once

#include <optional>

#include <c10/core/ScalarType.h>

#include "runtime/storage/dtype.h"

namespace switchyard {

at::ScalarType scalar_type(Dtype dtype);
std::optional<Dtype> stored_dtype(at::ScalarType type);  // nullopt: complex and quantised types

}  // namespace switchyard
