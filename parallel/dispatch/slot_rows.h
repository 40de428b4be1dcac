// The arithmetic of slots and rows, for host and device alike.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define SY_HOST_DEVICE __host__ __device__
#else
#define SY_HOST_DEVICE
#endif

namespace switchyard {

// A place among the rows that do not leave this rank, told apart from those that do by its sign.
SY_HOST_DEVICE constexpr int64_t stays_at(int64_t row) {
  return -1 - row;
}

// Where the rows of one copy of one expert begin: among those that leave, or stays_at(row of rows_RD), and among those
// that come back.
struct RowStart {
  int64_t target;
  int64_t returned;
};

// The row at `position` among those of the expert.
SY_HOST_DEVICE constexpr RowStart row_at(RowStart start, int64_t position) {
  return {start.target >= 0 ? start.target + position : start.target - position, start.returned + position};
}

// Slots are counted in chunks of this many, the chunks in order.
constexpr int64_t kSlotChunk = 1024;

SY_HOST_DEVICE constexpr int64_t slot_chunks(int64_t slots) {
  return (slots + kSlotChunk - 1) / kSlotChunk;
}

// The slots of a chunk are [chunk·kSlotChunk, chunk_end).
SY_HOST_DEVICE constexpr int64_t slot_chunk_end(int64_t chunk, int64_t slots) {
  return (chunk + 1) * kSlotChunk < slots ? (chunk + 1) * kSlotChunk : slots;
}

}  // namespace switchyard
