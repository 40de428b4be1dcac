#include <algorithm>
#include <bit>
#include <cstring>

#include <ATen/Parallel.h>

#include "parallel/dispatch/permute.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

// Bytes below which a second thread costs more than it saves.
constexpr int64_t kGrainBytes = 64 << 10;

// One element as it is stored and as it is computed with. bf16 is handled as its bits so that loops vectorise.
template <typename T>
struct Element {
  using Stored = T;
  using Computed = T;
  static Computed load(Stored x) { return x; }
  static Stored store(Computed x) { return x; }
};

template <>
struct Element<at::BFloat16> {
  using Stored = uint16_t;
  using Computed = float;
  static Computed load(Stored x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }
  static Stored store(Computed x) {  // to nearest even; NaN stays NaN
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<Stored>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
  }
};

template <typename Body>
void with_element(at::ScalarType dtype, const Body& body) {
  switch (dtype) {
    case at::kBFloat16:
      return body(Element<at::BFloat16>());
    case at::kFloat:
      return body(Element<float>());
    case at::kDouble:
      return body(Element<double>());
    default:
      check_failed(__FILE__, __LINE__, "rows must be bf16, fp32 or fp64");
  }
}

template <typename T>
T* data_of(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

int64_t row_bytes(const at::Tensor& tensor) {
  return tensor.size(1) * tensor.element_size();
}

// Tokens a thread should at least have, so that it moves kGrainBytes.
int64_t token_grain(const SlotTable& table, int64_t bytes_a_row) {
  const int64_t copies = table.slots() * table.copies;
  const int64_t bytes_a_token = std::max<int64_t>(1, copies * bytes_a_row / std::max<int64_t>(1, table.tokens()));
  return std::max<int64_t>(1, kGrainBytes / bytes_a_token);
}

void check_rows(const at::Tensor& rows, const at::Tensor& like) {
  SY_CHECK(rows.is_contiguous());
  SY_CHECK_EQ(rows.dim(), 2);
  SY_CHECK_EQ(rows.size(1), like.size(1));
  SY_CHECK_EQ(rows.scalar_type(), like.scalar_type());
}

template <typename T>
T* target_row(int64_t target, T* wire, T* rows, int64_t width) {
  return target >= 0 ? wire + target * width : rows + SlotTable::stays_at(target) * width;
}

// destination = weight · g; returns ⟨g, y⟩, summed in a fixed order that depends on `width` alone.
template <typename E, typename S = typename E::Stored, typename C = typename E::Computed>
C scale_and_dot(const S* g, C weight, const S* y, const S* next_y, int64_t width, S* destination) {
  constexpr int64_t kLanes = 16;
  C lanes[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= width; j += kLanes) {
    __builtin_prefetch(next_y + j);
    for (int64_t l = 0; l < kLanes; ++l) {
      const C value = E::load(g[j + l]);
      destination[j + l] = E::store(weight * value);
      lanes[l] += value * E::load(y[j + l]);
    }
  }
  for (; j < width; ++j) {
    const C value = E::load(g[j]);
    destination[j] = E::store(weight * value);
    lanes[j % kLanes] += value * E::load(y[j]);
  }
  C sum = 0;
  for (C lane : lanes) sum += lane;
  return sum;
}

// One block of columns of one token: the sum over its rows stays in registers. Rows of the next token are prefetched.
template <typename E, int64_t kColumns, typename S = typename E::Stored, typename C = typename E::Computed>
void sum_columns(const S* rows, const int64_t* index, int64_t count, int64_t next_count, const C* weights,
                 int64_t copies, int64_t width, int64_t column, S* out) {
  C sum[kColumns] = {};
  for (int64_t i = 0; i < count; ++i) {
    const S* row = rows + index[i] * width + column;
    const C weight = weights ? weights[i / copies] : C(1);
    for (int64_t l = 0; l < kColumns; ++l) sum[l] += weight * E::load(row[l]);
  }
  for (int64_t i = count; i < count + next_count; ++i) __builtin_prefetch(rows + index[i] * width + column);
  for (int64_t l = 0; l < kColumns; ++l) out[column + l] = E::store(sum[l]);
}

}  // namespace

std::vector<int64_t> count_slots(const at::Tensor& ids_N, int64_t experts) {
  std::vector<int64_t> counts(experts);
  const int64_t* ids = ids_N.const_data_ptr<int64_t>();
  for (int64_t s = 0; s < ids_N.numel(); ++s) {
    SY_CHECK(ids[s] >= 0 && ids[s] < experts);
    ++counts[ids[s]];
  }
  return counts;
}

void spread_rows(const at::Tensor& x_TD, const SlotTable& table, at::Tensor wire_WD, at::Tensor rows_RD) {
  SY_CHECK_EQ(x_TD.size(0), table.tokens());
  check_rows(x_TD, x_TD);
  check_rows(wire_WD, x_TD);
  check_rows(rows_RD, x_TD);
  const int64_t bytes = row_bytes(x_TD);
  const int64_t* offsets = data_of<int64_t>(table.offsets);
  const char* x = data_of<char>(x_TD);
  char* wire = data_of<char>(wire_WD);
  char* rows = data_of<char>(rows_RD);
  at::parallel_for(0, table.tokens(), token_grain(table, bytes), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = offsets[t] * table.copies; i < offsets[t + 1] * table.copies; ++i) {
        std::memcpy(target_row(table.target[i], wire, rows, bytes), x + t * bytes, bytes);
      }
    }
  });
}

void spread_weighted_rows(const at::Tensor& g_TD, const at::Tensor& weights_N, const at::Tensor& returned_SD,
                          const SlotTable& table, at::Tensor wire_WD, at::Tensor rows_RD,
                          at::Tensor weight_gradients_N) {
  SY_CHECK_EQ(g_TD.size(0), table.tokens());
  for (const at::Tensor& rows : {g_TD, returned_SD, wire_WD, rows_RD}) check_rows(rows, g_TD);
  for (const at::Tensor& weights : {weights_N, weight_gradients_N}) {
    SY_CHECK_EQ(weights.numel(), table.slots());
    SY_CHECK(weights.is_contiguous());
  }
  with_element(g_TD.scalar_type(), [&](auto element) {
    using E = decltype(element);
    using S = typename E::Stored;
    using C = typename E::Computed;
    SY_CHECK_EQ(weights_N.element_size(), static_cast<int64_t>(sizeof(C)));
    SY_CHECK_EQ(weight_gradients_N.element_size(), static_cast<int64_t>(sizeof(C)));
    const int64_t width = g_TD.size(1);
    const int64_t copies = table.copies;
    const int64_t* offsets = data_of<int64_t>(table.offsets);
    const S* g = data_of<S>(g_TD);
    const S* returned = data_of<S>(returned_SD);
    S* wire = data_of<S>(wire_WD);
    S* rows = data_of<S>(rows_RD);
    const C* weights = data_of<C>(weights_N);
    C* gradients = data_of<C>(weight_gradients_N);
    at::parallel_for(0, table.tokens(), token_grain(table, row_bytes(g_TD)), [&](int64_t begin, int64_t end) {
      const int64_t last = offsets[end] * copies - 1;
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t s = offsets[t]; s < offsets[t + 1]; ++s) {
          C dot = 0;
          for (int64_t i = s * copies; i < (s + 1) * copies; ++i) {
            const S* y = returned + table.returned[i] * width;
            const S* next_y = returned + table.returned[std::min(i + 1, last)] * width;
            dot += scale_and_dot<E>(g + t * width, weights[s], y, next_y, width,
                                    target_row(table.target[i], wire, rows, width));
          }
          gradients[s] = dot;
        }
      }
    });
  });
}

void sum_rows(const at::Tensor& returned_SD, const SlotTable& table, const at::Tensor& weights_N, at::Tensor out_TD) {
  SY_CHECK_EQ(out_TD.size(0), table.tokens());
  check_rows(out_TD, out_TD);
  check_rows(returned_SD, out_TD);
  if (weights_N.defined()) {
    SY_CHECK_EQ(weights_N.numel(), table.slots());
    SY_CHECK(weights_N.is_contiguous());
  }
  with_element(out_TD.scalar_type(), [&](auto element) {
    using E = decltype(element);
    using S = typename E::Stored;
    using C = typename E::Computed;
    if (weights_N.defined()) SY_CHECK_EQ(weights_N.element_size(), static_cast<int64_t>(sizeof(C)));
    constexpr int64_t kBlock = 32;
    const int64_t width = out_TD.size(1);
    const int64_t copies = table.copies;
    const int64_t* offsets = data_of<int64_t>(table.offsets);
    const int64_t* index = table.returned.data();
    const S* rows = data_of<S>(returned_SD);
    const C* weights = weights_N.defined() ? data_of<C>(weights_N) : nullptr;
    S* out = data_of<S>(out_TD);
    at::parallel_for(0, table.tokens(), token_grain(table, row_bytes(out_TD)), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t first = offsets[t] * copies;
        const int64_t count = offsets[t + 1] * copies - first;
        const int64_t next_count = t + 1 < end ? (offsets[t + 2] - offsets[t + 1]) * copies : 0;
        const C* w = weights ? weights + offsets[t] : nullptr;
        int64_t j = 0;
        for (; j + kBlock <= width; j += kBlock) {
          sum_columns<E, kBlock>(rows, index + first, count, next_count, w, copies, width, j, out + t * width);
        }
        for (; j < width; ++j) {
          sum_columns<E, 1>(rows, index + first, count, 0, w, copies, width, j, out + t * width);
        }
      }
    });
  });
}

namespace {

void copy_pieces(const at::Tensor& from, const at::Tensor& to, std::span<const RowSegment> segments,
                 int64_t RowSegment::*source, int64_t RowSegment::*destination) {
  check_rows(from, to);
  check_rows(to, to);
  const int64_t bytes = row_bytes(to);
  const char* in = data_of<char>(from);
  char* out = data_of<char>(to);
  at::parallel_for(0, static_cast<int64_t>(segments.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const RowSegment& segment = segments[i];
      std::memcpy(out + segment.*destination * bytes, in + segment.*source * bytes, segment.count * bytes);
    }
  });
}

}  // namespace

void copy_segments(const at::Tensor& from, at::Tensor to, std::span<const RowSegment> segments) {
  copy_pieces(from, to, segments, &RowSegment::a, &RowSegment::b);
}

void copy_segments_reversed(const at::Tensor& from, at::Tensor to, std::span<const RowSegment> segments) {
  copy_pieces(from, to, segments, &RowSegment::b, &RowSegment::a);
}

}  // namespace switchyard
