#include "runtime/comm/reduce.h"

#include <algorithm>
#include <sstream>
#include <type_traits>
#include <vector>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

// One pass over memory whatever the number of sources: a block of sums stays in the first-level cache.
template <typename T, typename Accumulator, typename Combine>
void reduce_blocks(std::span<const void* const> sources, T* out, int64_t count, Combine combine) {
  constexpr int64_t kBlock = 1024;
  Accumulator block[kBlock];
  for (int64_t start = 0; start < count; start += kBlock) {
    const int64_t length = std::min(kBlock, count - start);
    const T* first = static_cast<const T*>(sources[0]) + start;
    for (int64_t i = 0; i < length; ++i) block[i] = static_cast<Accumulator>(first[i]);
    for (size_t source = 1; source < sources.size(); ++source) {
      const T* next = static_cast<const T*>(sources[source]) + start;
      for (int64_t i = 0; i < length; ++i) block[i] = combine(block[i], static_cast<Accumulator>(next[i]));
    }
    for (int64_t i = 0; i < length; ++i) out[start + i] = static_cast<T>(block[i]);
  }
}

// Wide enough for sums: unsigned for integers, so that overflow wraps.
template <typename T>
struct SumOf {
  using type = float;
};
template <>
struct SumOf<double> {
  using type = double;
};
template <typename T>
requires std::is_integral_v<T>
struct SumOf<T> {
  using type = uint64_t;
};

template <typename T>
void reduce_typed(ReduceOp op, std::span<const void* const> sources, void* out, int64_t count) {
  using Value = std::conditional_t<std::is_integral_v<T>, T, typename SumOf<T>::type>;
  T* typed_out = static_cast<T*>(out);
  switch (op) {
    case ReduceOp::kSum:
      using Sum = typename SumOf<T>::type;
      return reduce_blocks<T, Sum>(sources, typed_out, count, [](Sum a, Sum b) { return a + b; });
    // b != b: a NaN on either side wins.
    case ReduceOp::kMax:
      return reduce_blocks<T, Value>(sources, typed_out, count,
                                     [](Value a, Value b) { return a < b || b != b ? b : a; });
    case ReduceOp::kMin:
      return reduce_blocks<T, Value>(sources, typed_out, count,
                                     [](Value a, Value b) { return b < a || b != b ? b : a; });
  }
}

}  // namespace

void reduce_in_order(at::ScalarType dtype, ReduceOp op, std::span<const void* const> sources, void* out,
                     int64_t count) {
  switch (dtype) {
    case at::kDouble:
      return reduce_typed<double>(op, sources, out, count);
    case at::kFloat:
      return reduce_typed<float>(op, sources, out, count);
    case at::kHalf:
      return reduce_typed<c10::Half>(op, sources, out, count);
    case at::kBFloat16:
      return reduce_typed<c10::BFloat16>(op, sources, out, count);
    case at::kLong:
      return reduce_typed<int64_t>(op, sources, out, count);
    case at::kInt:
      return reduce_typed<int32_t>(op, sources, out, count);
    case at::kShort:
      return reduce_typed<int16_t>(op, sources, out, count);
    case at::kChar:
      return reduce_typed<int8_t>(op, sources, out, count);
    case at::kByte:
      return reduce_typed<uint8_t>(op, sources, out, count);
    default:
      std::ostringstream text;
      text << "no reduction of " << dtype;
      check_failed(__FILE__, __LINE__, text.str());
  }
}

void reduce_in_order(const Reduction& reduction) {
  std::vector<const void*> sources(reduction.ranks, reduction.mine);
  for_each_other(reduction, [&](int rank, const char* place) { sources[rank] = place; });
  reduce_in_order(reduction.dtype, reduction.op, sources, reduction.out,
                  reduction.piece_bytes / static_cast<int64_t>(c10::elementSize(reduction.dtype)));
}

}  // namespace switchyard
