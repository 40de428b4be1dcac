// Embedding rows on device memory, behind embedding.h.
#pragma once

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

void embedding_forward_cuda(int64_t rows, int64_t row_bytes, int64_t vocab_begin, int64_t vocab, const int64_t* tokens,
                            const void* weight, void* out, CudaStream stream);

// sorted: the tokens in ascending order; order: the rows that they stand in, those of one token ascending. Adds, in
// token order, to dweight, which is fp32 (fp64).
void embedding_backward_cuda(Element element, int64_t rows, int64_t width, int64_t vocab_begin, int64_t vocab,
                             const int64_t* sorted, const int64_t* order, const void* g, void* dweight,
                             CudaStream stream);

}  // namespace switchyard
