// What the decoder keeps of its logits, and what comes of making them again, with more rows than a block of them has.
#include <gtest/gtest.h>

#include "layers/ops/cross_entropy.h"
#include "parallel/parameter/initialise.h"
#include "tests/layers/models/decoder/equal_runs.h"
#include "tests/support/allocations.h"

namespace switchyard {
namespace {

// Two parts of more than a block's rows, in one step.
DecoderCase long_case() {
  constexpr int64_t kSequence = 60;
  DecoderCase what = small_decoder_case();
  what.model.layers = 1;
  what.model.moe.experts = 0;
  what.lr = {1e-3};
  what.steps = {random_step(2 * (kLossBlockRows / kSequence + 1), kSequence, what.vocabulary, 20, 3)};
  return what;
}

TEST(Logits, MadeAgainGiveTheSameAsThoseOfOneRankThatAreKept) {
  for (const bool tied : {false, true}) {
    DecoderCase what = long_case();
    what.model.tie_embeddings = tied;
    const DecoderRun kept = run_decoder(what, mesh_shape(1));
    for (const Recompute recompute : {Recompute::kActivations, Recompute::kLayers}) {
      what.recompute = recompute;
      for (const MeshShape& shape : {mesh_shape(1), mesh_shape(3, 3)}) {
        expect_equal_runs(run_decoder(what, shape), kept, 1e-9, difference);
      }
    }
  }
}

TEST(Logits, OfOneBlockAloneAreThereUnlessTheyAreKept) {
  const DecoderCase what = long_case();
  constexpr int64_t kVocabulary = 997;  // more than anything else has of a row
  const auto largest = [&](Recompute recompute) {
    int64_t bytes = 0;
    run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
      const auto model = assemble(what.model, kVocabulary, at::kDouble, recompute, what.seed, mesh);
      initialise_values(model->parameters(), what.seed);
      attach_plain_gradients(model->parameters());
      const TokenBatch batch = cut_batch(what.steps[0], 0, what.parts, 1, 0);
      const Allocations allocations;
      model->forward(batch).loss.backward();
      bytes = allocations.largest();
    });
    return bytes / static_cast<int64_t>(kVocabulary * sizeof(double));
  };
  EXPECT_EQ(largest(Recompute::kNone), what.steps[0].tokens.numel() / what.parts);
  EXPECT_EQ(largest(Recompute::kActivations), kLossBlockRows);
  EXPECT_EQ(largest(Recompute::kLayers), kLossBlockRows);
}

}  // namespace
}  // namespace switchyard
