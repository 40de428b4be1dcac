// cuBLAS's matrix products behind plain C++, on the current stream. CMake chooses matmul_cublas.cpp or no_cuda.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/device/cuda_kernel.h"

namespace switchyard {

// c [m,n] = op(a)·op(b) (+ c), row-major as stored: a is [m,k] with row stride lda, or [k,m] where transposed. Sums are
// taken in fp32, or fp64 for fp64.
struct CudaProduct {
  Element in, out;  // of the operands, and of c
  int64_t m, n, k;  // all > 0
  int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b;
  bool accumulate;
};

void cublas_product(const CudaProduct& product, const void* a, const void* b, void* c);

// One of many products that differ in m (or k), and in where their matrices lie.
struct CudaGroup {
  int64_t m, k;
  const void* a;
  const void* b;
  void* c;
};

// Each group as `product` with its own m and k: in one call where they are small, since then launches are what costs,
// and cuBLAS has such a call for their types; else one after another.
void cublas_grouped_product(const CudaProduct& product, std::span<const CudaGroup> groups);

}  // namespace switchyard
