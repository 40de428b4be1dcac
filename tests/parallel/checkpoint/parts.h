// Parts of tensors whose elements are all different, for tests of checkpoints.
#pragma once

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "parallel/checkpoint/tensor_part.h"
#include "parallel/topology/box.h"
#include "tests/support/part_of.h"

namespace switchyard {

// 16-bit floats repeat after 2^16 elements, as bits.
inline at::Tensor counted(const std::vector<int64_t>& shape, at::ScalarType dtype) {
  const int64_t count = Box::whole(shape).numel();
  const at::Tensor flat = c10::elementSize(dtype) == 2 ? at::arange(count, at::kLong).to(at::kShort).view(dtype)
                                                       : at::arange(count, at::kLong).to(dtype);
  return flat.reshape(shape);
}

inline TensorPart part_of(const std::string& name, const at::Tensor& whole, const Box& box) {
  return {name, whole.scalar_type(), whole.sizes().vec(), box, part_of(whole, box).contiguous().clone()};
}
inline TensorPart part_of(const std::string& name, const at::Tensor& whole) {
  return part_of(name, whole, Box::whole(whole.sizes().vec()));
}

// To be filled; what it holds before is not what it will hold.
inline TensorPart wanted_part(const std::string& name, const at::Tensor& whole, const Box& box) {
  return {name, whole.scalar_type(), whole.sizes().vec(), box, at::full(box.extent, 77, whole.options())};
}

// Part `index` of `parts` along dimension `d`.
inline Box cut_box(const std::vector<int64_t>& shape, size_t d, int64_t parts, int64_t index) {
  Box box = Box::whole(shape);
  const auto [begin, end] = cut(shape[d], parts, index);
  box.offset[d] = begin;
  box.extent[d] = end - begin;
  return box;
}

// The bits are the same, whatever the type.
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a.contiguous().view({-1}).view(at::kByte), b.contiguous().view({-1}).view(at::kByte));
}

}  // namespace switchyard
