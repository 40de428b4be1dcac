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

template <int terms>
void multiply_panels(const Bf16* a, const Bf16* b, int64_t steps);

template <>
void multiply_panels<1>(const Bf16* a, const Bf16* b, int64_t steps) {
  for (int64_t s = 0; s < steps; ++s, a += kTermSize, b += kTermSize) {
    SY_LOAD_A(0);
    SY_LOAD_B(0);
    SY_MULTIPLY();
  }
}

template <>
void multiply_panels<3>(const Bf16* a, const Bf16* b, int64_t steps) {
  for (int64_t s = 0; s < steps; ++s, a += 3 * kTermSize, b += 3 * kTermSize) {
    SY_LOAD_A(0);
    SY_LOAD_B(2);
    SY_MULTIPLY();
    SY_LOAD_B(1);
    SY_MULTIPLY();
    SY_LOAD_A(1);
    SY_MULTIPLY();
    SY_LOAD_B(0);
    SY_MULTIPLY();
    SY_LOAD_A(2);
    SY_MULTIPLY();
    SY_LOAD_A(0);
    SY_MULTIPLY();
  }
}

void load_sums(const float* from, int64_t stride) {
  asm volatile("" ::: "memory");  // the compiler does not know that tiles are loaded from memory
  _tile_loadd(0, from, stride * 4);
  _tile_loadd(1, from + kTile, stride * 4);
  _tile_loadd(2, from + kTile * stride, stride * 4);
  _tile_loadd(3, from + kTile * stride + kTile, stride * 4);
}

void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

void store_sums(float* to, int64_t stride) {
  _tile_stored(0, to, stride * 4);
  _tile_stored(1, to + kTile, stride * 4);
  _tile_stored(2, to + kTile * stride, stride * 4);
  _tile_stored(3, to + kTile * stride + kTile, stride * 4);
}

void copy(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * from_stride, columns, to + r * to_stride);
}

// c [rows, columns], at most kPanel each, = or += the product of two panels.
template <int terms>
void multiply_block(const Bf16* a, const Bf16* b, int64_t steps, bool accumulate, int64_t rows, int64_t columns,
                    float* c, int64_t stride) {
  alignas(64) float edge[kPanel * kPanel];
  const bool whole = rows == kPanel && columns == kPanel;
  float* const sums = whole ? c : edge;
  const int64_t sums_stride = whole ? stride : kPanel;
  for (int64_t r = 0; r < rows; ++r) {
    __builtin_prefetch(c + r * stride, 1);
    __builtin_prefetch(c + r * stride + columns - 1, 1);
  }
  if (accumulate) {
    if (!whole) {
      std::fill_n(edge, kPanel * kPanel, 0.0f);
      copy(c, stride, rows, columns, edge, kPanel);
    }
    load_sums(sums, sums_stride);
  } else {
    zero_sums();
  }
  multiply_panels<terms>(a, b, steps);
  store_sums(sums, sums_stride);
  if (!whole) copy(edge, kPanel, rows, columns, c, stride);
}

struct Free {
  void operator()(Bf16* memory) const { std::free(memory); }
};
using Packed = std::unique_ptr<Bf16, Free>;

template <typename S>
Packed room_for(int64_t lines) {
  constexpr size_t kAlignment = 64;
  Packed packed(static_cast<Bf16*>(std::aligned_alloc(kAlignment, lines * kInner<S> * kTerms<S> * sizeof(Bf16))));
  if (!packed) throw std::bad_alloc();
  return packed;
}

// Each sum runs in the order of the inner dimension, whatever m, n and the place of its row and column.
template <typename S>
void multiply(const Product& p, const S* a, const S* b, float* c) {
  thread_local const Packed packed_a = room_for<S>(kRows), packed_b = room_for<S>(kColumns);
  const Lines<S> rows{a, p.lda, !p.transpose_a, true}, columns{b, p.ldb, p.transpose_b, false};
  configure_tiles();
  for (int64_t j0 = 0; j0 < p.n; j0 += kColumns) {
    const int64_t width = std::min(kColumns, p.n - j0);
    for (int64_t k0 = 0; k0 < p.k; k0 += kInner<S>) {
      const int64_t inner = std::min(kInner<S>, p.k - k0), steps = steps_of(inner);
      const int64_t panel = steps * kTerms<S> * kTermSize;
      const bool accumulate = p.accumulate || k0 > 0;
      pack(columns, j0, width, k0, inner, packed_b.get());
      for (int64_t i0 = 0; i0 < p.m; i0 += kRows) {
        const int64_t height = std::min(kRows, p.m - i0);
        pack(rows, i0, height, k0, inner, packed_a.get());
        asm volatile("" ::: "memory");
        for (int64_t j = 0; j < width; j += kPanel) {
          for (int64_t i = 0; i < height; i += kPanel) {
            multiply_block<kTerms<S>>(packed_a.get() + i / kPanel * panel, packed_b.get() + j / kPanel * panel, steps,
                                      accumulate, std::min(kPanel, height - i), std::min(kPanel, width - j),
                                      c + (i0 + i) * p.ldc + j0 + j, p.ldc);
          }
        }
      }
    }
  }
  _tile_release();
}

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
  if (product.type == ProductType::kFp32)
    return multiply(product, static_cast<const float*>(a), static_cast<const float*>(b), c);
  multiply(product, static_cast<const Bf16*>(a), static_cast<const Bf16*>(b), c);
}

}  // namespace switchyard

#pragma GCC diagnostic pop
#pragma GCC pop_options
