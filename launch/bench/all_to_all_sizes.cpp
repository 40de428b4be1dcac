#include "launch/bench/all_to_all_sizes.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "parallel/dispatch/expert_draw.h"
#include "parallel/topology/placement.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

std::vector<RowCounts> even_sizes(int64_t row_bytes, Communicator& group) {
  const int64_t others = group.size() - 1;
  std::vector<RowCounts> sizes;
  for (int64_t rows = 1; sizes.empty() || rows * std::max<int64_t>(1, others) * row_bytes <= kMostBytes; rows *= 4) {
    RowCounts counts{.rows = rows, .sent = std::vector<int64_t>(group.size(), rows), .received = {}, .own = rows};
    counts.sent[group.rank()] = 0;
    counts.received = counts.sent;
    sizes.push_back(std::move(counts));
  }
  return sizes;
}

// What each rank has for this one.
absl::StatusOr<std::vector<int64_t>> exchange_counts(const std::vector<int64_t>& sent, Communicator& group) {
  const std::vector<int64_t> ones(group.size(), 1);
  const at::Tensor received = at::empty({group.size()}, at::kLong);
  SY_RETURN_IF_ERROR(group.all_to_all(at::tensor(sent, at::kLong), ones, received, ones).wait());
  const auto* counts = received.const_data_ptr<int64_t>();
  return std::vector<int64_t>(counts, counts + group.size());
}

absl::StatusOr<std::vector<RowCounts>> routed_sizes(const RoutedRows& layer, int64_t seed, Communicator& group) {
  const Placement placement = Placement::contiguous(layer.experts, group.size());
  const at::Tensor experts_TK = draw_experts(layer.tokens, layer.experts, layer.experts_per_token, layer.skew,
                                             static_cast<uint64_t>(seed + group.rank()))
                                    .contiguous();
  const auto* experts = experts_TK.const_data_ptr<int64_t>();
  std::vector<RowCounts> sizes;
  for (const int64_t chunks : kChunks) {
    if (layer.tokens < chunks) continue;
    RowCounts counts{.rows = layer.tokens / chunks, .sent = std::vector<int64_t>(group.size()), .received = {}};
    counts.experts_TK = experts_TK.narrow(0, 0, counts.rows);
    for (int64_t slot = 0; slot < counts.rows * layer.experts_per_token; ++slot) {
      ++counts.sent[placement.owner[experts[slot]]];
    }
    counts.own = std::exchange(counts.sent[group.rank()], 0);
    SY_ASSIGN_OR_RETURN(counts.received, exchange_counts(counts.sent, group));
    sizes.push_back(std::move(counts));
  }
  return sizes;
}

absl::Status check(const AllToAllBenchOptions& options) {
  if (!options.routed || options.routed->experts_per_token <= options.routed->experts) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig, absl::StrCat("--experts-per-token ", options.routed->experts_per_token,
                                                       " is more than the ", options.routed->experts, " of --experts"));
}

}  // namespace

int64_t rows_on_host(const std::vector<int64_t>& rows, const Communicator& group) {
  int64_t sum = 0;
  for (int rank = 0; rank < group.size(); ++rank) {
    if (group.node_of(rank) == group.node_of(group.rank())) sum += rows[rank];
  }
  return sum;
}

absl::StatusOr<std::vector<RowCounts>> exchange_sizes(const AllToAllBenchOptions& options, int64_t row_bytes,
                                                      Communicator& group) {
  SY_RETURN_IF_ERROR(agree(group, check(options)));
  if (options.routed) return routed_sizes(*options.routed, options.seed, group);
  return even_sizes(row_bytes, group);
}

}  // namespace switchyard
