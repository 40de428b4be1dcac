#include <algorithm>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "parallel/dispatch/permute.h"
#include "parallel/dispatch/permute_device.h"
#include "runtime/base/check.h"
#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

// Bytes below which a second thread costs more than it saves.
constexpr int64_t kGrainBytes = 64 << 10;

// Calls body with a value of the rows' element type and one of the type that they are computed in.
template <typename Body>
void with_types(at::ScalarType dtype, const Body& body) {
  switch (dtype) {
    case at::kBFloat16:
      return body(at::BFloat16(), float());
    case at::kFloat:
      return body(float(), float());
    case at::kDouble:
      return body(double(), double());
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

template <bool to_write = false, typename T>
SY_KERNEL void prefetch(const T* from, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(from + i, to_write);
}

// destination = weight · g; returns ⟨g, y⟩, summed in a fixed order that depends on `width` and L alone.
template <typename L, typename T, typename C>
SY_KERNEL C scale_and_dot(const T* g, C weight, const T* y, const T* next_y, int64_t width, T* destination,
                          T* next_destination) {
  constexpr int64_t kWide = 64 / sizeof(T);  // a cache line
  constexpr int64_t kRegisters = kWide / kLanes<L>;
  L products[kRegisters] = {};
  int64_t j = 0;
  for (; j + kWide <= width; j += kWide) {
    __builtin_prefetch(next_y + j);
    __builtin_prefetch(next_destination + j, 1);
    for (int64_t r = 0; r < kRegisters; ++r) {
      L a, b;
      load(g + j + r * kLanes<L>, a);
      load(y + j + r * kLanes<L>, b);
      store(destination + j + r * kLanes<L>, weight * a);
      products[r] += a * b;
    }
  }
  for (; j < width; j += kLanes<L>) {
    const int64_t rest = std::min(kLanes<L>, width - j);
    L a, b;
    load_first(g + j, rest, T(0), a);
    load_first(y + j, rest, T(0), b);
    store_first(destination + j, rest, weight * a);
    products[0] += a * b;
  }
  for (int64_t r = 1; r < kRegisters; ++r) products[0] += products[r];
  return sum(products[0]);
}

// The rows that are added into one token, and how many rows of the next token follow them.
template <typename T, typename C>
struct Addends {
  const T* rows;
  int64_t width;
  const int64_t* index;
  int64_t count;
  int64_t next_count;
  const C* weights;  // null: 1
  int64_t copies;

  const T* row(int64_t i) const { return rows + index[i] * width; }
  C weight(int64_t i) const { return weights ? weights[i / copies] : C(1); }
};

// A block of columns: the sum over rows stays in registers, and the next token's rows are prefetched.
template <int64_t kRegisters, typename L, typename T, typename C>
SY_KERNEL void sum_columns(const Addends<T, C>& addends, int64_t column, T* out) {
  L sums[kRegisters] = {};
  for (int64_t i = 0; i < addends.count; ++i) {
    const T* row = addends.row(i) + column;
    const L weight = broadcast<L>(addends.weight(i));
    for (int64_t r = 0; r < kRegisters; ++r) {
      L values;
      load(row + r * kLanes<L>, values);
      sums[r] += weight * values;
    }
  }
  for (int64_t i = addends.count; i < addends.count + addends.next_count; ++i) {
    prefetch(addends.row(i) + column, kRegisters * kLanes<L>);
  }
  for (int64_t r = 0; r < kRegisters; ++r) store(out + column + r * kLanes<L>, sums[r]);
}

template <typename L, typename T, typename C>
SY_KERNEL void sum_last_columns(const Addends<T, C>& addends, int64_t column, T* out) {
  const int64_t rest = std::min(kLanes<L>, addends.width - column);
  L sums = {};
  for (int64_t i = 0; i < addends.count; ++i) {
    L values;
    load_first(addends.row(i) + column, rest, T(0), values);
    sums += broadcast<L>(addends.weight(i)) * values;
  }
  store_first(out + column, rest, sums);
}

template <typename L, typename T, typename C>
SY_KERNEL void sum_token(const Addends<T, C>& addends, T* out) {
  constexpr int64_t kRegisters = 4;
  int64_t j = 0;
  for (; j + kRegisters * kLanes<L> <= addends.width; j += kRegisters * kLanes<L>) {
    sum_columns<kRegisters, L>(addends, j, out);
  }
  for (; j < addends.width; j += kLanes<L>) sum_last_columns<L>(addends, j, out);
}

}  // namespace

std::vector<int64_t> count_slots(const at::Tensor& ids_N, int64_t experts) {
  if (ids_N.is_cuda()) return on_device::count_slots(ids_N, experts);
  std::vector<int64_t> counts(experts);
  const int64_t* ids = ids_N.const_data_ptr<int64_t>();
  for (int64_t s = 0; s < ids_N.numel(); ++s) {
    SY_CHECK(ids[s] >= 0 && ids[s] < experts);
    ++counts[ids[s]];
  }
  return counts;
}

void index_slots(const at::Tensor& ids_N, std::span<const RowStart> starts, SlotTable& table) {
  if (ids_N.is_cuda()) return on_device::index_slots(ids_N, starts, table);
  const int64_t slots = ids_N.numel(), copies = table.copies;
  table.target = at::empty({slots * copies}, at::kLong);
  table.returned = at::empty({slots * copies}, at::kLong);
  const int64_t* ids = ids_N.const_data_ptr<int64_t>();
  int64_t* target = data_of<int64_t>(table.target);
  int64_t* returned = data_of<int64_t>(table.returned);
  std::vector<int64_t> next(starts.size() / copies);
  for (int64_t s = 0; s < slots; ++s) {
    index_slot(s, next[ids[s]]++, copies, &starts[ids[s] * copies], target, returned);
  }
}

void spread_rows(const at::Tensor& x_TD, const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD) {
  SY_CHECK_EQ(x_TD.size(0), table.tokens());
  check_rows(x_TD, x_TD);
  check_rows(places_XD, x_TD);
  check_rows(rows_RD, x_TD);
  if (x_TD.is_cuda()) return on_device::spread_rows(x_TD, table, places_XD, rows_RD);
  const int64_t* target = data_of<int64_t>(table.target);
  const int64_t bytes = row_bytes(x_TD);
  const int64_t* offsets = data_of<int64_t>(table.offsets);
  const char* x = data_of<char>(x_TD);
  char* places = data_of<char>(places_XD);
  char* rows = data_of<char>(rows_RD);
  // Rows lie too far apart for the processor to see them coming.
  constexpr int64_t kAhead = 2;
  at::parallel_for(0, table.tokens(), token_grain(table, bytes), [&](int64_t begin, int64_t end) {
    const int64_t last = offsets[end] * table.copies - 1;
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = offsets[t] * table.copies; i < offsets[t + 1] * table.copies; ++i) {
        prefetch<true>(target_row(target[std::min(i + kAhead, last)], places, rows, bytes), bytes);
        std::memcpy(target_row(target[i], places, rows, bytes), x + t * bytes, bytes);
      }
    }
  });
}

void spread_weighted_rows(const at::Tensor& g_TD, const at::Tensor& weights_N, const at::Tensor& returned_SD,
                          const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD,
                          at::Tensor weight_gradients_N) {
  SY_CHECK_EQ(g_TD.size(0), table.tokens());
  for (const at::Tensor& rows : {g_TD, returned_SD, places_XD, rows_RD}) check_rows(rows, g_TD);
  for (const at::Tensor& weights : {weights_N, weight_gradients_N}) {
    SY_CHECK_EQ(weights.numel(), table.slots());
    SY_CHECK(weights.is_contiguous());
  }
  if (g_TD.is_cuda()) {
    return on_device::spread_weighted_rows(g_TD, weights_N, returned_SD, table, places_XD, rows_RD, weight_gradients_N);
  }
  with_types(g_TD.scalar_type(), [&](auto stored, auto computed) {
    using S = decltype(stored);
    using C = decltype(computed);
    SY_CHECK_EQ(weights_N.element_size(), static_cast<int64_t>(sizeof(C)));
    SY_CHECK_EQ(weight_gradients_N.element_size(), static_cast<int64_t>(sizeof(C)));
    const int64_t width = g_TD.size(1);
    const int64_t copies = table.copies;
    const int64_t* offsets = data_of<int64_t>(table.offsets);
    const int64_t* target = data_of<int64_t>(table.target);
    const int64_t* source = data_of<int64_t>(table.returned);
    const S* g = data_of<S>(g_TD);
    const S* returned = data_of<S>(returned_SD);
    S* places = data_of<S>(places_XD);
    S* rows = data_of<S>(rows_RD);
    const C* weights = data_of<C>(weights_N);
    C* gradients = data_of<C>(weight_gradients_N);
    at::parallel_for(0, table.tokens(), token_grain(table, row_bytes(g_TD)), [&](int64_t begin, int64_t end) {
      const int64_t last = offsets[end] * copies - 1;
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        for (int64_t t = begin; t < end; ++t) {
          for (int64_t s = offsets[t]; s < offsets[t + 1]; ++s) {
            C dot = 0;
            for (int64_t i = s * copies; i < (s + 1) * copies; ++i) {
              const int64_t next = std::min(i + 1, last);
              dot += scale_and_dot<Lanes<C, decltype(registers)>>(
                  g + t * width, weights[s], returned + source[i] * width, returned + source[next] * width, width,
                  target_row(target[i], places, rows, width), target_row(target[next], places, rows, width));
            }
            gradients[s] = dot;
          }
        }
      });
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
  if (out_TD.is_cuda()) return on_device::sum_rows(returned_SD, table, weights_N, out_TD);
  with_types(out_TD.scalar_type(), [&](auto stored, auto computed) {
    using S = decltype(stored);
    using C = decltype(computed);
    if (weights_N.defined()) SY_CHECK_EQ(weights_N.element_size(), static_cast<int64_t>(sizeof(C)));
    const int64_t width = out_TD.size(1);
    const int64_t copies = table.copies;
    const int64_t* offsets = data_of<int64_t>(table.offsets);
    const S* rows = data_of<S>(returned_SD);
    const C* weights = weights_N.defined() ? data_of<C>(weights_N) : nullptr;
    S* out = data_of<S>(out_TD);
    at::parallel_for(0, table.tokens(), token_grain(table, row_bytes(out_TD)), [&](int64_t begin, int64_t end) {
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t first = offsets[t] * copies;
          sum_token<Lanes<C, decltype(registers)>>(
              Addends<S, C>{.rows = rows,
                            .width = width,
                            .index = data_of<int64_t>(table.returned) + first,
                            .count = offsets[t + 1] * copies - first,
                            .next_count = t + 1 < end ? (offsets[t + 2] - offsets[t + 1]) * copies : 0,
                            .weights = weights ? weights + offsets[t] : nullptr,
                            .copies = copies},
              out + t * width);
        }
      });
    });
  });
}

namespace {

void copy_pieces(const at::Tensor& from, const at::Tensor& to, std::span<const RowSegment> segments,
                 int64_t RowSegment::*source, int64_t RowSegment::*destination) {
  check_rows(from, to);
  check_rows(to, to);
  if (to.is_cuda()) {
    std::vector<int64_t> triples;
    for (const RowSegment& s : segments) triples.insert(triples.end(), {s.*source, s.*destination, s.count});
    return on_device::copy_segments(from, to, triples);
  }
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
