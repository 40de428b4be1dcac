// Row kernels of dispatch and combine on device memory, behind permute.h. Rows are `element`, weights fp32 (fp64).
#pragma once

#include "parallel/dispatch/slot_rows.h"
#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// A SlotTable on the device.
struct CudaSlots {
  int64_t tokens, slots, copies;
  const int64_t* offsets;
  const int64_t* target;
  const int64_t* returned;
};

// At most kMostDeviceExperts. counts[e]; chunk_starts: room for slot_chunks(slots) · experts, gets each chunk's slots
// of e that come before it.
void count_slots_cuda(int64_t slots, int64_t experts, const int64_t* ids, int64_t* chunk_starts, int64_t* counts,
                      CudaStream stream);
// chunk_starts from above; starts: [experts · copies].
void index_slots_cuda(int64_t slots, int64_t experts, int64_t copies, const int64_t* ids, const int64_t* chunk_starts,
                      const RowStart* starts, int64_t* target, int64_t* returned, CudaStream stream);

void spread_rows_cuda(const CudaSlots& table, int64_t row_bytes, const void* x, void* places, void* rows,
                      CudaStream stream);
void spread_weighted_rows_cuda(const CudaSlots& table, Element element, int64_t width, const void* g,
                               const void* weights, const void* returned_rows, void* places, void* rows,
                               void* weight_gradients, CudaStream stream);
// weights may be null: 1.
void sum_rows_cuda(const CudaSlots& table, Element element, int64_t width, const void* returned_rows,
                   const void* weights, void* out, CudaStream stream);

// segments: triples of (row in `from`, row in `to`, rows).
void copy_segments_cuda(int64_t segments, const int64_t* triples, int64_t row_bytes, const void* from, void* to,
                        CudaStream stream);

}  // namespace switchyard
