#include "tests/support/global_batch.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <ATen/ATen.h>

#include "runtime/numerics/precision.h"

namespace switchyard {

GlobalBatch GlobalBatch::make(int64_t tokens, int64_t width, int64_t experts, int64_t experts_per_token, Skew skew,
                              bool ragged, at::ScalarType dtype, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const auto draw = [&](std::vector<int64_t> shape) {
    at::Tensor out = at::empty(shape, at::kDouble);
    std::generate_n(out.data_ptr<double>(), out.numel(), [&] { return normal(random); });
    return out.to(dtype);
  };
  std::vector<int64_t> offsets{0};
  std::vector<int64_t> ids;
  std::vector<double> weights;
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t k = ragged ? static_cast<int64_t>(random() % (experts_per_token + 1)) : experts_per_token;
    std::vector<int64_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    if (skew == Skew::kSkewed) {  // low ids come often, the last expert never
      std::vector<double> key(experts);
      for (int64_t e = 0; e < experts; ++e) key[e] = static_cast<double>(e) + 2 * std::abs(normal(random));
      std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return key[a] < key[b]; });
      std::erase(order, experts - 1);
    }
    if (skew == Skew::kOneExpert) order.assign(1, 0);
    for (int64_t i = 0; i < std::min<int64_t>(k, static_cast<int64_t>(order.size())); ++i) {
      ids.push_back(order[i]);
      weights.push_back(std::abs(normal(random)) + 0.1);
    }
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  GlobalBatch batch;
  batch.x_TD = draw({tokens, width});
  batch.g_TD = draw({tokens, width});
  batch.routing = {at::tensor(offsets, at::kLong), at::tensor(ids, at::kLong),
                   at::tensor(weights, at::kDouble).to(accumulate_dtype(dtype))};
  return batch;
}

GlobalBatch GlobalBatch::share(int64_t begin, int64_t end) const {
  const int64_t* offsets = routing.offsets.const_data_ptr<int64_t>();
  const int64_t first = offsets[begin];
  const int64_t slots = offsets[end] - first;
  GlobalBatch out;
  out.x_TD = x_TD.narrow(0, begin, end - begin).clone().set_requires_grad(true);
  out.g_TD = g_TD.narrow(0, begin, end - begin).clone();
  out.routing = {routing.offsets.narrow(0, begin, end - begin + 1) - first,
                 routing.experts.narrow(0, first, slots).clone(),
                 routing.weights.narrow(0, first, slots).clone().set_requires_grad(true)};
  return out;
}

}  // namespace switchyard
