#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "layers/moe/softmax_top_k.h"
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

// The `count` largest of values[0 … n), by falling value, the lower index first among equals. By repeated maxima of a
// copy: no branch depends on the values. `scratch` has room for n rounded up to whole registers.
template <typename T>
void largest(const T* values, int64_t n, int64_t count, T* scratch, int64_t* indices) {
  constexpr T kTaken = -std::numeric_limits<T>::infinity();
  constexpr T kLowest = std::numeric_limits<T>::lowest();
  const int64_t padded = (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  for (int64_t i = 0; i < n; ++i) scratch[i] = values[i] > kLowest ? values[i] : kLowest;  // NaN too
  std::fill(scratch + n, scratch + padded, kTaken);
  for (int64_t k = 0; k < count; ++k) {
    Lanes<T> most = broadcast(kTaken);
    for (int64_t i = 0; i < padded; i += kLanes<T>) {
      Lanes<T> lanes;
      load(scratch + i, lanes);
      most = maximum(lanes, most);
    }
    indices[k] = std::find(scratch, scratch + n, maximum(most)) - scratch;
    scratch[indices[k]] = kTaken;
  }
}

struct BlockSums {
  std::vector<int64_t> slots;
  std::vector<double> probabilities;
  double squared_log_sums = 0;
};

int64_t blocks_of(int64_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

// One token: choose, weigh, and add to the block's sums. Returns the log-sum-exp of its logits.
template <typename T>
T choose(const T* logits, const T* probabilities, int64_t experts, int64_t k, bool renormalise, T* scratch,
         int64_t* ids, T* weights, BlockSums& sums) {
  largest(logits, experts, k, scratch, ids);
  T total = 0;
  for (int64_t i = 0; i < k; ++i) total += probabilities[ids[i]];
  for (int64_t i = 0; i < k; ++i) {
    weights[i] = renormalise ? probabilities[ids[i]] / total : probabilities[ids[i]];
    ++sums.slots[ids[i]];
  }
  for (int64_t e = 0; e < experts; ++e) sums.probabilities[e] += probabilities[e];
  // The largest probability is at least 1/E, so its logarithm loses nothing.
  const T log_sum = logits[ids[0]] - std::log(probabilities[ids[0]]);
  sums.squared_log_sums += static_cast<double>(log_sum) * log_sum;
  return log_sum;
}

}  // namespace

TopK softmax_top_k(const at::Tensor& logits_TE, const at::Tensor& probabilities_TE, int64_t experts_per_token,
                   bool renormalise) {
  const int64_t tokens = logits_TE.size(0);
  const int64_t experts = logits_TE.size(1);
  const int64_t k = experts_per_token;
  SY_CHECK_LE(k, experts);
  TopK chosen;
  chosen.experts_N = at::empty({tokens * k}, logits_TE.options().dtype(at::kLong));
  chosen.weights_N = at::empty({tokens * k}, logits_TE.options());
  chosen.log_sums_T = at::empty({tokens}, logits_TE.options());
  std::vector<BlockSums> sums(blocks_of(tokens), {std::vector<int64_t>(experts), std::vector<double>(experts)});

  with_scalar(logits_TE.scalar_type(), [&](auto scalar) {
    using T = decltype(scalar);
    const T* logits = logits_TE.const_data_ptr<T>();
    const T* probabilities = probabilities_TE.const_data_ptr<T>();
    int64_t* ids = chosen.experts_N.data_ptr<int64_t>();
    T* weights = chosen.weights_N.data_ptr<T>();
    T* log_sums = chosen.log_sums_T.data_ptr<T>();
    at::parallel_for(0, blocks_of(tokens), 1, [&](int64_t first, int64_t last) {
      std::vector<T> scratch(experts + kLanes<T>);
      for (int64_t b = first; b < last; ++b) {
        for (int64_t t = b * kBlockTokens; t < std::min(tokens, (b + 1) * kBlockTokens); ++t) {
          log_sums[t] = choose(logits + t * experts, probabilities + t * experts, experts, k, renormalise,
                               scratch.data(), ids + t * k, weights + t * k, sums[b]);
        }
      }
    });
  });

  chosen.slots.assign(experts, 0);
  chosen.probability_sums.assign(experts, 0);
  for (const BlockSums& block : sums) {
    chosen.squared_log_sums += block.squared_log_sums;
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
        T inner = 0;
        for (int64_t e = 0; e < experts; ++e) inner += g[e] * p[e];
        const T shift = static_cast<T>(2 * z_factor) * log_sums[t] - inner;
        for (int64_t e = 0; e < experts; ++e) g[e] = p[e] * (g[e] + shift);
      }
    });
  });
  return gradients_TE;
}

}  // namespace switchyard
