// Vectorised activation kernels on raw rows, behind activation.h; defined for bf16, fp32 and fp64.
#pragma once

#include <cstdint>

#include "layers/ops/activation.h"

namespace switchyard {

template <typename T>
struct Rows {
  T* data;
  int64_t stride;
  T* row(int64_t r) const { return data + r * stride; }
};

template <typename T>
void activation_forward_rows(Activation activation, int64_t rows, int64_t width, Rows<const T> h, Rows<T> out);

// out.data may be null: not wanted.
template <typename T>
void activation_backward_rows(Activation activation, int64_t rows, int64_t width, Rows<const T> h, Rows<const T> g,
                              Rows<T> d, Rows<T> out);

}  // namespace switchyard
