// What a trace says about each expert of a layer. Plain arithmetic on rank 0.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launch/explain/routing_trace.h"

namespace switchyard {

struct TopToken {
  int64_t id = 0;
  int64_t taken = 0;  // its occurrences that went to the expert
  int64_t seen = 0;   // all of them
};

struct LayerSummary {
  std::vector<double> load;      // [E] share of all slots; 0 where there are none
  std::vector<int64_t> dropped;  // [E] slots that a capacity took from the expert; the rest is without them
  double load_cv = 0;            // standard deviation of the load over its mean
  // [E][E] of the tokens of the expert in a row, the share that also went to the one in a column.
  std::vector<std::vector<double>> coactivation;
  // [E] the tokens that go to the expert most beyond its share of all tokens, by taken · log(taken / expected), at most
  // kTopTokens each; those it took once are left out.
  std::vector<std::vector<TopToken>> top_tokens;
};

inline constexpr size_t kTopTokens = 12;

// `ids`: [T] of the trace's tokens.
LayerSummary summarise(const LayerTrace& trace, std::span<const int64_t> ids);

}  // namespace switchyard
