#include "launch/explain/expert_summary.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

double variation(const std::vector<double>& shares) {
  double mean = 0, square = 0;
  for (const double share : shares) mean += share / static_cast<double>(shares.size());
  for (const double share : shares) square += (share - mean) * (share - mean) / static_cast<double>(shares.size());
  return mean > 0 ? std::sqrt(square) / mean : 0;
}

std::vector<TopToken> most_typical(const std::map<int64_t, int64_t>& taken, const std::map<int64_t, int64_t>& seen,
                                   double share) {
  std::vector<std::pair<double, TopToken>> ranked;
  for (const auto& [id, times] : taken) {
    const int64_t all = seen.at(id);
    const double lift = static_cast<double>(times) / (share * static_cast<double>(all));
    if (times > 1 && lift > 1) ranked.push_back({static_cast<double>(times) * std::log(lift), {id, times, all}});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<TopToken> top;
  for (size_t i = 0; i < std::min(kTopTokens, ranked.size()); ++i) top.push_back(ranked[i].second);
  return top;
}

}  // namespace

LayerSummary summarise(const LayerTrace& trace, std::span<const int64_t> ids) {
  const auto experts = static_cast<size_t>(trace.experts);
  SY_CHECK_EQ(trace.offsets.size(), ids.size() + 1);
  LayerSummary summary;
  summary.dropped.resize(experts);
  int64_t slots = 0;
  std::map<int64_t, int64_t> seen;
  std::vector<std::map<int64_t, int64_t>> taken(experts);
  std::vector<std::vector<int64_t>> together(experts, std::vector<int64_t>(experts));
  for (size_t t = 0; t < ids.size(); ++t) {
    ++seen[ids[t]];
    for (int64_t i = trace.offsets[t]; i < trace.offsets[t + 1]; ++i) {
      if (!trace.kept[i]) {
        ++summary.dropped[trace.chosen[i]];
        continue;
      }
      ++slots;
      ++taken[trace.chosen[i]][ids[t]];
      for (int64_t j = trace.offsets[t]; j < trace.offsets[t + 1]; ++j) {
        if (trace.kept[j]) ++together[trace.chosen[i]][trace.chosen[j]];
      }
    }
  }

  for (size_t e = 0; e < experts; ++e) {
    const double tokens = static_cast<double>(together[e][e]);
    summary.load.push_back(tokens / static_cast<double>(std::max<int64_t>(1, slots)));
    summary.coactivation.emplace_back();
    for (size_t other = 0; other < experts; ++other) {
      summary.coactivation[e].push_back(tokens > 0 ? static_cast<double>(together[e][other]) / tokens : 0);
    }
    summary.top_tokens.push_back(most_typical(taken[e], seen, tokens / static_cast<double>(ids.size())));
  }
  summary.load_cv = variation(summary.load);
  return summary;
}

}  // namespace switchyard
