// How long a mixture layer takes when its tokens travel in chunks, some on the wire while experts compute another: the
// schedule of MoeLayer::forward, played with given times (as Tutel and FasterMoE choose their degree of pipelining).
#pragma once

#include <cstdint>
#include <functional>

#include "parallel/dispatch/alpha_beta.h"

namespace switchyard {

// Times of a share of the layer's rows, from 0 to 1.
struct ChunkTimes {
  std::function<double(double share)> wire;     // one way, to the experts or back
  std::function<double(double share)> compute;  // by the experts
};

// Of all chunks, there and back: the wire carries one transfer at a time, in the order in which they are asked for,
// which is all that go there first.
double pipeline_time(const ChunkTimes& times, int chunks);

// 1, 2, 4, 8 or 16, whichever is fastest; the smaller where two are equal.
int best_chunks(const ChunkTimes& times);

// The times as fitted where a run runs; 1 stands for the rows of `tokens` tokens of the population.
struct ChunkModel {
  AlphaBeta wire, compute;
  int64_t tokens = 1;

  // best_chunks of a part of so many tokens.
  int chunks(int64_t part_tokens) const;
};

}  // namespace switchyard
