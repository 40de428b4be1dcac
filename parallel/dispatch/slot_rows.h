// The arithmetic of slots and rows, for host and device alike.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define SY_HOST_DEVICE __host__ __device__
#else
#define SY_HOST_DEVICE
#endif

namespace switchyard {

// Experts whose slots a device counts: a launch gets 48 KiB for a block's counters, of four bytes each, unasked.
inline constexpr int64_t kMostDeviceExperts = (48 << 10) / 4;

// A place among the rows that do not leave this rank, told apart from those that do by its sign.
SY_HOST_DEVICE constexpr int64_t stays_at(int64_t row) {
  return -1 - row;
}

// The row of a target: of `places` or, below zero, of `rows`.
template <typename T>
SY_HOST_DEVICE constexpr T* target_row(int64_t target, T* places, T* rows, int64_t width) {
  return target >= 0 ? places + target * width : rows + stays_at(target) * width;
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

// The slots of a chunk are [begin, end).
SY_HOST_DEVICE constexpr int64_t slot_chunk_begin(int64_t chunk) {
  return chunk * kSlotChunk;
}
SY_HOST_DEVICE constexpr int64_t slot_chunk_end(int64_t chunk, int64_t slots) {
  return slot_chunk_begin(chunk + 1) < slots ? slot_chunk_begin(chunk + 1) : slots;
}

// Of lanes, a bit each: how many there are, and how many come before `lane`. Where lanes have consecutive slots, and
// `lanes` are those with the lane's expert, the latter is its slot's position among them.
SY_HOST_DEVICE constexpr int count_lanes(unsigned lanes) {
  return __builtin_popcount(lanes);
}
SY_HOST_DEVICE constexpr int lanes_before(unsigned lanes, int lane) {
  return count_lanes(lanes & ((1u << lane) - 1));
}

// An expert's counts by chunk, `stride` apart, become what comes before each chunk → their sum.
SY_HOST_DEVICE constexpr int64_t starts_of_counts(int64_t* counts, int64_t stride, int64_t chunks) {
  int64_t before = 0;
#ifdef __CUDACC__
#pragma unroll 8
#endif
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t count = counts[chunk * stride];
    counts[chunk * stride] = before;
    before += count;
  }
  return before;
}

// Where the copies of slot s go and come back, which is at `position` among those of its expert, whose rows start at
// `starts`.
SY_HOST_DEVICE constexpr void index_slot(int64_t s, int64_t position, int64_t copies, const RowStart* starts,
                                         int64_t* target, int64_t* returned) {
  for (int64_t c = 0; c < copies; ++c) {
    const RowStart row = row_at(starts[c], position);
    target[s * copies + c] = row.target;
    returned[s * copies + c] = row.returned;
  }
}

}  // namespace switchyard
