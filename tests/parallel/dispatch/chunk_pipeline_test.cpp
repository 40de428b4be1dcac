// The schedule of chunks, by hand.
#include "parallel/dispatch/chunk_pipeline.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

ChunkTimes times(double alpha, double wire, double compute) {
  return {.wire = [=](double part) { return alpha + wire * part; },
          .compute = [=](double part) { return compute * part; }};
}

TEST(ChunkPipeline, OneChunkGoesThereIsComputedAndComesBack) {
  EXPECT_DOUBLE_EQ(pipeline_time(times(1, 10, 20), 1), 1 + 10 + 20 + 1 + 10);
}

// Two chunks, wire 5 and compute 10 each: there 0–5 and 5–10, computed 5–15 and 15–25, back 15–20 and 25–30.
TEST(ChunkPipeline, TheWireIsHiddenBehindTheExperts) {
  EXPECT_DOUBLE_EQ(pipeline_time(times(0, 10, 20), 2), 30);
}

// Wire 10 and compute 5 each: there 0–10 and 10–20, computed 10–15 and 20–25, back 20–30 and 30–40.
TEST(ChunkPipeline, TheExpertsAreHiddenBehindTheWire) {
  EXPECT_DOUBLE_EQ(pipeline_time(times(0, 20, 10), 2), 40);
}

// Four chunks, wire 5 and compute 6 each: there 0–20, computed 5–11, 11–17, 17–23 and 23–29, back 20–25, 25–30, 30–35
// and 35–40. What comes back first waits for what goes there last.
TEST(ChunkPipeline, AllGoThereBeforeAnyComesBack) {
  EXPECT_DOUBLE_EQ(pipeline_time(times(0, 20, 24), 4), 40);
}

TEST(ChunkPipeline, MoreChunksPayAsLongAsLatencyIsSmall) {
  EXPECT_EQ(best_chunks(times(0, 10, 20)), 16);
  EXPECT_EQ(best_chunks(times(20, 10, 20)), 1);
  EXPECT_EQ(best_chunks(times(0, 0, 20)), 1);  // nothing to hide
}

// Latency is what it was, and the rest less.
TEST(ChunkPipeline, AModelTakesFewerChunksForFewerTokens) {
  const ChunkModel model{.wire = {.alpha = 0.5, .beta = 30}, .compute = {.alpha = 0, .beta = 30}, .tokens = 1024};
  EXPECT_EQ(model.chunks(1024), best_chunks(times(0.5, 30, 30)));
  EXPECT_EQ(model.chunks(1024), 2);
  EXPECT_EQ(model.chunks(16), 1);
}

}  // namespace
}  // namespace switchyard
