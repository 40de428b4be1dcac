#include "parallel/dispatch/permute_device.h"

#include <ATen/ATen.h>

#include "parallel/dispatch/permute_cuda.h"
#include "runtime/base/check.h"
#include "runtime/device/cuda.h"

namespace switchyard::on_device {
namespace {

CudaSlots slots_of(const SlotTable& table) {
  SY_CHECK(table.offsets.is_cuda() && table.target.is_cuda() && table.returned.is_cuda());
  return {table.tokens(),
          table.slots(),
          table.copies,
          table.offsets.const_data_ptr<int64_t>(),
          table.target.const_data_ptr<int64_t>(),
          table.returned.const_data_ptr<int64_t>()};
}

struct Counts {
  at::Tensor chunk_starts;
  at::Tensor counts_E;
};

Counts count(const at::Tensor& ids_N, int64_t experts) {
  const int64_t slots = ids_N.numel();
  Counts counts{at::empty({slot_chunks(slots), experts}, ids_N.options()), at::empty({experts}, ids_N.options())};
  count_slots_cuda(slots, experts, ids_N.const_data_ptr<int64_t>(), counts.chunk_starts.data_ptr<int64_t>(),
                   counts.counts_E.data_ptr<int64_t>(), current_cuda_stream());
  return counts;
}

at::Tensor to_device(const int64_t* data, int64_t count, c10::Device device) {
  return at::from_blob(const_cast<int64_t*>(data), {count}, at::kLong).to(device);
}

int64_t row_bytes(const at::Tensor& rows) {
  return rows.size(1) * static_cast<int64_t>(rows.element_size());
}

}  // namespace

std::vector<int64_t> count_slots(const at::Tensor& ids_N, int64_t experts) {
  const at::Tensor counts = count(ids_N, experts).counts_E.cpu();
  const int64_t* data = counts.const_data_ptr<int64_t>();
  return {data, data + experts};
}

void index_slots(const at::Tensor& ids_N, std::span<const RowStart> starts, SlotTable& table) {
  static_assert(sizeof(RowStart) == 2 * sizeof(int64_t));
  const int64_t slots = ids_N.numel(), experts = static_cast<int64_t>(starts.size()) / table.copies;
  const Counts counts = count(ids_N, experts);
  const at::Tensor starts_on_device = to_device(reinterpret_cast<const int64_t*>(starts.data()),
                                                2 * static_cast<int64_t>(starts.size()), ids_N.device());
  table.target = at::empty({slots * table.copies}, ids_N.options());
  table.returned = at::empty({slots * table.copies}, ids_N.options());
  index_slots_cuda(slots, experts, table.copies, ids_N.const_data_ptr<int64_t>(),
                   counts.chunk_starts.const_data_ptr<int64_t>(),
                   static_cast<const RowStart*>(starts_on_device.const_data_ptr()), table.target.data_ptr<int64_t>(),
                   table.returned.data_ptr<int64_t>(), current_cuda_stream());
}

void spread_rows(const at::Tensor& x_TD, const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD) {
  spread_rows_cuda(slots_of(table), row_bytes(x_TD), x_TD.const_data_ptr(), places_XD.data_ptr(), rows_RD.data_ptr(),
                   current_cuda_stream());
}

void spread_weighted_rows(const at::Tensor& g_TD, const at::Tensor& weights_N, const at::Tensor& returned_SD,
                          const SlotTable& table, at::Tensor places_XD, at::Tensor rows_RD,
                          at::Tensor weight_gradients_N) {
  spread_weighted_rows_cuda(slots_of(table), element_of(g_TD.scalar_type()), g_TD.size(1), g_TD.const_data_ptr(),
                            weights_N.const_data_ptr(), returned_SD.const_data_ptr(), places_XD.data_ptr(),
                            rows_RD.data_ptr(), weight_gradients_N.data_ptr(), current_cuda_stream());
}

void sum_rows(const at::Tensor& returned_SD, const SlotTable& table, const at::Tensor& weights_N, at::Tensor out_TD) {
  sum_rows_cuda(slots_of(table), element_of(out_TD.scalar_type()), out_TD.size(1), returned_SD.const_data_ptr(),
                weights_N.defined() ? weights_N.const_data_ptr() : nullptr, out_TD.data_ptr(), current_cuda_stream());
}

void copy_segments(const at::Tensor& from, at::Tensor to, const std::vector<int64_t>& triples) {
  if (triples.empty()) return;
  const at::Tensor on_device = to_device(triples.data(), static_cast<int64_t>(triples.size()), to.device());
  copy_segments_cuda(static_cast<int64_t>(triples.size()) / 3, on_device.const_data_ptr<int64_t>(), row_bytes(to),
                     from.const_data_ptr(), to.data_ptr(), current_cuda_stream());
}

}  // namespace switchyard::on_device
