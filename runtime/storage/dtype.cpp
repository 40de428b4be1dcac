#include "runtime/storage/dtype.h"

#include <array>
#include <limits>

namespace switchyard {
namespace {

struct Row {
  const char* name;
  int64_t bytes;
};

// In the order of the enumerators.
constexpr std::array<Row, 15> kRows = {{{"BOOL", 1},
                                        {"U8", 1},
                                        {"I8", 1},
                                        {"F8_E5M2", 1},
                                        {"F8_E4M3", 1},
                                        {"U16", 2},
                                        {"I16", 2},
                                        {"F16", 2},
                                        {"BF16", 2},
                                        {"U32", 4},
                                        {"I32", 4},
                                        {"F32", 4},
                                        {"U64", 8},
                                        {"I64", 8},
                                        {"F64", 8}}};
static_assert(static_cast<size_t>(Dtype::kF64) + 1 == kRows.size());

}  // namespace

const char* dtype_name(Dtype dtype) {
  return kRows[static_cast<size_t>(dtype)].name;
}

int64_t dtype_bytes(Dtype dtype) {
  return kRows[static_cast<size_t>(dtype)].bytes;
}

std::optional<Dtype> parse_dtype(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (name == kRows[i].name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

std::optional<int64_t> tensor_bytes(Dtype dtype, const std::vector<int64_t>& shape) {
  // Extents of zero are left out of the product, so that every sub-box's own product fits as well.
  int64_t product = dtype_bytes(dtype);
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      empty = true;
    } else if (product > std::numeric_limits<int64_t>::max() / extent) {
      return std::nullopt;
    } else {
      product *= extent;
    }
  }
  return empty ? 0 : product;
}

}  // namespace switchyard
