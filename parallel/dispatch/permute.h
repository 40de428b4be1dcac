// Row kernels of dispatch and combine: rows of tokens spread to the places of their slots, and rows of slots summed
// into their tokens. Each makes one pass over the rows; results do not depend on the number of threads. All tensors of
// a call are on one device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/slot_rows.h"

namespace switchyard {

// Where the copies of every slot's row go and from where they come back. Slot s of this rank has `copies` of them (one
// for each rank that shares the expert), at index s·copies + c.
struct SlotTable {
  at::Tensor offsets;  // int64 [T+1], slots of token t: offsets[t] … offsets[t+1]−1
  int64_t copies = 1;
  // int64 [slots·copies]: row of places_XD, such as the wire's buffer, or stays_at(row of rows_RD) if it does not
  // leave; row of what came back, or is read where it lies.
  at::Tensor target, returned;

  int64_t tokens() const { return offsets.size(0) - 1; }
  int64_t slots() const { return target.numel() / copies; }
};

// Slots of each of `experts` experts among ids_N (int64, contiguous).
std::vector<int64_t> count_slots(const at::Tensor& ids_N, int64_t experts);

// Fills the table's target and returned: the slots of an expert get consecutive rows, in their order. ids_N: int64,
// contiguous. starts[e · copies + c]: where the rows of copy c of expert e begin.
void index_slots(const at::Tensor& ids_N, std::span<const RowStart> starts, SlotTable& table);

// `count` rows that lie together at row `a` of one buffer and at row `b` of another.
struct RowSegment {
  int64_t a;
  int64_t b;
  int64_t count;
};

// Copies x_TD[t] to the targets of all copies of t's slots. All tensors: one dtype (bf16, fp32, fp64), contiguous.
void spread_rows(const at::Tensor& x_TD, const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD);

// The same with weights_N[s] · g_TD[t], rounded once, and in the same pass weight_gradients_N[s] = Σ over copies of
// ⟨g_TD[t], returned row⟩. Weights and their gradients are fp32, or fp64 for fp64 rows.
void spread_weighted_rows(const at::Tensor& g_TD, const at::Tensor& weights_N, const at::Tensor& returned_SD,
                          const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD,
                          at::Tensor weight_gradients_N);

// out_TD[t] = Σ over t's slots and their copies, in order, of weights_N[s] · returned row, in fp32 (fp64), rounded
// once. Undefined weights count as 1. Every element of out_TD is written.
void sum_rows(const at::Tensor& returned_SD, const SlotTable& table, const at::Tensor& weights_N, at::Tensor out_TD);

// b rows of `to` = a rows of `from`; reversed: a rows of `to` = b rows of `from`.
void copy_segments(const at::Tensor& from, at::Tensor to, std::span<const RowSegment> segments);
void copy_segments_reversed(const at::Tensor& from, at::Tensor to, std::span<const RowSegment> segments);

}  // namespace switchyard
