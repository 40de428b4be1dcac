#include "parallel/dispatch/chunk_pipeline.h"

#include <algorithm>

namespace switchyard {

double pipeline_time(const ChunkTimes& times, int chunks) {
  const double wire = times.wire(1.0 / chunks), compute = times.compute(1.0 / chunks);
  double wire_free = chunks * wire;  // when the wire, and when the experts, have done what they were asked for
  double experts_free = 0;
  for (int i = 0; i < chunks; ++i) {
    experts_free = std::max(experts_free, (i + 1) * wire) + compute;
    wire_free = std::max(wire_free, experts_free) + wire;
  }
  return wire_free;
}

int best_chunks(const ChunkTimes& times) {
  int best = 1;
  for (const int chunks : {2, 4, 8, 16}) {
    if (pipeline_time(times, chunks) < pipeline_time(times, best)) best = chunks;
  }
  return best;
}

int ChunkModel::chunks(int64_t part_tokens) const {
  const double rows = static_cast<double>(part_tokens) / static_cast<double>(tokens);
  return best_chunks({.wire = [&](double share) { return wire.time(share * rows); },
                      .compute = [&](double share) { return compute.time(share * rows); }});
}

}  // namespace switchyard
