#include "runtime/storage/scalar_type.h"

#include <array>

namespace switchyard {
namespace {

// In the order of Dtype's enumerators.
constexpr std::array<at::ScalarType, 15> kTypes = {
    at::ScalarType::Bool,          at::ScalarType::Byte,   at::ScalarType::Char,  at::ScalarType::Float8_e5m2,
    at::ScalarType::Float8_e4m3fn, at::ScalarType::UInt16, at::ScalarType::Short, at::ScalarType::Half,
    at::ScalarType::BFloat16,      at::ScalarType::UInt32, at::ScalarType::Int,   at::ScalarType::Float,
    at::ScalarType::UInt64,        at::ScalarType::Long,   at::ScalarType::Double};
static_assert(static_cast<size_t>(Dtype::kF64) + 1 == kTypes.size());

}  // namespace

at::ScalarType scalar_type(Dtype dtype) {
  return kTypes[static_cast<size_t>(dtype)];
}

std::optional<Dtype> stored_dtype(at::ScalarType type) {
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i] == type) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

}  // namespace switchyard
