// Rotary position embedding (Su et al., "RoFormer", 2021) in the half-split convention of Llama and Hugging Face: in a
// head of width C, elements i and i + C/2 turn by the angle position · theta^(−2i/C).
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

// Turns the first `heads` heads of width C of every row, in place, and returns x; its other columns are left alone.
// x_TX: [T, ≥ heads·C], contiguous, bf16, fp32 or fp64; the result of an operation that does not keep its output (a
// product), for it is overwritten. positions: int64 [T], ≥ 0. C even. Local. Angles in fp64, sines and products in
// accumulate_dtype. Backward turns the gradient back.
at::Tensor rope(at::Tensor x_TX, const at::Tensor& positions_T, int64_t heads, int64_t head_width, double theta);

// Kernels of the CPU.
namespace rope_kernel {
// [positions, C] in `dtype`: for each position 0 … positions−1 C/2 cosines, then C/2 sines.
at::Tensor table(int64_t positions, int64_t head_width, double theta, at::ScalarType dtype);
// `inverse`: turn by the opposite angle. table_PC in accumulate_dtype.
void turn(const at::Tensor& x_TX, const at::Tensor& positions_T, const at::Tensor& table_PC, int64_t heads,
          bool inverse);
}  // namespace rope_kernel

}  // namespace switchyard
