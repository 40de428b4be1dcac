#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "layers/moe/router/largest.h"
#include "layers/moe/router/softmax_top_k.h"
#include "layers/moe/router/softmax_top_k_device.h"
#include "runtime/base/check.h"
#include "runtime/numerics/lanes.h"

namespace switchyard {
namespace {

// Tokens are summed in blocks of this many, and the blocks in order, whatever the threads.
constexpr int64_t kBlockTokens = 256;

template <typename Body>
void with_scalar(at::ScalarType dtype, const Body& body) {
  if (dtype == at::kFloat) return body(float());
  SY_CHECK_EQ(dtype, at::kDouble);
  body(double());
}

// Σ a·b over n values.
template <typename L, typename T>
SY_KERNEL T dot(const T* a, const T* b, int64_t n) {
  L total{};
  int64_t i = 0;
  L x, y;
  for (; i + kLanes<L> <= n; i += kLanes<L>) {
    load(a + i, x);
    load(b + i, y);
    total += x * y;
  }
  load_first(a + i, n - i, T(0), x);
  load_first(b + i, n - i, T(0), y);
  return sum(total + x * y);
}

struct BlockSums {
  std::vector<int64_t> slots;
  std::vector<double> probabilities;
  double squared_log_sums = 0;
  double entropies = 0;
};

int64_t blocks_of(int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

// One token: weigh its chosen experts, and add to the block's sums. `top`: the expert with the largest logit. Returns
// the log-sum-exp of its logits.
template <typename L, typename T>
SY_KERNEL T weigh(const T* logits, const T* probabilities, int64_t experts, int64_t top, const int64_t* ids, int64_t k,
                  bool renormalise, T* weights, BlockSums& sums) {
  T total = 0;
  for (int64_t i = 0; i < k; ++i) total += probabilities[ids[i]];
  for (int64_t i = 0; i < k; ++i) {
    weights[i] = renormalise ? probabilities[ids[i]] / total : probabilities[ids[i]];
    ++sums.slots[ids[i]];
  }
  for (int64_t e = 0; e < experts; ++e) sums.probabilities[e] += probabilities[e];
  // The largest probability is at least 1/E, so its logarithm loses nothing.
  const T log_sum = logits[top] - std::log(probabilities[top]);
  sums.squared_log_sums += static_cast<double>(log_sum) * log_sum;
  sums.entropies += static_cast<double>(log_sum - dot<L>(probabilities, logits, experts));
  return log_sum;
}

}  // namespace

TopK softmax_top_k(const at::Tensor& logits_TE, const at::Tensor& probabilities_TE, int64_t experts_per_token,
                   bool renormalise, const at::Tensor& given_N) {
  if (logits_TE.is_cuda()) {
    return on_device::softmax_top_k(logits_TE, probabilities_TE, experts_per_token, renormalise, given_N);
  }
  const int64_t tokens = logits_TE.size(0);
  const int64_t experts = logits_TE.size(1);
  const int64_t k = experts_per_token;
  SY_CHECK_LE(k, experts);
  TopK chosen;
  const auto integers = logits_TE.options().dtype(at::kLong);
  chosen.experts_N = given_N.defined() ? given_N.to(integers).contiguous() : at::empty({tokens * k}, integers);
  SY_CHECK_EQ(chosen.experts_N.numel(), tokens * k);
  chosen.weights_N = at::empty({tokens * k}, logits_TE.options());
  chosen.log_sums_T = at::empty({tokens}, logits_TE.options());
  std::vector<BlockSums> sums(blocks_of(tokens), {std::vector<int64_t>(experts), std::vector<double>(experts)});

  with_scalar(logits_TE.scalar_type(), [&](auto scalar) {
    using T = decltype(scalar);
    const T* logits = logits_TE.const_data_ptr<T>();
    const T* probabilities = probabilities_TE.const_data_ptr<T>();
    int64_t* ids = given_N.defined() ? nullptr : chosen.experts_N.data_ptr<int64_t>();
    const int64_t* taken = chosen.experts_N.const_data_ptr<int64_t>();
    T* weights = chosen.weights_N.data_ptr<T>();
    T* log_sums = chosen.log_sums_T.data_ptr<T>();
    at::parallel_for(0, blocks_of(tokens), 1, [&](int64_t first, int64_t last) {
      std::vector<T> scratch(largest_scratch<T>(experts));
      std::vector<int64_t> most_probable(kBlockTokens);  // where the choice is given and need not begin with it
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        using L = Lanes<T, decltype(registers)>;
        for (int64_t b = first; b < last; ++b) {
          const int64_t begin = b * kBlockTokens, end = std::min(tokens, begin + kBlockTokens);
          const int64_t count = ids ? k : 1;
          int64_t* top = ids ? ids + begin * k : most_probable.data();
          largest<L>(logits + begin * experts, end - begin, experts, count, scratch.data(), top);
          for (int64_t t = begin; t < end; ++t, top += count) {
            log_sums[t] = weigh<L>(logits + t * experts, probabilities + t * experts, experts, *top, taken + t * k, k,
                                   renormalise, weights + t * k, sums[b]);
          }
        }
      });
    });
  });

  chosen.slots.assign(experts, 0);
  chosen.probability_sums.assign(experts, 0);
  for (const BlockSums& block : sums) {
    chosen.squared_log_sums += block.squared_log_sums;
    chosen.entropies += block.entropies;
    for (int64_t e = 0; e < experts; ++e) {
      chosen.slots[e] += block.slots[e];
      chosen.probability_sums[e] += block.probabilities[e];
    }
  }
  return chosen;
}

at::Tensor softmax_top_k_backward(const at::Tensor& probabilities_TE, const TopK& chosen, bool renormalise,
                                  const at::Tensor& weight_gradients_N,
                                  const std::vector<double>& probability_gradients, double z_factor) {
  if (probabilities_TE.is_cuda()) {
    return on_device::softmax_top_k_backward(probabilities_TE, chosen, renormalise, weight_gradients_N,
                                             probability_gradients, z_factor);
  }
  const int64_t tokens = probabilities_TE.size(0);
  const int64_t experts = probabilities_TE.size(1);
  const int64_t k = tokens == 0 ? 0 : chosen.experts_N.numel() / tokens;
  at::Tensor gradients_TE = at::empty(probabilities_TE.sizes(), probabilities_TE.options());
  with_scalar(probabilities_TE.scalar_type(), [&](auto scalar) {
    using T = decltype(scalar);
    const T* probabilities = probabilities_TE.const_data_ptr<T>();
    const T* weights = chosen.weights_N.const_data_ptr<T>();
    const T* weight_gradients = weight_gradients_N.const_data_ptr<T>();
    const T* log_sums = chosen.log_sums_T.const_data_ptr<T>();
    const int64_t* ids = chosen.experts_N.const_data_ptr<int64_t>();
    T* gradients = gradients_TE.data_ptr<T>();
    const std::vector<T> common(probability_gradients.begin(), probability_gradients.end());
    at::parallel_for(0, tokens, kBlockTokens, [&](int64_t first, int64_t last) {
      with_wide_registers([&](auto registers) __attribute__((always_inline)) {
        using L = Lanes<T, decltype(registers)>;
        for (int64_t t = first; t < last; ++t) {
          const T* p = probabilities + t * experts;
          T* g = gradients + t * experts;
          std::copy(common.begin(), common.end(), g);  // first the gradient of the probabilities
          T total = 0;
          T mean = 0;
          for (int64_t i = t * k; i < (t + 1) * k; ++i) {
            total += p[ids[i]];
            mean += weight_gradients[i] * weights[i];
          }
          for (int64_t i = t * k; i < (t + 1) * k; ++i) {
            g[ids[i]] += renormalise ? (weight_gradients[i] - mean) / total : weight_gradients[i];
          }
          const T shift = static_cast<T>(2 * z_factor) * log_sums[t] - dot<L>(g, p, experts);
          for (int64_t e = 0; e < experts; ++e) g[e] = p[e] * (g[e] + shift);
        }
      });
    });
  });
  return gradients_TE;
}

}  // namespace switchyard
