#include "parallel/dispatch/chunk_pipeline.h"

#include <algorithm>

namespace switchyard {

double pipeline_time(const ChunkTimes& times, int chunks) {
  const double wire = times.wire(1.0 / chunks), compute = times.compute(1.0 / chunks);
  double wire_free = wire;  // when the wire, and when the experts, have done what they were asked for
  double experts_free = 0;
  double arrived = wire_free;  // the chunk that is computed next
  for (int i = 0; i < chunks; ++i) {
    const double this_arrived = arrived;
    if (i + 1 < chunks) {
      wire_free = std::max(wire_free, experts_free) + wire;  // asked for when the experts have done with the one before
      arrived = wire_free;
    }
    experts_free = std::max(experts_free, this_arrived) + compute;
    wire_free = std::max(wire_free, experts_free) + wire;  // back
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

}  // namespace switchyard
