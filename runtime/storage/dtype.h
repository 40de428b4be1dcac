// Element types of stored tensors, with the names of the safetensors format; free of LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace switchyard {

enum class Dtype { kBool, kU8, kI8, kF8E5M2, kF8E4M3, kU16, kI16, kF16, kBF16, kU32, kI32, kF32, kU64, kI64, kF64 };

const char* dtype_name(Dtype dtype);  // e.g. "BF16"
std::optional<Dtype> parse_dtype(std::string_view name);
int64_t dtype_bytes(Dtype dtype);

// Bytes of a dense tensor; nullopt where an extent is negative or the product does not fit.
std::optional<int64_t> tensor_bytes(Dtype dtype, const std::vector<int64_t>& shape);

}  // namespace switchyard
