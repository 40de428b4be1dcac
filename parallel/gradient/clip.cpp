#include "parallel/gradient/clip.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/Dispatch.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

constexpr int64_t kBlock = 16 * 1024;
constexpr int kLanes = 16;

// In lanes that the compiler can keep in vectors; the order does not depend on the machine.
template <typename T>
double sum_of_squares(const T* x, int64_t n) {
  std::array<double, kLanes> lanes{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(x[i + lane]);
      lanes[lane] = std::fma(value, value, lanes[lane]);
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) {
    const auto value = static_cast<double>(x[i]);
    lanes[lane] = std::fma(value, value, lanes[lane]);
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

// Blocks of a fixed size, so that the number of threads does not change the order.
double sum_of_squares(const at::Tensor& x) {
  const int64_t n = x.numel(), blocks = (n + kBlock - 1) / kBlock;
  std::vector<double> sums(blocks);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "sum_of_squares", [&] {
    const scalar_t* data = x.const_data_ptr<scalar_t>();
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        sums[b] = sum_of_squares(data + b * kBlock, std::min(kBlock, n - b * kBlock));
      }
    });
  });
  double sum = 0;
  for (double s : sums) sum += s;
  return sum;
}

}  // namespace

namespace {

// One number to the host, whatever the number of shards.
double sum_of_squares_on_device(std::span<const Shard> shards) {
  std::vector<at::Tensor> norms;
  for (const Shard& shard : shards) {
    norms.push_back(at::linalg_vector_norm(shard.gradient, 2, at::OptionalIntArrayRef(), false, at::kDouble));
  }
  return at::stack(norms).square_().sum().item<double>();
}

}  // namespace

absl::StatusOr<double> gradient_norm(std::span<const Shard> shards, Communicator& world) {
  const at::Tensor sum = at::zeros({1}, at::kDouble);
  double& own = *sum.mutable_data_ptr<double>();
  if (!shards.empty() && shards.front().gradient.is_cuda()) {
    own = sum_of_squares_on_device(shards);
  } else {
    for (const Shard& shard : shards) own += sum_of_squares(shard.gradient);
  }
  SY_RETURN_IF_ERROR(annotate(world.all_reduce(sum, ReduceOp::kSum).wait(), "gradient norm"));
  return std::sqrt(*sum.const_data_ptr<double>());
}

double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

}  // namespace switchyard
