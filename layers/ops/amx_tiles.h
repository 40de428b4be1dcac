// Tiles of Intel's AMX, shared by the products made of them (matmul_amx_*.cpp). Included inside those sources' target
// pragma alone, what this includes before it; nothing here leaves them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include <immintrin.h>

namespace switchyard {
namespace {

using Bf16 = uint16_t;

// A tile is 16 rows of 16 words; a word is two bf16 numbers that are neighbours along the inner dimension. One
// instruction adds the product [16, 32]·[32, 16] of two tiles to a tile of fp32 sums. Operands are packed in panels of
// two tiles side by side, step by step along the inner dimension. A block of the result is kPanel rows and columns.
constexpr int64_t kTile = 16;
constexpr int64_t kPanel = 2 * kTile;
constexpr int64_t kStep = 32;                 // along the inner dimension
constexpr int64_t kTileSize = kTile * kStep;  // bf16 numbers
constexpr int64_t kStepSize = 2 * kTileSize;  // of a panel and step
constexpr int64_t kRowBytes = kStep * sizeof(Bf16);
constexpr int64_t kBlockSize = kPanel * kPanel;  // sums

int64_t share_of(int64_t whole, int64_t shares) {
  return (whole + shares - 1) / shares;
}

__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>(count >= kTile ? 0xFFFF : count <= 0 ? 0 : (1u << count) - 1);
}

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
  asm volatile("" : : "r"(&tiles) : "memory");  // GCC takes the instruction to read eight bytes
  _tile_loadconfig(&tiles);
}

// Tiles 0 to 3 are a block's sums, 4 and 5 a panel's of a, 6 and 7 one's of b. The intrinsics take literal numbers
// only.
void multiply_tiles() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

void zero_sums() {
  asm volatile("" : : : "memory");  // the compiler does not know that tiles are loaded from memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

void store_sums(float* to) {
  _tile_stored(0, to, kPanel * sizeof(float));
  _tile_stored(1, to + kTile, kPanel * sizeof(float));
  _tile_stored(2, to + kTile * kPanel, kPanel * sizeof(float));
  _tile_stored(3, to + kTile * kPanel + kTile, kPanel * sizeof(float));
  asm volatile("" : : : "memory");
}

// Swaps rows and columns of 16 rows of 16 words.
void transpose(__m512i* r) {
  __m512i s[16];
  for (int i = 0; i < 16; i += 2) {
    s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    s[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    s[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
    s[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    s[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
  }
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(s[i], s[i + 8], 0xDD);
  }
}

// A block of an fp32 result, at most kPanel rows and columns.
struct Block {
  float* c;
  int64_t stride, rows, columns;
  bool accumulate;
};

// The sums that left the tiles last, in one of two places: the next ones go to the other, while these are read.
class LatestSums {
 public:
  void take() {
    latest_ = places_ + (latest_ == places_ ? kBlockSize : 0);
    store_sums(latest_);
  }
  const float* row(int64_t row) const { return latest_ + row * kPanel; }

 private:
  alignas(64) float places_[2 * kBlockSize];
  float* latest_ = places_;
};

// Sums on their way to c: rows are written while the tiles work on the next block, since tiles that are stored to rows
// far apart, or loaded from there, would keep those at work waiting.
struct Outgoing {
  LatestSums sums;
  Block block{};
  const float* after = nullptr;  // the block that comes next, fetched meanwhile
  int64_t row = 0;

  void take(const Block& finished) {
    sums.take();
    block = finished;
    row = 0;
  }
  void write(int64_t count) {
    const __mmask16 left = first_lanes(block.columns), right = first_lanes(block.columns - kTile);
    for (const int64_t end = std::min(block.rows, row + count); row < end; ++row) {
      float* c = block.c + row * block.stride;
      __m512 low = _mm512_load_ps(sums.row(row)), high = _mm512_load_ps(sums.row(row) + kTile);
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

// Brings rows into the second-level cache, a few cache lines at a time.
class Fetching {
 public:
  Fetching() = default;
  // `rows` of `bytes` each, `stride` bytes apart.
  Fetching(const void* first, int64_t stride, int64_t rows, int64_t bytes)
      : row_(static_cast<const char*>(first)), stride_(stride), rows_(rows), bytes_(bytes) {}

  int64_t cache_lines() const { return rows_ * share_of(bytes_, kCacheLine); }
  void fetch(int64_t cache_lines) {
    for (; cache_lines > 0 && rows_ > 0; --cache_lines) {
      _mm_prefetch(row_ + at_, _MM_HINT_T1);
      at_ += kCacheLine;
      if (at_ < bytes_) continue;
      at_ = 0;
      row_ += stride_;
      --rows_;
    }
  }

 private:
  static constexpr int64_t kCacheLine = 64;
  const char* row_ = nullptr;
  int64_t stride_ = 0, rows_ = 0, bytes_ = 0, at_ = 0;
};

struct Free {
  void operator()(Bf16* memory) const { std::free(memory); }
};

// Room for packed numbers; each thread keeps its own, one for each Use.
template <typename Use>
Bf16* room(int64_t numbers) {
  constexpr int64_t kAlignment = 64;
  thread_local std::unique_ptr<Bf16, Free> memory;
  thread_local int64_t size = 0;
  if (numbers > size) {
    memory.reset(
        static_cast<Bf16*>(std::aligned_alloc(kAlignment, share_of(numbers * sizeof(Bf16), kAlignment) * kAlignment)));
    size = memory ? numbers : 0;
    if (!memory) throw std::bad_alloc();
  }
  return memory.get();
}

}  // namespace
}  // namespace switchyard
