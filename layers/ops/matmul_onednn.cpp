#include "layers/ops/matmul_onednn.h"

#include <cstddef>
#include <cstdlib>
#include <dnnl.hpp>
#include <memory>
#include <new>
#include <string_view>
#include <unordered_map>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

using dnnl::memory;

// oneDNN keeps the kernels of the last shapes in a cache of its own, shared by all threads: a look-up costs 2–4 µs, a
// new shape 0.1–0.5 ms and about 0.3 MB of memory, which bounds how many are worth keeping where experts meet new row
// counts all the time.
constexpr int kCachedKernels = 384;

// So that few shapes are new, rows beyond a multiple of kRowBlock are a product of their own: no slower from
// kSplitRows on. (Kernels for run-time sizes lose 3–33 % in bf16 and up to 40 % in fp32 on every call, a second pass
// over a weight gradient 6 %: that one keeps its exact inner size.)
constexpr int64_t kRowBlock = 64;
constexpr int64_t kSplitRows = 256;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine = [] {
    dnnl::set_primitive_cache_capacity(kCachedKernels);
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return engine;
}

// The [rows, columns] matrix that the product sees, stored transposed or not.
memory::desc describe(int64_t rows, int64_t columns, int64_t stride, bool transposed, memory::data_type type) {
  return memory::desc({rows, columns}, type, transposed ? memory::dims{1, stride} : memory::dims{stride, 1});
}

dnnl::matmul::primitive_desc describe(const Product& p) {
  const auto in = p.type == ProductType::kFp32 ? memory::data_type::f32 : memory::data_type::bf16;
  const auto out = p.type == ProductType::kBf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const memory::desc a = describe(p.m, p.k, p.lda, p.transpose_a, in);
  const memory::desc b = describe(p.k, p.n, p.ldb, p.transpose_b, in);
  const memory::desc c = describe(p.m, p.n, p.ldc, false, out);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  return {cpu_engine(), a, b, c, attributes};
#else
  return {dnnl::matmul::desc(a, b, c), attributes, cpu_engine()};
#endif
}

using Scratch = std::unique_ptr<void, decltype(&std::free)>;

Scratch allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;
  Scratch scratch(bytes ? std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment) : nullptr,
                  &std::free);
  if (bytes && !scratch) throw std::bad_alloc();
  return scratch;
}

bool multiply(const Product& product, const void* a, const void* b, void* c) try {
  const dnnl::matmul::primitive_desc description = describe(product);
  if (std::string_view(description.impl_info_str()).substr(0, 3) == "ref") return false;
  const dnnl::engine& engine = cpu_engine();
  const Scratch scratch = allocate(description.scratchpad_desc().get_size());
  dnnl::stream stream(engine);
  dnnl::matmul(description)
      .execute(stream, {{DNNL_ARG_SRC, memory(description.src_desc(), engine, const_cast<void*>(a))},
                        {DNNL_ARG_WEIGHTS, memory(description.weights_desc(), engine, const_cast<void*>(b))},
                        {DNNL_ARG_DST, memory(description.dst_desc(), engine, c)},
                        {DNNL_ARG_SCRATCHPAD, memory(description.scratchpad_desc(), engine, scratch.get())}});
  stream.wait();
  return true;
} catch (const dnnl::error& failure) {
  if (failure.status == dnnl_unimplemented) return false;
  if (failure.status == dnnl_out_of_memory) throw std::bad_alloc();
  check_failed(__FILE__, __LINE__, failure.what());
}

}  // namespace

bool onednn_product(const Product& product, const void* a, const void* b, void* c) {
  const int64_t rest = product.m % kRowBlock;
  if (product.transpose_a || product.m < kSplitRows || rest == 0) return multiply(product, a, b, c);
  Product head = product, tail = product;
  head.m = product.m - rest;
  tail.m = rest;
  if (!multiply(head, a, b, c)) return false;
  const int64_t in_size = product.type == ProductType::kFp32 ? 4 : 2,
                out_size = product.type == ProductType::kBf16 ? 2 : 4;
  const void* tail_a = static_cast<const std::byte*>(a) + head.m * product.lda * in_size;
  void* tail_c = static_cast<std::byte*>(c) + head.m * product.ldc * out_size;
  SY_CHECK(multiply(tail, tail_a, b, tail_c));
  return true;
}

}  // namespace switchyard
