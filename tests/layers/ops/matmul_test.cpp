#include "layers/ops/matmul.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "layers/ops/matmul_backends.h"
#include "layers/ops/matmul_widened.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

// One thread: two that wait for each other on a busy machine are slow.
class Matmul : public testing::Test {
 protected:
  Matmul() : threads_(at::get_num_threads()) { at::set_num_threads(1); }
  ~Matmul() override { at::set_num_threads(threads_); }

 private:
  int threads_;
};

struct Types {
  at::ScalarType in, out;
};

constexpr Types kTypes[] = {
    {at::kBFloat16, at::kBFloat16}, {at::kBFloat16, at::kFloat}, {at::kFloat, at::kFloat}, {at::kDouble, at::kDouble}};

double unit_roundoff(at::ScalarType type) {
  return type == at::kBFloat16 ? std::ldexp(1.0, -8) : type == at::kFloat ? std::ldexp(1.0, -24) : std::ldexp(1.0, -53);
}

// [rows, columns] of normal numbers inside a wider buffer, so that the row stride is columns + gap.
at::Tensor random_matrix(int64_t rows, int64_t columns, int64_t gap, at::ScalarType type) {
  return at::randn({rows, columns + gap}, at::kDouble).to(type).narrow(1, 0, columns);
}

// |error| ≤ k·u·(|a|·|b| + |c|) for a sum of k products in any order, plus one rounding of the result.
void expect_product(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const at::Tensor& before) {
  const at::Tensor a64 = a.to(at::kDouble), b64 = b.to(at::kDouble), c64 = before.to(at::kDouble);
  const at::Tensor expected = at::mm(a64, b64) + c64;
  const at::Tensor magnitude = at::mm(a64.abs(), b64.abs()) + c64.abs();
  const double inner = unit_roundoff(out.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  // The fp64 reference rounds as the product does, hence the 2.
  const at::Tensor bound = magnitude * (2.0 * static_cast<double>(a.size(1) + 1) * inner) +
                           expected.abs() * unit_roundoff(out.scalar_type());
  const at::Tensor error = (out.to(at::kDouble) - expected).abs();
  EXPECT_TRUE((error <= bound).all().item<bool>()) << "worst error " << error.max().item<double>();
}

void check_shape(const Types& types, int64_t m, int64_t n, int64_t k, const MatmulOptions& options, int64_t gap) {
  SCOPED_TRACE(absl::StrCat(m, "×", n, "×", k, " gap ", gap, options.transpose_a ? " T" : " N",
                            options.transpose_b ? "T" : "N", options.accumulate ? " +=" : " =", " types ",
                            static_cast<int>(types.in), "→", static_cast<int>(types.out)));
  const at::Tensor a = options.transpose_a ? random_matrix(k, m, gap, types.in) : random_matrix(m, k, gap, types.in);
  const at::Tensor b = options.transpose_b ? random_matrix(n, k, gap, types.in) : random_matrix(k, n, gap, types.in);
  const at::Tensor buffer = random_matrix(m, n + gap, 0, types.out);
  const at::Tensor before = buffer.clone();
  matmul(buffer.narrow(1, 0, n), a, b, options);
  EXPECT_TRUE(at::equal(buffer.narrow(1, n, gap), before.narrow(1, n, gap))) << "written beyond the rows";
  const at::Tensor start = before.narrow(1, 0, n);
  if (m > 0 && n > 0) {
    expect_product(buffer.narrow(1, 0, n), options.transpose_a ? a.t() : a, options.transpose_b ? b.t() : b,
                   options.accumulate ? start : at::zeros_like(start));
  }
}

TEST_F(Matmul, AgreesWithDoublePrecisionOverShapes) {
  at::manual_seed(1);
  for (const Types& types : kTypes) {
    for (const int64_t m : {0, 1, 3, 33}) {
      for (const int64_t n : {0, 1, 5, 64}) {
        for (const int64_t k : {0, 1, 70}) {
          for (int bits = 0; bits < 8; ++bits) {
            const MatmulOptions options{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
            check_shape(types, m, n, k, options, m == 3 ? 7 : 0);
          }
        }
      }
    }
  }
}

TEST_F(Matmul, AgreesOnShapesOfExperts) {
  at::manual_seed(2);
  for (const Types& types : kTypes) {
    for (const int64_t rows : {2, 31, 129, 256, 257, 333}) {
      check_shape(types, rows, 192, 128, {.transpose_b = true}, 0);
      check_shape(types, rows, 128, 192, {}, 64);
      check_shape(types, 192, 128, rows, {.transpose_a = true, .accumulate = true}, 0);
    }
  }
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

// Each backend by itself, since matmul takes one of them only. False: not of these types, or not on this processor.
using Backend = bool (*)(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options);

Product describe(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options) {
  const ProductType type = a.scalar_type() == at::kFloat     ? ProductType::kFp32
                           : out.scalar_type() == at::kFloat ? ProductType::kBf16ToFp32
                                                             : ProductType::kBf16;
  return {type,
          out.size(0),
          out.size(1),
          a.size(options.transpose_a ? 0 : 1),
          a.stride(0),
          b.stride(0),
          out.stride(0),
          options.transpose_a,
          options.transpose_b,
          options.accumulate};
}

bool by_onednn(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options) {
  return onednn_product(describe(out, a, b, options), a.const_data_ptr(), b.const_data_ptr(), out.mutable_data_ptr());
}

bool by_tiles(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options) {
  const Product product = describe(out, a, b, options);
  if (!amx_takes(product)) return false;
  amx_product(product, a.const_data_ptr(), b.const_data_ptr(), out.mutable_data_ptr(), options.passing);
  return true;
}

bool by_widening(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, const MatmulOptions& options) {
  if (a.scalar_type() == at::kFloat) return false;
  widened_product(out, a, b, options);
  return true;
}

void check_backend(Backend backend, const Types& types, int64_t m, int64_t n, int64_t k, const MatmulOptions& options) {
  const at::Tensor a = random_matrix(options.transpose_a ? k : m, options.transpose_a ? m : k, 8, types.in);
  const at::Tensor b = random_matrix(options.transpose_b ? n : k, options.transpose_b ? k : n, 24, types.in);
  const at::Tensor out = random_matrix(m, n, 5, types.out), before = out.clone();
  if (!backend(out, a, b, options)) return;
  SCOPED_TRACE(absl::StrCat(m, "×", n, "×", k, options.transpose_a ? " T" : " N", options.transpose_b ? "T" : "N"));
  expect_product(out, options.transpose_a ? a.t() : a, options.transpose_b ? b.t() : b,
                 options.accumulate ? before : at::zeros_like(before));
}

TEST_F(Matmul, EveryBackendAgreesWithDoublePrecision) {
  at::manual_seed(6);
  for (const Backend backend : {&by_onednn, &by_tiles, &by_widening}) {
    for (const Types& types : {kTypes[0], kTypes[1], kTypes[2]}) {
      for (const int64_t rows : {1, 16, 47, 129, 200}) {
        check_backend(backend, types, rows, 75, 96, {.transpose_b = true});
        check_backend(backend, types, rows, 32, 600, {.accumulate = true});
        check_backend(backend, types, rows, 96, 288, {.transpose_b = true});
        check_backend(backend, types, rows, 608, 1056, {});
        check_backend(backend, types, 140, 530, rows, {.transpose_a = true, .accumulate = true});
        check_backend(backend, types, 33, 20, rows, {.transpose_a = true, .transpose_b = true});
      }
    }
  }
}

// Of more rows, and more columns, than are widened at a time.
TEST_F(Matmul, WidenedProductsAreRoundedOnce) {
  at::manual_seed(10);
  for (const Types& types : {kTypes[0], kTypes[1]}) {
    for (const bool accumulate : {false, true}) {
      check_backend(&by_widening, types, 1100, 40, 70, {.accumulate = accumulate});
      check_backend(&by_widening, types, 3, 70000, 70, {.accumulate = accumulate});
      check_backend(&by_widening, types, 3, 70000, 70, {.transpose_b = true, .accumulate = accumulate});
      check_backend(&by_widening, types, 30, 20, 1100, {.transpose_a = true, .accumulate = accumulate});
      check_backend(&by_widening, types, 30, 20, 1100,
                    {.transpose_a = true, .transpose_b = true, .accumulate = accumulate});
    }
  }
}

// Six products of bf16 terms are no worse than fp32: here against ATen's, whose errors are those of fp32 arithmetic.
TEST_F(Matmul, TilesKeepSinglePrecision) {
  if (!amx_available()) GTEST_SKIP() << "this processor has no AMX tiles";
  at::manual_seed(7);
  const at::Tensor a = at::randn({64, 700}) * at::randn({64, 700}).exp(), b = at::randn({700, 96});
  const at::Tensor by_aten = at::mm(a, b), out = at::empty({64, 96});
  amx_product({ProductType::kFp32, 64, 96, 700, 700, 96, 96, false, false, false}, a.const_data_ptr(),
              b.const_data_ptr(), out.mutable_data_ptr(), /*passing=*/false);
  const at::Tensor exact = at::mm(a.to(at::kDouble), b.to(at::kDouble));
  const auto error = [&](const at::Tensor& product) { return (product - exact).norm().item<double>(); };
  EXPECT_LT(error(out), 2 * error(by_aten));
  EXPECT_LT(error(out), 1e-6 * exact.norm().item<double>());
}

TEST_F(Matmul, TilesPassOnWhatIsNotANumber) {
  if (!amx_available()) GTEST_SKIP() << "this processor has no AMX tiles";
  for (const uint32_t bits : {0x7FC00000u, 0x7FFFFFFFu, 0xFFFFFFFFu, 0x7F800001u, 0x7F800000u}) {
    const at::Tensor a = at::ones({33, 70}), b = at::ones({70, 40}), out = at::empty({33, 40});
    std::memcpy(a.mutable_data_ptr<float>() + 32 * 70 + 41, &bits, sizeof(bits));
    matmul(out, a, b);
    EXPECT_TRUE(out[32].isnan().all().item<bool>()) << bits;
    EXPECT_FALSE(out.narrow(0, 0, 32).isnan().any().item<bool>()) << bits;
  }
}

void check_rows_alone(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor all = at::empty({300, b.size(1)}, a.options());
  matmul(all, a, b);
  for (const int64_t rows : {64, 75, 130}) {
    for (const bool passing : {false, true}) {
      const at::Tensor some = at::empty({rows, b.size(1)}, a.options());
      matmul(some, a.narrow(0, 300 - rows, rows), b, {.passing = passing});
      EXPECT_TRUE(same_bits(some, all.narrow(0, 300 - rows, rows))) << a.scalar_type() << " " << rows;
    }
  }
  at::set_num_threads(2);
  const at::Tensor by_two = at::empty({300, b.size(1)}, a.options());
  matmul(by_two, a, b);
  EXPECT_TRUE(same_bits(by_two, all)) << a.scalar_type();
  at::set_num_threads(1);
}

TEST_F(Matmul, TilesSumAlikeWhateverTheRows) {
  if (!amx_available()) GTEST_SKIP() << "this processor has no AMX tiles";
  at::manual_seed(8);
  const at::Tensor a = at::randn({300, 320}), b = at::randn({320, 96});
  check_rows_alone(a, b);
  check_rows_alone(a.to(at::kBFloat16), b.to(at::kBFloat16));
  const at::Tensor few = at::empty({1, 96});
  matmul(few, a.narrow(0, 299, 1), b);
  const at::Tensor all = at::empty({300, 96});
  matmul(all, a, b);
  EXPECT_TRUE(same_bits(few, all.narrow(0, 299, 1)));
}

// What lies beside the operands is neither read into the result nor written over.
TEST_F(Matmul, TilesKeepWithinTheOperands) {
  if (!amx_available()) GTEST_SKIP() << "this processor has no AMX tiles";
  at::manual_seed(9);
  const auto with_edges = [](int64_t rows, int64_t columns) {
    const at::Tensor whole =
        at::full({rows + 40, columns + 40}, std::numeric_limits<float>::quiet_NaN(), at::kBFloat16);
    whole.narrow(0, 0, rows).narrow(1, 0, columns).copy_(at::randn({rows, columns}));
    return whole.narrow(0, 0, rows).narrow(1, 0, columns);
  };
  const at::Tensor a = with_edges(66, 64), b = with_edges(64, 96), g = with_edges(75, 50), x = with_edges(75, 41);
  for (const bool passing : {false, true}) {
    const at::Tensor out = at::full({80, 96}, 7, at::kBFloat16);
    matmul(out.narrow(0, 0, 66), a, b, {.passing = passing});
    expect_product(out.narrow(0, 0, 66), a, b, at::zeros({66, 96}, at::kBFloat16));
    EXPECT_TRUE(out.narrow(0, 66, 14).eq(7).all().item<bool>());
  }
  const at::Tensor sums = at::full({60, 60}, 7, at::kFloat);
  matmul(sums.narrow(0, 0, 50).narrow(1, 0, 41), g, x, {.transpose_a = true});
  expect_product(sums.narrow(0, 0, 50).narrow(1, 0, 41), g.t(), x, at::zeros({50, 41}));
  EXPECT_TRUE(sums.narrow(0, 50, 10).eq(7).all().item<bool>());
  EXPECT_TRUE(sums.narrow(1, 41, 19).eq(7).all().item<bool>());
}

TEST_F(Matmul, RefusesMismatches) {
  const at::Tensor a = at::zeros({2, 3}), b = at::zeros({3, 4});
  EXPECT_THROW(matmul(at::zeros({2, 5}), a, b), CheckError);
  EXPECT_THROW(matmul(at::zeros({2, 4}), a, b, {.transpose_a = true}), CheckError);
  EXPECT_THROW(matmul(at::zeros({2, 4}), a, b.to(at::kBFloat16)), CheckError);
  EXPECT_THROW(matmul(at::zeros({2, 4}, at::kDouble), a, b), CheckError);
  EXPECT_THROW(matmul(at::zeros({2, 4}), at::zeros({3, 2}).t(), b), CheckError);
}

// A copy whose first element lies `bytes` beyond a multiple of 4096.
at::Tensor placed(const at::Tensor& tensor, int64_t bytes) {
  const int64_t size = tensor.element_size();
  at::Tensor buffer = at::empty({tensor.numel() + 3 * 4096 / size}, tensor.options());
  const int64_t past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(buffer.data_ptr()) % 4096);
  return buffer.narrow(0, (4096 - past + bytes) / size, tensor.numel()).view(tensor.sizes()).copy_(tensor);
}

TEST_F(Matmul, BitsDoNotDependOnPlacement) {
  at::manual_seed(3);
  for (const Types& types : kTypes) {
    for (const int64_t rows : {1, 2, 3, 5, 31, 64, 300}) {
      for (const MatmulOptions& options :
           {MatmulOptions{false, true, false}, MatmulOptions{false, false, false}, MatmulOptions{true, false, true}}) {
        const int64_t n = options.transpose_a ? 160 : 96, k = options.transpose_a ? rows : 160;
        const int64_t m = options.transpose_a ? 96 : rows;
        const at::Tensor a = random_matrix(options.transpose_a ? k : m, options.transpose_a ? m : k, 0, types.in);
        const at::Tensor b = random_matrix(options.transpose_b ? n : k, options.transpose_b ? k : n, 0, types.in);
        const at::Tensor c = random_matrix(m, n, 0, types.out);
        const at::Tensor first = placed(c, 0);
        matmul(first, placed(a, 0), placed(b, 0), options);
        for (const int64_t bytes : {64, 192, 2048, 4032}) {
          const at::Tensor again = placed(c, bytes);
          matmul(again, placed(a, 4096 - bytes), placed(b, bytes / 2 / 64 * 64), options);
          EXPECT_TRUE(same_bits(first, again)) << rows << " rows, " << bytes << " bytes";
        }
      }
    }
  }
}

TEST_F(Matmul, ThreadsOfOneProcessShareTheKernels) {
  at::manual_seed(4);
  const at::Tensor x = at::randn({300, 64}), w = at::randn({48, 64});
  const auto run = [&] {
    at::set_num_threads(1);
    std::vector<at::Tensor> products;
    for (int64_t rows = 1; rows <= 300; rows += 23) {
      products.push_back(at::empty({rows, 48}));
      matmul(products.back(), x.narrow(0, 0, rows), w, {.transpose_b = true});
    }
    return products;
  };
  std::vector<std::vector<at::Tensor>> results(3);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&run, &result] { result = run(); });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < results[0].size(); ++i) {
    expect_product(results[0][i], x.narrow(0, 0, results[0][i].size(0)), w.t(), at::zeros_like(results[0][i]));
    EXPECT_TRUE(same_bits(results[0][i], results[1][i]) && same_bits(results[0][i], results[2][i]));
  }
}

TEST_F(Matmul, TwoThreadsGiveTheProduct) {
  at::manual_seed(5);
  at::set_num_threads(2);
  for (const Types& types : kTypes) {
    for (const int64_t rows : {1, 3, 130}) {
      check_shape(types, rows, 96, 80, {.transpose_b = true}, 0);
      check_shape(types, 96, 80, rows, {.transpose_a = true, .accumulate = true}, 0);
    }
  }
}

}  // namespace
}  // namespace switchyard
