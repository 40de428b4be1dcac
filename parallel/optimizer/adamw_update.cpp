#include "parallel/optimizer/adamw_update.h"

#include <bit>
#include <cmath>

namespace switchyard {

// In the order of PyTorch: decay, lerp, mul and addcmul, sqrt, division, addcdiv.
template <typename T>
void adamw_update(const AdamWFactors& factors, int64_t n, const T* __restrict gradient, T* __restrict p,
                  T* __restrict m, T* __restrict v) {
  const T scale = static_cast<T>(factors.gradient_scale), decay = static_cast<T>(factors.decay);
  const T beta2 = static_cast<T>(factors.beta2);
  const T weight1 = static_cast<T>(1 - factors.beta1), weight2 = static_cast<T>(1 - factors.beta2);
  const T step = static_cast<T>(-factors.step_size), root = static_cast<T>(factors.root_bias_correction2);
  const T epsilon = static_cast<T>(factors.epsilon);
  for (int64_t i = 0; i < n; ++i) {
    const T g = gradient[i] * scale;
    const T m_new = m[i] + weight1 * (g - m[i]);
    const T v_new = v[i] * beta2 + weight2 * g * g;
    m[i] = m_new;
    v[i] = v_new;
    p[i] = p[i] * decay + step * m_new / (std::sqrt(v_new) / root + epsilon);
  }
}

template void adamw_update(const AdamWFactors&, int64_t, const float*, float*, float*, float*);
template void adamw_update(const AdamWFactors&, int64_t, const double*, double*, double*, double*);

void round_to_bf16(const float* __restrict in, int64_t n, c10::BFloat16* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(in[i]);
    const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const bool is_nan = (bits & 0x7FFFFFFF) > 0x7F800000;
    out[i].x = static_cast<uint16_t>(is_nan ? 0x7FC0 : rounded);
  }
}

}  // namespace switchyard
