#include "launch/verify/step_record.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/exchange_parts.h"

namespace switchyard {
namespace {

std::string routing_name(int64_t layer, const std::string& what, int64_t part) {
  return absl::StrCat("layers.", layer, ".moe.", what, ".part", part);
}

}  // namespace

TensorPart rows_part(std::string name, int64_t row, int64_t rows, const at::Tensor& data, int64_t column,
                     int64_t columns) {
  return {.name = std::move(name),
          .dtype = data.scalar_type(),
          .shape = {rows, columns < 0 ? data.size(1) : columns},
          .box = {{row, column}, {data.size(0), data.size(1)}},
          .data = data};
}

std::vector<TensorPart> loss_parts(int64_t layer, int64_t part, const RouterStatistics& statistics) {
  std::vector<TensorPart> parts;
  for (const auto& [name, value] : statistics.losses) {
    parts.push_back(whole_part(routing_name(layer, name, part), at::full({1}, value, at::kDouble)));
  }
  return parts;
}

std::vector<TensorPart> count_parts(int64_t layer, int64_t part, const RouterStatistics& statistics) {
  return {whole_part(routing_name(layer, "tokens", part),
                     at::tensor(statistics.tokens_per_expert, at::kLong).to(at::kDouble)),
          whole_part(routing_name(layer, "dropped", part), at::full({1}, statistics.dropped, at::kDouble))};
}

TensorPart weights_part(int64_t layer, int64_t part, const at::Tensor& weights_N) {
  return whole_part(routing_name(layer, "weights", part), weights_N);
}

}  // namespace switchyard
