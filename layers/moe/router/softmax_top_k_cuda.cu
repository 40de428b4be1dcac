#include <limits>

#include "layers/moe/router/softmax_top_k_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 128;
constexpr int kTokens = kThreads / kWarp;  // of a block: a warp has a token

// A candidate for the next place. Among equals the lower id is the larger one.
template <typename C>
struct Candidate {
  C value;
  int64_t id;
};

template <typename C>
__device__ bool above(const Candidate<C>& a, const Candidate<C>& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// The largest candidate below `last`, over the warp.
template <typename C>
__device__ Candidate<C> next_below(const Candidate<C>& last, const C* logits, int64_t experts) {
  constexpr C kLowest = std::numeric_limits<C>::lowest();
  Candidate<C> best{-std::numeric_limits<C>::infinity(), experts};
  for (int64_t e = threadIdx.x % kWarp; e < experts; e += kWarp) {
    const Candidate<C> here{logits[e] > kLowest ? logits[e] : kLowest, e};  // NaN too
    if (above(last, here) && above(here, best)) best = here;
  }
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    const Candidate<C> other{__shfl_xor_sync(~0u, best.value, offset),
                             static_cast<int64_t>(__shfl_xor_sync(~0u, static_cast<long long>(best.id), offset))};
    if (above(other, best)) best = other;
  }
  return best;
}

template <typename C>
__global__ void choose(int64_t tokens, int64_t experts, int64_t k, bool renormalise, bool given, const C* logits,
                       const C* probabilities, int64_t* ids, C* weights, C* log_sums, C* entropies) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t t = blockIdx.x * int64_t{kTokens} + threadIdx.x / kWarp; t < tokens; t += int64_t{gridDim.x} * kTokens) {
    const C* row = logits + t * experts;
    const C* p = probabilities + t * experts;
    Candidate<C> last = next_below({std::numeric_limits<C>::infinity(), -1}, row, experts);
    // The largest probability is at least 1/E, so its logarithm loses nothing.
    const C log_sum = row[last.id] - log(p[last.id]);
    C total = 0;
    for (int64_t i = 0; i < k; ++i) {
      if (i > 0 && !given) last = next_below(last, row, experts);
      const int64_t id = given ? ids[t * k + i] : last.id;
      total += p[id];
      if (lane != 0) continue;
      if (!given) ids[t * k + i] = id;
      weights[t * k + i] = p[id];
    }
    __syncwarp();
    for (int64_t i = lane; renormalise && i < k; i += kWarp) weights[t * k + i] /= total;
    C mean = 0;
    for (int64_t e = lane; e < experts; e += kWarp) mean += p[e] * row[e];
    mean = warp_sum(mean);
    if (lane != 0) continue;
    log_sums[t] = log_sum;
    entropies[t] = log_sum - mean;
  }
}

template <typename C>
__global__ void differentiate(int64_t tokens, int64_t experts, int64_t k, bool renormalise, const C* probabilities,
                              const int64_t* ids, const C* weights, const C* log_sums, const C* weight_gradients,
                              const C* common, C z_factor, C* gradients) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t t = blockIdx.x * int64_t{kTokens} + threadIdx.x / kWarp; t < tokens; t += int64_t{gridDim.x} * kTokens) {
    const C* p = probabilities + t * experts;
    C* g = gradients + t * experts;
    for (int64_t e = lane; e < experts; e += kWarp) g[e] = common[e];  // first the gradient of the probabilities
    C total = 0, mean = 0;
    for (int64_t i = t * k; i < (t + 1) * k; ++i) {
      total += p[ids[i]];
      mean += weight_gradients[i] * weights[i];
    }
    __syncwarp();
    for (int64_t i = t * k + lane; i < (t + 1) * k; i += kWarp) {
      g[ids[i]] += renormalise ? (weight_gradients[i] - mean) / total : weight_gradients[i];
    }
    __syncwarp();
    C inner = 0;
    for (int64_t e = lane; e < experts; e += kWarp) inner += g[e] * p[e];
    const C shift = C(2) * z_factor * log_sums[t] - warp_sum(inner);
    for (int64_t e = lane; e < experts; e += kWarp) g[e] = p[e] * (g[e] + shift);
  }
}

template <typename Body>
void with_compute(Element element, const Body& body) {
  if (element == Element::kFp32) return body(float());
  SY_CHECK(element == Element::kFp64);
  body(double());
}

}  // namespace

void softmax_top_k_cuda(const CudaTopK& shape, bool given, const void* logits, const void* probabilities, int64_t* ids,
                        void* weights, void* log_sums, void* entropies, CudaStream stream) {
  if (shape.tokens == 0) return;
  with_compute(shape.element, [&](auto value) {
    using C = decltype(value);
    choose<C><<<blocks_for(shape.tokens, kTokens), kThreads, 0, stream_of(stream)>>>(
        shape.tokens, shape.experts, shape.k, shape.renormalise, given, static_cast<const C*>(logits),
        static_cast<const C*>(probabilities), ids, static_cast<C*>(weights), static_cast<C*>(log_sums),
        static_cast<C*>(entropies));
  });
  check_launch("softmax_top_k");
}

void softmax_top_k_backward_cuda(const CudaTopK& shape, const void* probabilities, const int64_t* ids,
                                 const void* weights, const void* log_sums, const void* weight_gradients,
                                 const void* common, double z_factor, void* gradients, CudaStream stream) {
  if (shape.tokens == 0) return;
  with_compute(shape.element, [&](auto value) {
    using C = decltype(value);
    differentiate<C><<<blocks_for(shape.tokens, kTokens), kThreads, 0, stream_of(stream)>>>(
        shape.tokens, shape.experts, shape.k, shape.renormalise, static_cast<const C*>(probabilities), ids,
        static_cast<const C*>(weights), static_cast<const C*>(log_sums), static_cast<const C*>(weight_gradients),
        static_cast<const C*>(common), static_cast<C>(z_factor), static_cast<C*>(gradients));
  });
  check_launch("softmax_top_k_backward");
}

}  // namespace switchyard
