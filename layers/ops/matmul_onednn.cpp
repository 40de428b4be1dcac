#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <dnnl.hpp>
#include <memory>
#include <new>
#include <string_view>
#include <unordered_map>

#include <absl/hash/hash.h>

#include "layers/ops/matmul_backends.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

using dnnl::memory;

// oneDNN keeps the kernels of the last shapes in a cache of its own, shared by all threads: a new shape costs 0.1–2 ms
// and about 0.3 MB of memory, which bounds how many are worth keeping where experts meet new row counts all the time.
constexpr int kCachedKernels = 384;

// So that few shapes are new, a product of changing rows (m, or the inner size of a weight gradient) is cut into few
// kinds of parts: multiples of kRowBlock, or of a sixteenth of many rows, then a last part that is padded with zeros to
// a multiple of kPaddedRows. (Kernels for run-time sizes lose 3–33 % in bf16 and up to 40 % in fp32 on every call.)
constexpr int64_t kRowBlock = 64;
constexpr int64_t kPaddedRows = 16;

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

// A product's kernel with its arguments, ready to run on other data: making these anew costs as much as a small product
// (attention's, or those of experts with few rows).
class Kernel {
 public:
  explicit Kernel(const dnnl::matmul::primitive_desc& description)
      : stream_(cpu_engine()),
        a_(description.src_desc(), cpu_engine(), nullptr),
        b_(description.weights_desc(), cpu_engine(), nullptr),
        c_(description.dst_desc(), cpu_engine(), nullptr),
        scratch_(description.scratchpad_desc(), cpu_engine(), nullptr),
        scratch_bytes_(description.scratchpad_desc().get_size()),
        product_(description),
        arguments_{{DNNL_ARG_SRC, a_}, {DNNL_ARG_WEIGHTS, b_}, {DNNL_ARG_DST, c_}, {DNNL_ARG_SCRATCHPAD, scratch_}} {}

  size_t scratch_bytes() const { return scratch_bytes_; }
  void run(const void* a, const void* b, void* c, void* scratch) {
    a_.set_data_handle(const_cast<void*>(a));
    b_.set_data_handle(const_cast<void*>(b));
    c_.set_data_handle(c);
    scratch_.set_data_handle(scratch);
    product_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  dnnl::stream stream_;
  memory a_, b_, c_, scratch_;
  size_t scratch_bytes_;
  dnnl::matmul product_;
  std::unordered_map<int, memory> arguments_;
};

// What one thread has run last.
class Kernels {
 public:
  // Null where oneDNN has no optimised kernel.
  Kernel* find(const Product& product) {
    const auto known = kernels_.find(product);
    if (known != kernels_.end()) return known->second.get();
    if (kernels_.size() >= kCachedKernels) kernels_.clear();
    return kernels_.emplace(product, make(product)).first->second.get();
  }
  void give_up(const Product& product) { kernels_[product] = nullptr; }
  void* scratch(size_t bytes) {
    if (bytes > scratch_bytes_) {
      scratch_ = allocate(bytes);
      scratch_bytes_ = bytes;
    }
    return scratch_.get();
  }

 private:
  struct Hash {
    size_t operator()(const Product& p) const {
      return absl::HashOf(p.type, p.m, p.n, p.k, p.lda, p.ldb, p.ldc, p.transpose_a, p.transpose_b, p.accumulate);
    }
  };

  static std::unique_ptr<Kernel> make(const Product& product) try {
    const dnnl::matmul::primitive_desc description = describe(product);
    if (std::string_view(description.impl_info_str()).substr(0, 3) == "ref") return nullptr;
    return std::make_unique<Kernel>(description);
  } catch (const dnnl::error& failure) {
    if (failure.status == dnnl_unimplemented) return nullptr;
    throw;
  }

  std::unordered_map<Product, std::unique_ptr<Kernel>, Hash> kernels_;
  Scratch scratch_{nullptr, &std::free};
  size_t scratch_bytes_ = 0;
};

bool multiply(const Product& product, const void* a, const void* b, void* c) {
  thread_local Kernels kernels;
  try {
    Kernel* kernel = kernels.find(product);
    if (kernel) kernel->run(a, b, c, kernels.scratch(kernel->scratch_bytes()));
    return kernel != nullptr;
  } catch (const dnnl::error& failure) {
    if (failure.status == dnnl_out_of_memory) throw std::bad_alloc();
    // Some kernels find out as they run: bf16 ones of very few rows.
    if (failure.status != dnnl_unimplemented) check_failed(__FILE__, __LINE__, failure.what());
    kernels.give_up(product);
    return false;
  }
}

size_t operand_size(const Product& p) {
  return p.type == ProductType::kFp32 ? sizeof(float) : sizeof(uint16_t);
}

size_t result_size(const Product& p) {
  return p.type == ProductType::kBf16 ? sizeof(uint16_t) : sizeof(float);
}

// `rows` rows of `bytes` each, row by row `stride` bytes apart in `from` and `to`.
void copy_rows(const void* from, int64_t from_stride, int64_t rows, int64_t bytes, void* to, int64_t to_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(static_cast<std::byte*>(to) + r * to_stride, static_cast<const std::byte*>(from) + r * from_stride,
                bytes);
  }
}

// A copy of rows that lie close together, followed by zeros.
Scratch padded_copy(const void* from, int64_t stride, int64_t rows, int64_t bytes, int64_t padded_rows) {
  Scratch copy = allocate(padded_rows * bytes);
  copy_rows(from, stride, rows, bytes, copy.get(), bytes);
  std::memset(static_cast<std::byte*>(copy.get()) + rows * bytes, 0, (padded_rows - rows) * bytes);
  return copy;
}

// The product of few rows by a kernel for `padded` ones.
bool multiply_padded(Product p, const void* a, const void* b, void* c, int64_t padded) {
  const int64_t in = operand_size(p), out = result_size(p);
  if (p.transpose_a) {
    const Scratch a_rows = padded_copy(a, p.lda * in, p.k, p.m * in, padded);
    const Scratch b_rows = padded_copy(b, p.ldb * in, p.k, p.n * in, padded);
    p.k = padded;
    p.lda = p.m;
    p.ldb = p.n;
    return multiply(p, a_rows.get(), b_rows.get(), c);
  }
  const int64_t rows = p.m, stride = p.ldc * out, bytes = p.n * out;
  const Scratch a_rows = padded_copy(a, p.lda * in, rows, p.k * in, padded);
  const Scratch c_rows = padded_copy(c, stride, p.accumulate ? rows : 0, bytes, padded);
  p.m = padded;
  p.lda = p.k;
  p.ldc = p.n;
  if (!multiply(p, a_rows.get(), b, c_rows.get())) return false;
  copy_rows(c_rows.get(), bytes, rows, bytes, c, stride);
  return true;
}

bool multiply_part(const Product& p, const void* a, const void* b, void* c) {
  const int64_t rows = p.transpose_a ? p.k : p.m;
  // Fewer than that pay for the padding, and are of few kinds.
  if (rows < kPaddedRows || rows % kPaddedRows == 0) return multiply(p, a, b, c);
  return multiply_padded(p, a, b, c, (rows + kPaddedRows - 1) / kPaddedRows * kPaddedRows);
}

// How many of `rows` are the next part.
int64_t part_rows(int64_t rows) {
  if (rows < kRowBlock) return rows;
  const int64_t block = std::max<int64_t>(kRowBlock, std::bit_floor(static_cast<uint64_t>(rows)) / 16);
  return rows - rows % block;
}

}  // namespace

bool onednn_product(const Product& product, const void* a, const void* b, void* c) {
  const bool inner = product.transpose_a;
  // A sum in parts is rounded once only where the result is fp32.
  if (inner && (product.transpose_b || product.type == ProductType::kBf16)) return multiply(product, a, b, c);
  const int64_t rows = inner ? product.k : product.m;
  const auto* a_rows = static_cast<const std::byte*>(a);
  const auto* b_rows = static_cast<const std::byte*>(b);
  auto* c_rows = static_cast<std::byte*>(c);
  Product part = product;
  for (int64_t done = 0; done < rows;) {
    const int64_t count = part_rows(rows - done);
    (inner ? part.k : part.m) = count;
    if (!multiply_part(part, a_rows, b_rows, c_rows)) {
      SY_CHECK_EQ(done, 0);
      return false;
    }
    done += count;
    a_rows += count * product.lda * operand_size(product);
    if (inner) {
      b_rows += count * product.ldb * operand_size(product);
      part.accumulate = true;
    } else {
      c_rows += count * product.ldc * result_size(product);
    }
  }
  return true;
}

}  // namespace switchyard
