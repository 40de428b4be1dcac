// The whole decoder on many layouts against one rank: losses, norms, every gradient, every parameter after five steps.

#include <atomic>

#include <gtest/gtest.h>

#include "parallel/dispatch/dispatcher_decorator.h"
#include "tests/layers/models/decoder/equal_runs.h"

namespace switchyard {
namespace {

const DecoderRun& reference_run() {
  static const DecoderRun run = run_decoder(small_decoder_case(), mesh_shape(1));
  return run;
}

DecoderCase fp32_case() {
  DecoderCase what = small_decoder_case();
  what.dtype = at::kFloat;
  return what;
}

class Layouts : public testing::TestWithParam<MeshShape> {};

TEST_P(Layouts, EqualOneRankInFp64) {
  expect_equal_runs(run_decoder(small_decoder_case(), GetParam()), reference_run(), 1e-9, difference);
}

TEST_P(Layouts, EqualOneRankInFp32RelativeToNorms) {
  static const DecoderRun reference = run_decoder(fp32_case(), mesh_shape(1));
  expect_equal_runs(run_decoder(fp32_case(), GetParam()), reference, 1e-5, relative_to_norm);
}

// mesh_shape(ranks, tensor, expert, expert_tensor). The case has 3 kv heads, 5 experts, 61 tokens of vocabulary and 3
// sequences a part, so that most layouts are uneven; four data ranks leave one without tokens.
INSTANTIATE_TEST_SUITE_P(Grid, Layouts,
                         testing::Values(mesh_shape(2), mesh_shape(2, 1, 2), mesh_shape(2, 1, 1, 2), mesh_shape(3),
                                         mesh_shape(3, 3), mesh_shape(3, 1, 3), mesh_shape(3, 3, 3),
                                         mesh_shape(3, 1, 1, 3), mesh_shape(4), mesh_shape(4, 1, 2),
                                         mesh_shape(4, 1, 4), mesh_shape(4, 1, 2, 2), mesh_shape(6, 3),
                                         mesh_shape(6, 6), mesh_shape(6, 3, 2), mesh_shape(6, 6, 6),
                                         mesh_shape(6, 3, 3, 2), mesh_shape(6, 6, 2, 3), mesh_shape(6, 1, 3, 1),
                                         mesh_shape(6, 6, 1, 2)),
                         [](const auto& layout) {
                           const MeshShape& s = layout.param;
                           return "ranks" + std::to_string(s.ranks()) + "_tensor" + std::to_string(s.tensor) +
                                  "_expert" + std::to_string(s.expert) + "_expert_tensor" +
                                  std::to_string(s.expert_tensor);
                         });

TEST(Layouts, TiedEmbeddingsEqualOneRank) {
  DecoderCase what = small_decoder_case();
  what.model.tie_embeddings = true;
  const DecoderRun reference = run_decoder(what, mesh_shape(1));
  EXPECT_EQ(reference.parameters.count("head"), 0u);
  expect_equal_runs(run_decoder(what, mesh_shape(6, 3, 2)), reference, 1e-9, difference);
}

TEST(Layouts, RecomputedLayersEqualOneRank) {
  DecoderCase what = small_decoder_case();
  what.recompute = Recompute::kLayers;
  expect_equal_runs(run_decoder(what, mesh_shape(6, 3, 2)), reference_run(), 1e-9, difference);
}

// The same products on the same numbers: not a bit differs, whole or in chunks, with matrices in common or without.
TEST(Layouts, RecomputedActivationsAreTheSame) {
  for (const bool common : {false, true}) {
    for (const int chunks : {1, 3}) {
      DecoderCase what = small_decoder_case();
      if (common) what.model.moe.share = "down";
      MeshShape shape = mesh_shape(6, 3, 3, 2);
      shape.dispatch_chunks = chunks;
      const DecoderRun reference = run_decoder(what, shape);
      what.recompute = Recompute::kActivations;
      expect_equal_runs(run_decoder(what, shape), reference, 0, difference);
    }
  }
}

TEST(Layouts, GeluExpertsWithoutRenormalisationEqualOneRank) {
  DecoderCase what = small_decoder_case();
  what.model.moe.activation = "gelu";
  what.model.feed_forward.activation = "relu";
  what.model.moe.router.renormalise = false;
  expect_equal_runs(run_decoder(what, mesh_shape(6, 3, 3, 2)), run_decoder(what, mesh_shape(1)), 1e-9, difference);
}

// Counts what a layer asks of its dispatcher.
class CountingDispatcher : public DispatcherDecorator {
 public:
  CountingDispatcher(std::unique_ptr<Dispatcher> dispatcher, std::atomic<int>& dispatches)
      : DispatcherDecorator(std::move(dispatcher)), dispatches_(dispatches) {}
  Dispatched begin_dispatch(const at::Tensor& x_TD, const std::shared_ptr<const DispatchPlan>& plan) override {
    ++dispatches_;
    return DispatcherDecorator::begin_dispatch(x_TD, plan);
  }

 private:
  std::atomic<int>& dispatches_;
};

struct Dispatching {
  DispatcherKind kind;
  MeshShape shape;
  std::vector<int> nodes;
  int chunks = 1;
};

class Dispatchers : public testing::TestWithParam<Dispatching> {};

TEST_P(Dispatchers, EqualOneRankInFp64) {
  const Dispatching& how = GetParam();
  MeshShape shape = how.shape;
  shape.dispatcher = how.kind;
  shape.dispatch_chunks = how.chunks;
  DecoderCase what = small_decoder_case();
  what.nodes = how.nodes;
  what.model.moe.experts_per_token = 4;
  std::atomic<int> dispatches = 0;
  what.decorators.dispatcher = [&](std::unique_ptr<Dispatcher> dispatcher) {
    return std::make_unique<CountingDispatcher>(std::move(dispatcher), dispatches);
  };
  static const DecoderRun reference = [what]() mutable {
    what.nodes.clear();
    what.decorators = {};
    return run_decoder(what, mesh_shape(1));
  }();
  expect_equal_runs(run_decoder(what, shape), reference, 1e-9, difference);
  const auto mixtures = what.model.layers - what.model.moe.first_dense;
  EXPECT_EQ(dispatches, how.chunks * mixtures * what.parts * static_cast<int64_t>(what.steps.size()) * shape.ranks());
}

// As many chunks as auto may choose, over two hosts.
TEST(Chunks, OfEveryDispatcherEqualOneRankInFp64) {
  DecoderCase what = small_decoder_case();
  const DecoderRun reference = reference_run();
  what.nodes = {0, 0, 1, 1};
  for (const DispatcherKind kind :
       {DispatcherKind::kAllToAll, DispatcherKind::kDeduplicated, DispatcherKind::kHierarchical}) {
    for (const int chunks : {2, 4, 8, 16}) {
      MeshShape shape = mesh_shape(4, 1, 4);
      shape.dispatcher = kind;
      shape.dispatch_chunks = chunks;
      SCOPED_TRACE(describe_dispatch(kind, chunks));
      expect_equal_runs(run_decoder(what, shape), reference, 1e-9, difference);
    }
  }
}

TEST(Chunks, RecomputedChunksEqualOneRankInFp64) {
  DecoderCase what = small_decoder_case();
  what.recompute = Recompute::kLayers;
  MeshShape shape = mesh_shape(6, 3, 3, 2);
  shape.dispatch_chunks = 3;
  expect_equal_runs(run_decoder(what, shape), reference_run(), 1e-9, difference);
}

// In one chunk and in more than some ranks have tokens. Several hosts of equal and of unequal size, experts that ranks
// share, ranks without tokens, sequence parallelism.
INSTANTIATE_TEST_SUITE_P(
    Grid, Dispatchers,
    testing::Values(Dispatching{DispatcherKind::kAllToAll, mesh_shape(1), {}, 3},
                    Dispatching{DispatcherKind::kAllToAll, mesh_shape(2, 1, 2), {}, 2},
                    Dispatching{DispatcherKind::kAllToAll, mesh_shape(6, 3, 3, 2), {}, 9},
                    Dispatching{DispatcherKind::kHierarchical, mesh_shape(4, 1, 4), {0, 0, 1, 1}, 4},
                    Dispatching{DispatcherKind::kDeduplicated, mesh_shape(2, 1, 2), {}},
                    Dispatching{DispatcherKind::kDeduplicated, mesh_shape(4, 1, 4), {0, 0, 1, 1}},
                    Dispatching{DispatcherKind::kDeduplicated, mesh_shape(6, 3, 3, 2), {}},
                    Dispatching{DispatcherKind::kHierarchical, mesh_shape(4, 1, 4), {0, 0, 1, 1}},
                    Dispatching{DispatcherKind::kHierarchical, mesh_shape(3, 1, 3), {0, 0, 1}},
                    Dispatching{DispatcherKind::kHierarchical, mesh_shape(6, 3, 3, 2), {0, 0, 0, 0, 1, 1}},
                    Dispatching{DispatcherKind::kHierarchical, mesh_shape(6, 6, 6), {0, 1, 2, 0, 1, 2}}),
    [](const auto& tested) {
      return dispatcher_name(tested.param.kind) + std::string("_") + std::to_string(tested.index);
    });

}  // namespace
}  // namespace switchyard
