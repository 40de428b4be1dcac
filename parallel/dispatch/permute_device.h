// The functions of permute.h for tensors on a device.
#pragma once

#include <span>
#include <vector>

#include "parallel/dispatch/permute.h"

namespace switchyard::on_device {

std::vector<int64_t> count_slots(const at::Tensor& ids_N, int64_t experts);
void index_slots(const at::Tensor& ids_N, std::span<const RowStart> starts, SlotTable& table);
void spread_rows(const at::Tensor& x_TD, const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD);
void spread_weighted_rows(const at::Tensor& g_TD, const at::Tensor& weights_N, const at::Tensor& returned_SD,
                          const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD,
                          at::Tensor weight_gradients_N);
void sum_rows(const at::Tensor& returned_SD, const SlotTable& table, const at::Tensor& weights_N, at::Tensor out_TD);
// triples: (row in `from`, row in `to`, rows), on the host.
void copy_segments(const at::Tensor& from, at::Tensor to, const std::vector<int64_t>& triples);

}  // namespace switchyard::on_device
