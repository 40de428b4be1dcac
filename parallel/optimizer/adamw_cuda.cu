#include <algorithm>

#include "parallel/optimizer/adamw_cuda.h"
#include "runtime/device/kernel.cuh"

namespace switchyard {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kElementsABlock = 4 * kThreads;
constexpr int kShards = 48;  // of a launch: what its parameters have room for

struct Shards {
  CudaShard shard[kShards];
  int64_t first_block[kShards + 1];
  int count;
};

// Rounded after every operation, as the host does: no contraction to fused multiply-adds.
__device__ float times(float a, float b) {
  return __fmul_rn(a, b);
}
__device__ double times(double a, double b) {
  return __dmul_rn(a, b);
}

template <typename C>
__global__ void update(AdamWFactors factors, const __grid_constant__ Shards shards) {
  int which = 0;
  while (shards.first_block[which + 1] <= blockIdx.x) ++which;
  const CudaShard& shard = shards.shard[which];
  const C scale = static_cast<C>(factors.gradient_scale), decay = static_cast<C>(shard.decay);
  const C beta2 = static_cast<C>(factors.beta2);
  const C weight1 = static_cast<C>(1 - factors.beta1), weight2 = static_cast<C>(1 - factors.beta2);
  const C step = static_cast<C>(-factors.step_size), root = static_cast<C>(factors.root_bias_correction2);
  const C epsilon = static_cast<C>(factors.epsilon);
  C* master = static_cast<C*>(shard.master);
  C* m = static_cast<C*>(shard.m);
  C* v = static_cast<C*>(shard.v);
  const int64_t begin = (blockIdx.x - shards.first_block[which]) * kElementsABlock;
  const int64_t end = begin + kElementsABlock < shard.count ? begin + kElementsABlock : shard.count;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const C g = times(static_cast<const C*>(shard.gradient)[i], scale);
    const C m_new = m[i] + times(weight1, g - m[i]);
    const C v_new = times(v[i], beta2) + times(times(weight2, g), g);
    m[i] = m_new;
    v[i] = v_new;
    const C p = times(master[i], decay) + times(step, m_new) / (sqrt(v_new) / root + epsilon);
    master[i] = p;
    if (shard.value) static_cast<__nv_bfloat16*>(shard.value)[i] = __float2bfloat16_rn(static_cast<float>(p));
  }
}

}  // namespace

void adamw_update_cuda(Element element, const AdamWFactors& factors, const CudaShard* shards, int64_t count,
                       CudaStream stream) {
  SY_CHECK(element == Element::kFp32 || element == Element::kFp64);
  const auto kernel = element == Element::kFp32 ? update<float> : update<double>;
  for (int64_t first = 0; first < count; first += kShards) {
    Shards some{};
    for (int64_t i = first; i < std::min(count, first + kShards); ++i) {
      if (shards[i].count == 0) continue;
      some.shard[some.count] = shards[i];
      some.first_block[some.count + 1] =
          some.first_block[some.count] + (shards[i].count + kElementsABlock - 1) / kElementsABlock;
      ++some.count;
    }
    if (some.count == 0) continue;
    kernel<<<static_cast<unsigned>(some.first_block[some.count]), kThreads, 0, stream_of(stream)>>>(factors, some);
    check_launch("adamw");
  }
}

}  // namespace switchyard
