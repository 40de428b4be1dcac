// oneDNN's matrix product behind plain C++: LibTorch ships dnnl headers of another version, so that no source may see
// both. CMake chooses matmul_onednn.cpp or matmul_no_onednn.cpp.
#pragma once

#include <cstdint>

namespace switchyard {

enum class ProductType { kBf16, kBf16ToFp32, kFp32 };  // of the operands, and of the result where it differs

// c [m,n] = op(a)·op(b) (+ c), row-major as stored: a is [m,k] with row stride lda, or [k,m] where transposed.
struct Product {
  ProductType type;
  int64_t m, n, k;  // all > 0
  int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b;
  bool accumulate;
};

// False, and nothing done, where oneDNN is absent or has no optimised kernel for this processor. Throws std::bad_alloc
// without memory; other failures are bugs.
bool onednn_product(const Product& product, const void* a, const void* b, void* c);

}  // namespace switchyard
