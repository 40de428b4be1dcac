// The makers of matrix products, behind plain C++: LibTorch ships dnnl headers of another version, so that no source
// may see both.
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

  bool operator==(const Product&) const = default;
};

// False, and nothing done, where oneDNN is absent or has no optimised kernel for this processor. Throws std::bad_alloc
// without memory; other failures are bugs.
bool onednn_product(const Product& product, const void* a, const void* b, void* c);

// Products by the bf16 tiles of Intel's processors from Sapphire Rapids on (AMX), where Linux gives them.
bool amx_available();

// Whether they make this product: any of kFp32; aᵀ·b of kBf16ToFp32 (a weight gradient); a·op(b) of kBf16 with n and k
// multiples of 32 that is added to nothing.
bool amx_takes(const Product& product);
// A product that they take, on one thread. Throws std::bad_alloc without memory. Each sum runs in the order of the
// inner dimension whatever m and n. `passing`: a bf16 result is written past the caches where it is aligned to 64
// bytes, row by row. fp32 operands are split into three bf16 terms each, which hold a number to 2^-27 of itself. Of the
// nine products of two numbers' terms six are added in fp32; those left out are below 2^-26 of the whole, less than an
// fp32 product is rounded by. An infinite operand gives NaN.
void amx_product(const Product& product, const void* a, const void* b, void* c, bool passing);

// The kinds of it.
void amx_fp32_product(const Product& product, const float* a, const float* b, float* c);
void amx_weight_gradient(const Product& product, const uint16_t* a, const uint16_t* b, float* c);
void amx_rows_product(const Product& product, const uint16_t* a, const uint16_t* b, uint16_t* c, bool passing);

}  // namespace switchyard
