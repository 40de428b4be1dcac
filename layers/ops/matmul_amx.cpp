#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layers/ops/matmul_backends.h"

// Of everything below; what other headers bring stays code for any x86-64-v3 processor.
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")
// GCC 12 takes the undefined lanes of its own intrinsics for a mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "layers/ops/amx_panels.h"

namespace switchyard {
namespace {

void configure_tiles() {
  struct {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  } tiles;
  for (int i = 0; i < 8; ++i) {
    tiles.row_bytes[i] = kRowBytes;
    tiles.rows[i] = kTile;
  }
  _tile_loadconfig(&tiles);
}

// Tiles 0 to 3 are the sums, 4 and 5 a term of a's panel, 6 and 7 one of b's. The intrinsics take literal numbers only.
#define SY_LOAD_A(term)                            \
  _tile_loadd(4, a + (term)*kTermSize, kRowBytes); \
  _tile_loadd(5, a + (term)*kTermSize + kTileSize, kRowBytes)
#define SY_LOAD_B(term)                            \
  _tile_loadd(6, b + (term)*kTermSize, kRowBytes); \
  _tile_loadd(7, b + (term)*kTermSize + kTileSize, kRowBytes)
#define SY_MULTIPLY()      \
  _tile_dpbf16ps(0, 4, 6); \
  _tile_dpbf16ps(1, 4, 7); \
  _tile_dpbf16ps(2, 5, 6); \
  _tile_dpbf16ps(3, 5, 7)

// Products of tile pairs a step: of one term with one, or the six of three terms with three that count.
template <typename S>
constexpr int64_t kPairs = kTerms<S> == 1 ? 1 : 6;

// Adds the product of two panels to the sums; `beside` is called after every product of tile pairs.
template <typename S, typename Beside>
void multiply_panels(const Bf16* a, const Bf16* b, int64_t steps, const Beside& beside) {
  for (int64_t s = 0; s < steps; ++s, a += kTerms<S> * kTermSize, b += kTerms<S> * kTermSize) {
    if constexpr (kTerms<S> == 3) {
      SY_LOAD_A(2);
      SY_LOAD_B(0);
      SY_MULTIPLY();
      beside();
      SY_LOAD_A(0);
      SY_MULTIPLY();
      beside();
      SY_LOAD_B(2);
      SY_MULTIPLY();
      beside();
      SY_LOAD_B(1);
      SY_MULTIPLY();
      beside();
      SY_LOAD_A(1);
      SY_MULTIPLY();
      beside();
      SY_LOAD_B(0);
      SY_MULTIPLY();
    } else {
      SY_LOAD_A(0);
      SY_LOAD_B(0);
      SY_MULTIPLY();
    }
    beside();
  }
}

void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

void store_sums(float* to) {
  _tile_stored(0, to, kPanel * 4);
  _tile_stored(1, to + kTile, kPanel * 4);
  _tile_stored(2, to + kTile * kPanel, kPanel * 4);
  _tile_stored(3, to + kTile * kPanel + kTile, kPanel * 4);
}

// A block of c, at most kPanel rows and columns.
struct Block {
  float* c;
  int64_t stride, rows, columns;
  bool accumulate;
};

// Sums that have left the tiles, on their way to c: rows are written while the tiles work on the next block, since
// tiles that are stored to rows far apart, or loaded from there, would keep those at work waiting.
struct Outgoing {
  const float* sums;
  Block block;
  const float* after;  // the block that comes next, fetched meanwhile
  int64_t row = 0;

  void write(int64_t count) {
    const __mmask16 left = first_lanes(block.columns), right = first_lanes(block.columns - kTile);
    for (const int64_t end = std::min(block.rows, row + count); row < end; ++row) {
      float* c = block.c + row * block.stride;
      __m512 low = _mm512_load_ps(sums + row * kPanel), high = _mm512_load_ps(sums + row * kPanel + kTile);
      if (block.accumulate) {
        low = _mm512_add_ps(low, _mm512_maskz_loadu_ps(left, c));
        high = _mm512_add_ps(high, _mm512_maskz_loadu_ps(right, c + kTile));
      }
      _mm512_mask_storeu_ps(c, left, low);
      _mm512_mask_storeu_ps(c + kTile, right, high);
      __builtin_prefetch(after + row * block.stride, 1);
      __builtin_prefetch(after + row * block.stride + kTile, 1);
    }
  }
};

struct Free {
  void operator()(Bf16* memory) const { std::free(memory); }
};
using Packed = std::unique_ptr<Bf16, Free>;

// For packed lines; each thread keeps its own.
template <typename S, int operand>
const Packed& room(int64_t lines) {
  constexpr size_t kAlignment = 64;
  const size_t bytes = lines * kInner<S> * kTerms<S> * sizeof(Bf16);
  thread_local const Packed packed(static_cast<Bf16*>(std::aligned_alloc(kAlignment, bytes)));
  if (!packed) throw std::bad_alloc();
  return packed;
}

int64_t share_of(int64_t whole, int64_t shares) {
  return (whole + shares - 1) / shares;
}

template <typename S>
class Multiplication {
 public:
  Multiplication(const Product& product, const S* a, const S* b, float* c)
      : p_(product), rows_{a, p_.lda, !p_.transpose_a, true}, columns_{b, p_.ldb, p_.transpose_b, false}, c_(c) {}

  void run() {
    configure_tiles();
    for (int64_t j0 = 0; j0 < p_.n; j0 += kColumns) {
      for (int64_t k0 = 0; k0 < p_.k; k0 += kInner<S>) {
        multiply_part({j0, std::min(kColumns, p_.n - j0), k0, std::min(kInner<S>, p_.k - k0)});
      }
    }
    outgoing_.write(kPanel);
    _tile_release();
  }

 private:
  // Columns of c, and the part of the inner dimension that is added to them.
  struct Part {
    int64_t column, columns, inner, inner_count;
    int64_t panels() const { return share_of(columns, kPanel); }
    int64_t steps() const { return steps_of(inner_count); }
    int64_t tiles() const { return 2 * steps(); }  // of a panel
    int64_t packed_size() const { return steps() * kTerms<S> * kTermSize; }
  };

  // Tiles [next, end) of a panel, packed one by one.
  struct Packing {
    Panel<S> panel;
    Bf16* out;
    int64_t next, end;

    void advance() {
      if (next < end) panel.pack(next++, out);
    }
    void finish() {
      while (next < end) advance();
    }
  };

  // Panels of a take turns in two places; those of b that a part has are all kept.
  Packing packing_a(const Part& part, int64_t i) const {
    return {panel_a(part, i), packed_a(part, i), 0, i * kPanel < p_.m ? part.tiles() : 0};
  }
  Packing packing_b(const Part& part, int64_t j) const {
    return {panel_b(part, j), packed_b(part, j), 0, part.tiles()};
  }
  Bf16* packed_a(const Part& part, int64_t i) const { return a_.get() + i % 2 * part.packed_size(); }
  Bf16* packed_b(const Part& part, int64_t j) const { return b_.get() + j * part.packed_size(); }
  Panel<S> panel_a(const Part& part, int64_t i) const {
    return {rows_, i * kPanel, p_.m, part.inner, part.inner_count};
  }
  Panel<S> panel_b(const Part& part, int64_t j) const {
    return {columns_, part.column + j * kPanel, part.column + part.columns, part.inner, part.inner_count};
  }

  void multiply_part(const Part& part) {
    packing_a(part, 0).finish();
    packing_b(part, 0).finish();
    for (int64_t i = 0; i * kPanel < p_.m; ++i) {
      for (int64_t j = 0; j < part.panels(); ++j) {
        const Block block{c_ + i * kPanel * p_.ldc + part.column + j * kPanel, p_.ldc,
                          std::min(kPanel, p_.m - i * kPanel), std::min(kPanel, part.columns - j * kPanel),
                          p_.accumulate || part.inner > 0};
        multiply_block(packed_a(part, i), packed_b(part, j), part.steps(), block, prepare(part, i, j));
      }
    }
  }

  // What is packed and fetched beside block (i, j). The panels' order: the first of a, all of b, one a block, then the
  // others of a, each in shares while the one before it meets all of b. They are fetched one ahead of that.
  Packing prepare(const Part& part, int64_t i, int64_t j) {
    const int64_t panels = part.panels(), calls = part.steps() * kPairs<S>;
    if (i == 0) {
      fetch(j + 2 < panels ? panel_b(part, j + 2) : panel_a(part, j + 3 - panels), calls);
      return j + 1 < panels ? packing_b(part, j + 1) : packing_a(part, 1);
    }
    if (j == 0) fetch(panel_a(part, i + 2), calls * panels);
    Packing packing = packing_a(part, i + 1);
    packing.next = packing.end * j / panels;
    packing.end = packing.end * (j + 1) / panels;
    return packing;
  }

  void fetch(const Panel<S>& panel, int64_t calls) {
    fetching_ = Fetching<S>(panel);
    fetch_share_ = share_of(fetching_.cache_lines(), calls);
  }

  void multiply_block(const Bf16* a, const Bf16* b, int64_t steps, const Block& block, Packing packing) {
    const int64_t rows = share_of(kPanel, steps * kPairs<S>);
    outgoing_.after = block.c;
    asm volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from memory
    zero_sums();
    multiply_panels<S>(a, b, steps, [&] {
      outgoing_.write(rows);
      packing.advance();
      fetching_.fetch(fetch_share_);
    });
    packing.finish();
    float* const sums = sums_ + (outgoing_.sums == sums_ ? kPanel * kPanel : 0);
    store_sums(sums);
    asm volatile("" ::: "memory");
    outgoing_ = {sums, block, block.c};
  }

  const Product p_;
  const Lines<S> rows_, columns_;
  float* const c_;
  const Packed &a_ = room<S, 0>(2 * kPanel), &b_ = room<S, 1>(kColumns);
  alignas(64) float sums_[2 * kPanel * kPanel];  // of the block that is multiplied and of the one before
  Outgoing outgoing_{sums_, {}, nullptr};
  Fetching<S> fetching_;
  int64_t fetch_share_ = 0;
};

// Linux gives tiles to a process that asks for them.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("amx-bf16") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool amx_available() {
  static const bool available = may_use_tiles();
  return available;
}

void amx_product(const Product& product, const void* a, const void* b, float* c) {
  if (product.type == ProductType::kFp32) {
    Multiplication(product, static_cast<const float*>(a), static_cast<const float*>(b), c).run();
  } else {
    Multiplication(product, static_cast<const Bf16*>(a), static_cast<const Bf16*>(b), c).run();
  }
}

}  // namespace switchyard

#pragma GCC diagnostic pop
#pragma GCC pop_options
