#include "launch/train/expert_use.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace switchyard {

ExpertUseCounter::ExpertUseCounter(const Decoder& model, const Mesh& mesh, std::vector<std::string> tags)
    : model_(model), mesh_(mesh) {
  if (tags.empty()) return;
  tags.resize(std::min<size_t>(tags.size(), kNamedSources));
  names_ = std::move(tags);
  names_.insert(names_.end(), {"(others)", "(none)"});
}

void ExpertUseCounter::add(const TokenBatch& batch) {
  at::Tensor sources_t;  // of this rank's cut of the batch
  if (!names_.empty()) {
    const auto none = static_cast<int64_t>(names_.size()) - 1;
    const auto [begin, end] = cut(batch.tokens.numel(), mesh_.size(Axis::kTensor), mesh_.index(Axis::kTensor));
    const at::Tensor tags_t =
        batch.tags.defined() ? batch.tags.narrow(0, begin, end - begin) : at::full({end - begin}, -1, at::kLong);
    sources_t = at::where(tags_t.lt(0), none, tags_t.clamp_max(none - 1)).cpu().contiguous();
  }
  for (const auto& [index, moe] : model_.moe_layers()) {
    const auto experts = static_cast<int64_t>(moe->statistics().tokens_per_expert.size());
    Counts& counts = layers_[index];
    if (!counts.together_EE.defined()) {
      counts.together_EE = at::zeros({experts, experts}, at::kLong);
      counts.of_source_NE = at::zeros({static_cast<int64_t>(names_.size()), experts}, at::kLong);
    }
    count(moe->choice(), sources_t, counts);
  }
}

void ExpertUseCounter::count(const Choice& choice, const at::Tensor& sources_t, Counts& counts) {
  const int64_t experts = counts.together_EE.size(0), tokens = choice.offsets.numel() - 1;
  const at::Tensor offsets = choice.offsets.cpu().contiguous(), chosen = choice.experts.cpu().contiguous();
  const int64_t *first = offsets.const_data_ptr<int64_t>(), *expert = chosen.const_data_ptr<int64_t>();
  const int64_t* source = sources_t.defined() ? sources_t.const_data_ptr<int64_t>() : nullptr;
  auto *together = counts.together_EE.mutable_data_ptr<int64_t>(),
       *of_source = counts.of_source_NE.mutable_data_ptr<int64_t>();
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = first[t]; i < first[t + 1]; ++i) {
      for (int64_t j = first[t]; j < first[t + 1]; ++j) ++together[expert[i] * experts + expert[j]];
      if (source != nullptr) ++of_source[source[t] * experts + expert[i]];
    }
  }
}

absl::StatusOr<std::map<int64_t, ExpertUse>> ExpertUseCounter::take() const {
  std::vector<at::Tensor> flat;
  for (const auto& [index, counts] : layers_) {
    flat.push_back(counts.together_EE.view(-1));
    flat.push_back(counts.of_source_NE.view(-1));
  }
  std::map<int64_t, ExpertUse> uses;
  if (flat.empty()) return uses;
  const at::Tensor sums = at::cat(flat);
  SY_RETURN_IF_ERROR(mesh_.world().all_reduce(sums, ReduceOp::kSum).wait());
  int64_t offset = 0;
  const auto next = [&](const at::Tensor& like) {
    const at::Tensor sum = sums.narrow(0, offset, like.numel()).view(like.sizes());
    offset += like.numel();
    return sum;
  };
  for (const auto& [index, counts] : layers_) {
    const at::Tensor together_EE = next(counts.together_EE);
    uses[index] = summarise(together_EE, next(counts.of_source_NE));
  }
  return uses;
}

ExpertUse ExpertUseCounter::summarise(const at::Tensor& together_EE, const at::Tensor& of_source_NE) const {
  ExpertUse use;
  const int64_t experts = together_EE.size(0);
  const auto together = together_EE.accessor<int64_t, 2>();
  for (int64_t i = 0; i < experts; ++i) {
    for (int64_t j = i + 1; j < experts; ++j) {
      const int64_t both = together[i][j], either = together[i][i] + together[j][j] - both;
      if (both == 0) continue;
      use.pairs.push_back({i, j, static_cast<double>(both) / static_cast<double>(either)});
      use.coactivation += 2 * use.pairs.back().together / static_cast<double>(experts * (experts - 1));
    }
  }
  std::stable_sort(use.pairs.begin(), use.pairs.end(),
                   [](const ExpertPair& a, const ExpertPair& b) { return a.together > b.together; });
  use.pairs.resize(std::min(use.pairs.size(), kStrongestPairs));

  const auto of_source = of_source_NE.accessor<int64_t, 2>();
  for (int64_t n = 0; n < of_source_NE.size(0); ++n) {
    std::vector<double> shares_E;
    bool occurred = false;
    for (int64_t e = 0; e < experts; ++e) {
      const double tokens = static_cast<double>(std::max<int64_t>(1, together[e][e]));
      shares_E.push_back(static_cast<double>(of_source[n][e]) / tokens);
      occurred = occurred || of_source[n][e] > 0;
    }
    if (occurred) use.sources.emplace_back(names_[n], std::move(shares_E));
  }
  return use;
}

}  // namespace switchyard
