#include "layers/ops/matmul_cublas.h"

#include <vector>

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <absl/strings/str_cat.h>
#include <cublas_v2.h>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

cudaDataType_t type_of(Element element) {
  switch (element) {
    case Element::kBf16:
      return CUDA_R_16BF;
    case Element::kFp32:
      return CUDA_R_32F;
    case Element::kFp64:
      return CUDA_R_64F;
    default:
      check_failed(__FILE__, __LINE__, "products take bf16, fp32 and fp64");
  }
}

cublasOperation_t operation(bool transpose) {
  return transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
}

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    check_failed(__FILE__, __LINE__, absl::StrCat(call, ": ", cublasGetStatusString(status)));
  }
}

// LibTorch's handle, on the current stream, with sums that are kept in fp32 to the end.
class Handle {
 public:
  Handle() : handle_(at::cuda::getCurrentCUDABlasHandle()) {
    check(cublasGetMathMode(handle_, &before_), "cublasGetMathMode");
    check(cublasSetMathMode(handle_, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                                               CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)),
          "cublasSetMathMode");
  }
  ~Handle() { cublasSetMathMode(handle_, before_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator cublasHandle_t() const { return handle_; }

 private:
  const cublasHandle_t handle_;
  cublasMath_t before_ = CUBLAS_DEFAULT_MATH;
};

// alpha and beta in the type of the sums.
struct Factors {
  float single;
  double twice;
  const void* of(Element element) const {
    return element == Element::kFp64 ? static_cast<const void*>(&twice) : static_cast<const void*>(&single);
  }
};

Factors factors(bool one) {
  return {one ? 1.0f : 0.0f, one ? 1.0 : 0.0};
}

cublasComputeType_t compute_type(Element element) {
  return element == Element::kFp64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
}

// Operations of a group above which its product takes longer than a launch.
constexpr double kLargeGroup = 4e9;

// cuBLAS counts columns first: what is row-major c = a·b to us is cᵀ = bᵀ·aᵀ to it, of the same memory.
void multiply(const Handle& handle, const CudaProduct& p, const void* a, const void* b, void* c) {
  const Factors alpha = factors(true), beta = factors(p.accumulate);
  check(cublasGemmEx_64(handle, operation(p.transpose_b), operation(p.transpose_a), p.n, p.m, p.k, alpha.of(p.in), b,
                        type_of(p.in), p.ldb, a, type_of(p.in), p.lda, beta.of(p.in), c, type_of(p.out), p.ldc,
                        compute_type(p.in), CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}

bool are_small(const CudaProduct& p, std::span<const CudaGroup> groups) {
  double operations = 0;
  for (const CudaGroup& group : groups) {
    operations += 2.0 * static_cast<double>(group.m) * static_cast<double>(group.k) * static_cast<double>(p.n);
  }
  return operations < kLargeGroup * static_cast<double>(groups.size());
}

// False, and nothing done, where cuBLAS has no such product for these types.
bool multiply_together(const Handle& handle, const CudaProduct& p, std::span<const CudaGroup> groups) {
  if (p.in != p.out) return false;
  const size_t count = groups.size();
  std::vector<cublasOperation_t> op_a(count, operation(p.transpose_a)), op_b(count, operation(p.transpose_b));
  std::vector<int64_t> m(count), n(count, p.n), k(count), lda(count, p.lda), ldb(count, p.ldb), ldc(count, p.ldc);
  std::vector<int64_t> ones(count, 1), pointers(3 * count);
  for (size_t i = 0; i < count; ++i) {
    m[i] = groups[i].m;
    k[i] = groups[i].k;
    pointers[i] = reinterpret_cast<int64_t>(groups[i].b);
    pointers[count + i] = reinterpret_cast<int64_t>(groups[i].a);
    pointers[2 * count + i] = reinterpret_cast<int64_t>(groups[i].c);
  }
  const auto factors_of = [&](bool one) {
    std::vector<double> bytes(count);  // room for either type
    for (size_t i = 0; i < count; ++i) {
      if (p.in == Element::kFp64) {
        bytes[i] = one ? 1 : 0;
      } else {
        reinterpret_cast<float*>(bytes.data())[i] = one ? 1 : 0;
      }
    }
    return bytes;
  };
  const std::vector<double> alpha = factors_of(true), beta = factors_of(p.accumulate);
  const at::Tensor on_device = at::tensor(pointers, at::kLong).to(at::Device(at::kCUDA, at::cuda::current_device()));
  auto* addresses = static_cast<void**>(on_device.data_ptr());
  const cublasStatus_t status = cublasGemmGroupedBatchedEx_64(
      handle, op_b.data(), op_a.data(), n.data(), m.data(), k.data(), alpha.data(), addresses, type_of(p.in),
      ldb.data(), addresses + count, type_of(p.in), lda.data(), beta.data(), addresses + 2 * count, type_of(p.out),
      ldc.data(), static_cast<int64_t>(count), ones.data(), compute_type(p.in));
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return false;
  check(status, "cublasGemmGroupedBatchedEx");
  return true;
}

}  // namespace

void cublas_product(const CudaProduct& product, const void* a, const void* b, void* c) {
  multiply(Handle(), product, a, b, c);
}

void cublas_grouped_product(const CudaProduct& product, std::span<const CudaGroup> groups) {
  if (groups.empty()) return;
  const Handle handle;
  if (are_small(product, groups) && multiply_together(handle, product, groups)) return;
  for (const CudaGroup& group : groups) {
    CudaProduct one = product;
    one.m = group.m;
    one.k = group.k;
    multiply(handle, one, group.a, group.b, group.c);
  }
}

}  // namespace switchyard
