#include "parallel/dispatch/permute_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 256;
constexpr int kRowThreads = 128;

// One for each expert, at 0, in the block's dynamic shared memory.
__device__ int* make_counters(int64_t experts) {
  extern __shared__ int counters[];
  for (int64_t e = threadIdx.x; e < experts; e += blockDim.x) counters[e] = 0;
  __syncthreads();
  return counters;
}

// A block has a chunk.
__global__ void count_chunks(int64_t slots, int64_t experts, const int64_t* ids, int64_t* chunk_counts) {
  int* counts = make_counters(experts);
  const int64_t end = slot_chunk_end(blockIdx.x, slots);
  for (int64_t s = slot_chunk_begin(blockIdx.x) + threadIdx.x; s < end; s += blockDim.x) atomicAdd(counts + ids[s], 1);
  __syncthreads();
  for (int64_t e = threadIdx.x; e < experts; e += blockDim.x) chunk_counts[blockIdx.x * experts + e] = counts[e];
}

__global__ void add_chunks(int64_t chunks, int64_t experts, int64_t* chunk_counts, int64_t* counts) {
  const int64_t e = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (e < experts) counts[e] = starts_of_counts(chunk_counts + e, experts, chunks);
}

// A block of one warp has a chunk, whose slots it takes in order, kWarp at a time.
__global__ void index_chunks(int64_t slots, int64_t experts, int64_t copies, const int64_t* ids,
                             const int64_t* chunk_starts, const RowStart* starts, int64_t* target, int64_t* returned) {
  int* seen = make_counters(experts);  // slots of the chunk so far
  const int lane = threadIdx.x;
  const int64_t end = slot_chunk_end(blockIdx.x, slots);
  for (int64_t first = slot_chunk_begin(blockIdx.x); first < end; first += kWarp) {
    const int64_t s = first + lane;
    const unsigned with_slot = __ballot_sync(~0u, s < end);
    if (s >= end) break;
    const int e = static_cast<int>(ids[s]);
    const unsigned same = __match_any_sync(with_slot, e);
    const int before = lanes_before(same, lane);
    const int64_t position = chunk_starts[blockIdx.x * experts + e] + seen[e] + before;
    __syncwarp(with_slot);  // all have read before one adds
    if (before == 0) seen[e] += count_lanes(same);
    __syncwarp(with_slot);
    index_slot(s, position, copies, starts + e * copies, target, returned);
  }
}

// By the whole block, 16 bytes at a time where the rows allow.
__device__ void copy_row(const char* from, char* to, int64_t bytes) {
  if (bytes % 16 == 0) {
    for (int64_t i = threadIdx.x; i < bytes / 16; i += blockDim.x) {
      reinterpret_cast<int4*>(to)[i] = reinterpret_cast<const int4*>(from)[i];
    }
  } else {
    for (int64_t i = threadIdx.x; i < bytes / 2; i += blockDim.x) {
      reinterpret_cast<short*>(to)[i] = reinterpret_cast<const short*>(from)[i];
    }
  }
}

// A block has a token.
__global__ void spread(CudaSlots table, int64_t row_bytes, const char* x, char* places, char* rows) {
  for (int64_t t = blockIdx.x; t < table.tokens; t += gridDim.x) {
    for (int64_t i = table.offsets[t] * table.copies; i < table.offsets[t + 1] * table.copies; ++i) {
      copy_row(x + t * row_bytes, target_row(table.target[i], places, rows, row_bytes), row_bytes);
    }
  }
}

// A warp has a slot of the block's token.
template <typename T>
__global__ void spread_weighted(CudaSlots table, int64_t width, const T* g, const Compute<T>* weights,
                                const T* returned, T* places, T* rows, Compute<T>* gradients) {
  using C = Compute<T>;
  const int lane = threadIdx.x % kWarp;
  for (int64_t t = blockIdx.x; t < table.tokens; t += gridDim.x) {
    for (int64_t s = table.offsets[t] + threadIdx.x / kWarp; s < table.offsets[t + 1]; s += blockDim.x / kWarp) {
      C dot = 0;
      for (int64_t i = s * table.copies; i < (s + 1) * table.copies; ++i) {
        const T* y = returned + table.returned[i] * width;
        T* to = target_row(table.target[i], places, rows, width);
        for (int64_t d = lane; d < width; d += kWarp) {
          const C value = load(g + t * width + d);
          store(to + d, weights[s] * value);
          dot += value * load(y + d);
        }
      }
      dot = warp_sum(dot);
      if (lane == 0) gradients[s] = dot;
    }
  }
}

template <typename T>
__global__ void sum(CudaSlots table, int64_t width, const T* returned, const Compute<T>* weights, T* out) {
  using C = Compute<T>;
  for (int64_t t = blockIdx.x; t < table.tokens; t += gridDim.x) {
    const int64_t begin = table.offsets[t] * table.copies, end = table.offsets[t + 1] * table.copies;
    for (int64_t d = threadIdx.x; d < width; d += blockDim.x) {
      C total = 0;
      for (int64_t i = begin; i < end; ++i) {
        const C weight = weights ? weights[i / table.copies] : C(1);
        total += weight * load(returned + table.returned[i] * width + d);
      }
      store(out + t * width + d, total);
    }
  }
}

__global__ void copy(const int64_t* triples, int64_t row_bytes, const char* from, char* to) {
  const int64_t* segment = triples + 3 * blockIdx.y;
  for (int64_t r = blockIdx.x; r < segment[2]; r += gridDim.x) {
    copy_row(from + (segment[0] + r) * row_bytes, to + (segment[1] + r) * row_bytes, row_bytes);
  }
}

// Of a block's counters.
size_t counter_bytes(int64_t experts) {
  SY_CHECK_LE(experts, kMostDeviceExperts);
  return static_cast<size_t>(experts) * sizeof(int);
}

}  // namespace

void count_slots_cuda(int64_t slots, int64_t experts, const int64_t* ids, int64_t* chunk_starts, int64_t* counts,
                      CudaStream stream) {
  const auto chunks = static_cast<unsigned>(slot_chunks(slots));
  if (chunks > 0) {
    count_chunks<<<chunks, kThreads, counter_bytes(experts), stream_of(stream)>>>(slots, experts, ids, chunk_starts);
  }
  add_chunks<<<blocks_for(experts, kThreads), kThreads, 0, stream_of(stream)>>>(chunks, experts, chunk_starts, counts);
  check_launch("count_slots");
}

void index_slots_cuda(int64_t slots, int64_t experts, int64_t copies, const int64_t* ids, const int64_t* chunk_starts,
                      const RowStart* starts, int64_t* target, int64_t* returned, CudaStream stream) {
  if (slots == 0) return;
  index_chunks<<<static_cast<unsigned>(slot_chunks(slots)), kWarp, counter_bytes(experts), stream_of(stream)>>>(
      slots, experts, copies, ids, chunk_starts, starts, target, returned);
  check_launch("index_slots");
}

void spread_rows_cuda(const CudaSlots& table, int64_t row_bytes, const void* x, void* places, void* rows,
                      CudaStream stream) {
  if (table.slots == 0) return;
  spread<<<blocks_for(table.tokens, 1), kRowThreads, 0, stream_of(stream)>>>(
      table, row_bytes, static_cast<const char*>(x), static_cast<char*>(places), static_cast<char*>(rows));
  check_launch("spread_rows");
}

void spread_weighted_rows_cuda(const CudaSlots& table, Element element, int64_t width, const void* g,
                               const void* weights, const void* returned_rows, void* places, void* rows,
                               void* weight_gradients, CudaStream stream) {
  if (table.slots == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    using C = Compute<T>;
    spread_weighted<T><<<blocks_for(table.tokens, 1), kRowThreads, 0, stream_of(stream)>>>(
        table, width, static_cast<const T*>(g), static_cast<const C*>(weights), static_cast<const T*>(returned_rows),
        static_cast<T*>(places), static_cast<T*>(rows), static_cast<C*>(weight_gradients));
  });
  check_launch("spread_weighted_rows");
}

void sum_rows_cuda(const CudaSlots& table, Element element, int64_t width, const void* returned_rows,
                   const void* weights, void* out, CudaStream stream) {
  if (table.tokens == 0) return;
  with_element(element, [&](auto value) {
    using T = decltype(value);
    sum<T><<<blocks_for(table.tokens, 1), kRowThreads, 0, stream_of(stream)>>>(
        table, width, static_cast<const T*>(returned_rows), static_cast<const Compute<T>*>(weights),
        static_cast<T*>(out));
  });
  check_launch("sum_rows");
}

void copy_segments_cuda(int64_t segments, const int64_t* triples, int64_t row_bytes, const void* from, void* to,
                        CudaStream stream) {
  constexpr unsigned kBlocksASegment = 64;
  if (segments == 0) return;
  copy<<<dim3(kBlocksASegment, static_cast<unsigned>(segments)), kRowThreads, 0, stream_of(stream)>>>(
      triples, row_bytes, static_cast<const char*>(from), static_cast<char*>(to));
  check_launch("copy_segments");
}

}  // namespace switchyard
