#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/OpMathType.h>
#include <ATen/Parallel.h>

#include "layers/attention/causal_attention.h"
#include "layers/attention/softmax_rows.h"
#include "layers/ops/matmul.h"

namespace switchyard::causal_attention_kernel {
namespace {

// A unit of work is a piece and a key-value head: its keys and values are packed once and met by blocks of queries of
// all the heads that read them. Blocks and keys are padded with zeros to multiples of kPad, so that pieces of any
// length ask for few different products.
constexpr int64_t kPad = 32;
constexpr int64_t kBlockRows = 128;           // queries a block, over the group's heads
constexpr int64_t kBlockScores = 256 * 1024;  // bounds a block of long pieces

int64_t padded(int64_t n) {
  return (n + kPad - 1) / kPad * kPad;
}

// One piece of one group of heads: rows [begin, end), key-value head j, heads [j·group, (j+1)·group).
struct Unit {
  int64_t begin, end, j;
  int64_t length() const { return end - begin; }
};

struct Layout {
  HeadCounts heads;
  int64_t group;     // query heads a key-value head
  int64_t max_keys;  // padded length of the longest piece
  int64_t block;     // rows a block and head
  std::vector<Unit> units;

  Layout(HeadCounts counts, const std::vector<int64_t>& piece_starts)
      : heads(counts), group(counts.query / counts.key_value), max_keys(0) {
    for (size_t i = 0; i + 1 < piece_starts.size(); ++i) {
      max_keys = std::max(max_keys, padded(piece_starts[i + 1] - piece_starts[i]));
      for (int64_t j = 0; j < heads.key_value; ++j) units.push_back({piece_starts[i], piece_starts[i + 1], j});
    }
    const int64_t rows = std::min(kBlockRows, kBlockScores / std::max<int64_t>(1, max_keys));
    block = std::min(max_keys, std::max(kPad, rows / group / kPad * kPad));
  }
  int64_t block_rows() const { return block * group; }
  int64_t query_column(int64_t head) const { return head * heads.width; }
  int64_t key_column(int64_t j) const { return (heads.query + j) * heads.width; }
  int64_t value_column(int64_t j) const { return (heads.query + heads.key_value + j) * heads.width; }
};

// Queries [first, first + rows) of a unit's piece, for each head of the group; they see keys [0, first + rows).
struct Block {
  int64_t first, rows;
  int64_t padded_rows, keys;  // a head's rows and the keys, padded
};

Block block_at(const Layout& layout, const Unit& unit, int64_t first) {
  const int64_t rows = std::min(layout.block, unit.length() - first);
  return {first, rows, padded(rows), padded(first + rows)};
}

template <typename T>
void pack(const T* source, int64_t stride, int64_t rows, int64_t width, int64_t padded_rows, T* target) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(target + r * width, source + r * stride, width * sizeof(T));
  std::memset(static_cast<void*>(target + rows * width), 0, (padded_rows - rows) * width * sizeof(T));
}

// What one thread needs; tensors because products take tensors.
template <typename T, typename A>
struct Scratch {
  static constexpr at::ScalarType kIn = c10::CppTypeToScalarType<T>::value;
  static constexpr at::ScalarType kSum = c10::CppTypeToScalarType<A>::value;

  Scratch(const Layout& layout, bool backward) {
    const int64_t width = layout.heads.width, rows = layout.block_rows(), keys = layout.max_keys;
    k = at::empty({keys, width}, kIn);
    v = at::empty({keys, width}, kIn);
    q = at::empty({rows, width}, kIn);
    out = at::empty({rows, width}, kSum);
    scores = at::empty({rows * keys}, kSum);
    weights = std::is_same_v<T, A> ? scores : at::empty({rows * keys}, kIn);
    if (!backward) return;
    g = at::empty({rows, width}, kIn);
    dweights = at::empty({rows * keys}, kSum);
    dscores = std::is_same_v<T, A> ? dweights : at::empty({rows * keys}, kIn);
    dk = at::empty({keys, width}, kSum);
    dv = at::empty({keys, width}, kSum);
  }
  static at::Tensor matrix(const at::Tensor& buffer, int64_t rows, int64_t columns) {
    return buffer.as_strided({rows, columns}, {columns, 1});
  }

  at::Tensor k, v, q, out, scores, weights;
  at::Tensor g, dweights, dscores, dk, dv;
};

template <typename T, typename A>
class Kernel {
 public:
  Kernel(const Layout& layout, const at::Tensor& qkv_TX, const at::Tensor& out_TY, const at::Tensor& log_sums_HT)
      : layout_(layout),
        width_(layout.heads.width),
        rows_(qkv_TX.size(0)),
        x_stride_(qkv_TX.size(1)),
        y_stride_(out_TY.size(1)),
        scale_(static_cast<A>(1 / std::sqrt(static_cast<double>(layout.heads.width)))),
        qkv_(qkv_TX.const_data_ptr<T>()),
        out_(out_TY.mutable_data_ptr<T>()),
        log_sums_(log_sums_HT.mutable_data_ptr<A>()) {}

  void forward(const Unit& unit, Scratch<T, A>& scratch) const {
    pack_keys(unit, scratch);
    for (int64_t first = 0; first < unit.length(); first += layout_.block) {
      const Block block = block_at(layout_, unit, first);
      const int64_t block_rows = layout_.group * block.padded_rows;
      pack_rows(unit, block, qkv_, x_stride_, scratch.q);
      matmul(scratch.matrix(scratch.scores, block_rows, block.keys), scratch.q.narrow(0, 0, block_rows),
             scratch.k.narrow(0, 0, block.keys), {.transpose_b = true});
      std::vector<A> inverse(block_rows);
      soften(unit, block, scratch, inverse);
      matmul(scratch.out.narrow(0, 0, block_rows), scratch.matrix(scratch.weights, block_rows, block.keys),
             scratch.v.narrow(0, 0, block.keys));
      const A* rows = scratch.out.template const_data_ptr<A>();
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        using L = Lanes<A, decltype(registers)>;
        for_each_row(
            unit, block, [&](int64_t local, int64_t head, int64_t row) __attribute__((always_inline)) {
              write_row<L>(rows + local * width_, inverse[local], width_, out_ + row * y_stride_ + head * width_);
            });
      });
    }
  }

  void backward(const Unit& unit, const T* g, T* dqkv, Scratch<T, A>& scratch) const {
    pack_keys(unit, scratch);
    const int64_t all_keys = padded(unit.length());
    scratch.dk.narrow(0, 0, all_keys).zero_();
    scratch.dv.narrow(0, 0, all_keys).zero_();
    for (int64_t first = 0; first < unit.length(); first += layout_.block) {
      const Block block = block_at(layout_, unit, first);
      const int64_t block_rows = layout_.group * block.padded_rows;
      pack_rows(unit, block, qkv_, x_stride_, scratch.q);
      pack_rows(unit, block, g, y_stride_, scratch.g);
      const at::Tensor q = scratch.q.narrow(0, 0, block_rows), gradient = scratch.g.narrow(0, 0, block_rows);
      const at::Tensor k = scratch.k.narrow(0, 0, block.keys), v = scratch.v.narrow(0, 0, block.keys);
      matmul(scratch.matrix(scratch.scores, block_rows, block.keys), q, k, {.transpose_b = true});
      matmul(scratch.matrix(scratch.dweights, block_rows, block.keys), gradient, v, {.transpose_b = true});
      soften_backward(unit, block, g, scratch);
      const at::Tensor weights = scratch.matrix(scratch.weights, block_rows, block.keys);
      const at::Tensor dscores = scratch.matrix(scratch.dscores, block_rows, block.keys);
      const MatmulOptions add_transposed{.transpose_a = true, .accumulate = true};
      matmul(scratch.dv.narrow(0, 0, block.keys), weights, gradient, add_transposed);
      matmul(scratch.dk.narrow(0, 0, block.keys), dscores, q, add_transposed);
      matmul(scratch.out.narrow(0, 0, block_rows), dscores, k);
      const A* dq = scratch.out.template const_data_ptr<A>();
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        using L = Lanes<A, decltype(registers)>;
        for_each_row(
            unit, block, [&](int64_t local, int64_t head, int64_t row) __attribute__((always_inline)) {
              write_row<L>(dq + local * width_, A{1}, width_, dqkv + row * x_stride_ + layout_.query_column(head));
            });
      });
    }
    const A* dk = scratch.dk.template const_data_ptr<A>();
    const A* dv = scratch.dv.template const_data_ptr<A>();
    with_wide_registers([&](auto registers) __attribute__((always_inline)) {
      using L = Lanes<A, decltype(registers)>;
      for (int64_t r = 0; r < unit.length(); ++r) {
        T* row = dqkv + (unit.begin + r) * x_stride_;
        write_row<L>(dk + r * width_, A{1}, width_, row + layout_.key_column(unit.j));
        write_row<L>(dv + r * width_, A{1}, width_, row + layout_.value_column(unit.j));
      }
    });
  }

 private:
  // body(row in the block's matrices, query head, row of the batch)
  template <typename Body>
  SY_KERNEL void for_each_row(const Unit& unit, const Block& block, const Body& body) const {
    for (int64_t h = 0; h < layout_.group; ++h) {
      for (int64_t r = 0; r < block.rows; ++r) {
        body(h * block.padded_rows + r, unit.j * layout_.group + h, unit.begin + block.first + r);
      }
    }
  }

  void pack_keys(const Unit& unit, Scratch<T, A>& scratch) const {
    const T* rows = qkv_ + unit.begin * x_stride_;
    const int64_t keys = padded(unit.length());
    pack(rows + layout_.key_column(unit.j), x_stride_, unit.length(), width_, keys,
         scratch.k.template mutable_data_ptr<T>());
    pack(rows + layout_.value_column(unit.j), x_stride_, unit.length(), width_, keys,
         scratch.v.template mutable_data_ptr<T>());
  }

  // The block's rows of the group's heads, out of a matrix whose first columns are query heads.
  void pack_rows(const Unit& unit, const Block& block, const T* source, int64_t stride, at::Tensor& target) const {
    T* rows = target.mutable_data_ptr<T>();
    for (int64_t h = 0; h < layout_.group; ++h) {
      const int64_t column = layout_.query_column(unit.j * layout_.group + h);
      pack(source + (unit.begin + block.first) * stride + column, stride, block.rows, width_, block.padded_rows,
           rows + h * block.padded_rows * width_);
    }
  }

  void clear_padding(const Block& block, T* matrix) const {
    for (int64_t h = 0; h < layout_.group; ++h) {
      std::memset(static_cast<void*>(matrix + (h * block.padded_rows + block.rows) * block.keys), 0,
                  (block.padded_rows - block.rows) * block.keys * sizeof(T));
    }
  }

  void soften(const Unit& unit, const Block& block, Scratch<T, A>& scratch, std::vector<A>& inverse) const {
    const A* scores = scratch.scores.template const_data_ptr<A>();
    T* weights = scratch.weights.template mutable_data_ptr<T>();
    with_wide_registers([&](auto registers) __attribute__((always_inline)) {
      using L = Lanes<A, decltype(registers)>;
      for_each_row(
          unit, block, [&](int64_t local, int64_t head, int64_t row) __attribute__((always_inline)) {
            const int64_t keys = row - unit.begin + 1;
            std::tie(log_sums_[head * rows_ + row], inverse[local]) =
                softmax_row<L>(scores + local * block.keys, scale_, keys, block.keys, weights + local * block.keys);
          });
    });
    clear_padding(block, weights);
  }

  void soften_backward(const Unit& unit, const Block& block, const T* g, Scratch<T, A>& scratch) const {
    const A* scores = scratch.scores.template const_data_ptr<A>();
    const A* dweights = scratch.dweights.template const_data_ptr<A>();
    T* weights = scratch.weights.template mutable_data_ptr<T>();
    T* dscores = scratch.dscores.template mutable_data_ptr<T>();
    with_wide_registers([&](auto registers) __attribute__((always_inline)) {
      using L = Lanes<A, decltype(registers)>;
      for_each_row(
          unit, block, [&](int64_t local, int64_t head, int64_t row) __attribute__((always_inline)) {
            const int64_t at = local * block.keys, y = row * y_stride_ + head * width_;
            softmax_backward_row<L>(scores + at, dweights + at, scale_, log_sums_[head * rows_ + row],
                                    dot<L>(g + y, out_ + y, width_), row - unit.begin + 1, block.keys, weights + at,
                                    dscores + at);
          });
    });
    clear_padding(block, weights);
    clear_padding(block, dscores);
  }

  const Layout& layout_;
  const int64_t width_, rows_, x_stride_, y_stride_;
  const A scale_;
  const T* qkv_;
  T* out_;
  A* log_sums_;
};

}  // namespace

void forward(const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts, HeadCounts heads,
             const at::Tensor& out_TY, const at::Tensor& log_sums_HT) {
  const Layout layout(heads, piece_starts);
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, qkv_TX.scalar_type(), "causal_attention", [&] {
    using A = at::opmath_type<scalar_t>;
    const Kernel<scalar_t, A> kernel(layout, qkv_TX, out_TY, log_sums_HT);
    at::parallel_for(0, layout.units.size(), 1, [&](int64_t begin, int64_t end) {
      Scratch<scalar_t, A> scratch(layout, false);
      for (int64_t i = begin; i < end; ++i) kernel.forward(layout.units[i], scratch);
    });
  });
}

void backward(const at::Tensor& g_TY, const at::Tensor& qkv_TX, const std::vector<int64_t>& piece_starts,
              HeadCounts heads, const at::Tensor& out_TY, const at::Tensor& log_sums_HT, const at::Tensor& dqkv_TX) {
  const Layout layout(heads, piece_starts);
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, qkv_TX.scalar_type(), "causal_attention_backward", [&] {
    using A = at::opmath_type<scalar_t>;
    const Kernel<scalar_t, A> kernel(layout, qkv_TX, out_TY, log_sums_HT);
    const scalar_t* g = g_TY.const_data_ptr<scalar_t>();
    scalar_t* dqkv = dqkv_TX.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, layout.units.size(), 1, [&](int64_t begin, int64_t end) {
      Scratch<scalar_t, A> scratch(layout, true);
      for (int64_t i = begin; i < end; ++i) kernel.backward(layout.units[i], g, dqkv, scratch);
    });
  });
}

}  // namespace switchyard::causal_attention_kernel
