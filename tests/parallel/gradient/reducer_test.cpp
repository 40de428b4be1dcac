#include "parallel/gradient/reducer.h"

#include <cmath>
#include <map>
#include <mutex>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/gradient/clip.h"
#include "runtime/base/check.h"
#include "tests/support/part_of.h"
#include "tests/support/ranks.h"
#include "tests/support/sharded_model.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Fills every slice's gradient as if a backward had done it.
void run_backward(const ParameterList& parameters, const std::function<double(const Slice&)>& gradient) {
  for (Parameter* parameter : parameters) parameter->recorded();
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it) {
    for (const Slice& slice : (*it)->slices()) (*it)->gradient_of(slice).add_(gradient(slice));
    (*it)->accumulated();
  }
}

// Straight from the layout's definition: the ranks that differ from `rank` along `axes` alone.
std::vector<int> ranks_along(const AxisSet& axes, const MeshShape& shape, int rank) {
  const auto coordinates = [&](int r) {
    return std::map<Axis, int>{{Axis::kData, r / shape.tensor},
                               {Axis::kTensor, r % shape.tensor / shape.kv_replica},  // without its replica factor
                               {Axis::kKvReplica, r % shape.kv_replica},
                               {Axis::kExpertData, r / (shape.expert * shape.expert_tensor)},
                               {Axis::kExpert, r / shape.expert_tensor % shape.expert},
                               {Axis::kExpertTensor, r % shape.expert_tensor}};
  };
  const bool experts = !axes.empty() && axes.front() >= Axis::kExpertData;
  std::vector<int> ranks;
  for (int r = 0; r < shape.ranks(); ++r) {
    auto mine = coordinates(rank), other = coordinates(r);
    for (Axis axis : axes) {
      mine.erase(axis);
      other.erase(axis);
      if (axis == Axis::kTensor) {
        mine.erase(Axis::kKvReplica);
        other.erase(Axis::kKvReplica);
      }
    }
    for (const auto& [axis, index] : coordinates(rank)) {
      if ((axis >= Axis::kExpertData) != experts) {
        mine.erase(axis);
        other.erase(axis);
      }
    }
    if (mine == other) ranks.push_back(r);
  }
  return ranks;
}

class ReducerOnLayouts : public testing::TestWithParam<Layout> {};

std::string test_name(const testing::TestParamInfo<Layout>& layout) {
  std::string name = to_string(layout.param);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Layouts, ReducerOnLayouts, testing::ValuesIn(test_layouts()), test_name);

// Rank r contributes 2^r, or where gradients are equal by construction 2^(the first rank that has the same one), so
// the sum names the ranks that were added.
TEST_P(ReducerOnLayouts, SumsAreExact) {
  for (const int64_t bucket_bytes : {int64_t{1}, int64_t{40000}, int64_t{1} << 30}) {
    for (const auto dtype : {at::kBFloat16, at::kDouble}) {
      run_ranks(GetParam().ranks, [&](Communicator& world) {
        const auto mesh = make_mesh(world, GetParam());
        const ShardedModel model = make_sharded_model(*mesh, GetParam().kv_heads, dtype);
        GradientReducer reducer(model.list(), *mesh,
                                {.bucket_bytes = bucket_bytes, .check_replicas = true, .observer = {}});
        const auto contribution = [&](const ShardSpec& spec, int rank) {
          AxisSet equal;
          for (Axis axis : spec.replicated) {
            if (std::count(spec.partial.begin(), spec.partial.end(), axis) == 0) equal.push_back(axis);
          }
          const int first = equal.empty() ? rank : ranks_along(equal, mesh->shape(), rank).front();
          return std::ldexp(1.0, first);
        };
        for (int step = 0; step < 2; ++step) {
          reducer.begin_step();
          reducer.begin_last_part();
          run_backward(model.list(), [&](const Slice& slice) { return contribution(slice.spec, world.rank()); });
          ASSERT_TRUE(reducer.finish().ok());
          for (const Shard& shard : reducer.shards()) {
            double expected = 0;
            for (int r : ranks_along(shard.slice->spec.partial, mesh->shape(), world.rank())) {
              expected += contribution(shard.slice->spec, r);
              if (shard.slice->spec.partial.empty()) break;
            }
            ASSERT_EQ(shard.gradient.scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
            ASSERT_EQ(shard.gradient.numel(), shard.box.numel());
            ASSERT_TRUE(shard.gradient.eq(expected).all().item<bool>())
                << shard.slice->spec.name << " expected " << expected << " got " << shard.gradient[0].item<double>();
          }
        }
      });
    }
  }
}

TEST_P(ReducerOnLayouts, ShardsCoverEveryLogicalElementOnce) {
  std::mutex mutex;
  std::map<std::string, at::Tensor> counts;
  int64_t logical_elements = 0;
  run_ranks(GetParam().ranks, [&](Communicator& world) {
    const auto mesh = make_mesh(world, GetParam());
    const ShardedModel model = make_sharded_model(*mesh, GetParam().kv_heads, at::kFloat);
    GradientReducer reducer(model.list(), *mesh);
    const std::lock_guard lock(mutex);
    logical_elements = model.logical_elements;
    for (const Shard& shard : reducer.shards()) {
      const ShardSpec& spec = shard.slice->spec;
      const auto [entry, fresh] = counts.try_emplace(spec.name);
      if (fresh) entry->second = at::zeros(spec.shape);
      part_of(entry->second, shard.box).add_(1);
    }
  });
  int64_t elements = 0;
  for (const auto& [name, count] : counts) {
    EXPECT_TRUE(count.eq(1).all().item<bool>()) << name;
    elements += count.numel();
  }
  EXPECT_EQ(elements, logical_elements);
}

// One rank of each sum contributes 1: all summed gradients are 1.
TEST_P(ReducerOnLayouts, NormOfOnesIsTheRootOfTheElements) {
  run_ranks(GetParam().ranks, [&](Communicator& world) {
    const auto mesh = make_mesh(world, GetParam());
    const ShardedModel model = make_sharded_model(*mesh, GetParam().kv_heads, at::kBFloat16);
    GradientReducer reducer(model.list(), *mesh);
    reducer.begin_step();
    reducer.begin_last_part();
    run_backward(model.list(), [&](const Slice& slice) { return mesh->group_index(slice.spec.partial) == 0 ? 1 : 0; });
    ASSERT_TRUE(reducer.finish().ok());
    const auto norm = gradient_norm(reducer.shards(), mesh->world());
    ASSERT_TRUE(norm.ok());
    EXPECT_DOUBLE_EQ(*norm, std::sqrt(static_cast<double>(model.logical_elements)));

    // One element that is not finite, on one rank, is seen by all.
    if (world.rank() == world.size() - 1) reducer.shards().front().gradient[0] = std::nan("");
    const auto broken = gradient_norm(reducer.shards(), mesh->world());
    ASSERT_TRUE(broken.ok());
    EXPECT_FALSE(std::isfinite(*broken));
  });
}

TEST(Reducer, GradientsAreAlignedAndInBackwardsOrder) {
  run_ranks(1, [](Communicator& world) {
    const Layout layout = test_layouts().front();
    const auto mesh = make_mesh(world, layout);
    const ShardedModel model = make_sharded_model(*mesh, layout.kv_heads, at::kFloat);
    GradientReducer reducer(model.list(), *mesh);
    const char* previous = nullptr;
    for (const auto& parameter : model.parameters) {
      const auto* data = static_cast<const char*>(parameter->gradient().const_data_ptr());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
      if (previous) {
        EXPECT_LT(data, previous);
      }
      previous = data;
    }
    // Alone, nothing is copied: a shard is its gradient.
    const Shard& shard = reducer.shards().front();
    EXPECT_EQ(shard.gradient.const_data_ptr(), shard.parameter->gradient_of(*shard.slice).const_data_ptr());
  });
}

struct Log {
  std::vector<size_t> launched, completed;
  ReductionObserver observer() {
    return [this](ReductionEvent event, size_t bucket, int64_t bytes) {
      EXPECT_EQ(bytes, 512);
      (event == ReductionEvent::kLaunched ? launched : completed).push_back(bucket);
    };
  }
};

// Four parameters of one bucket each, over two ranks.
struct Fixture {
  std::unique_ptr<Mesh> mesh;
  std::vector<std::unique_ptr<Parameter>> owned;
  ParameterList parameters;
  Log log;
  std::unique_ptr<GradientReducer> reducer;

  explicit Fixture(Communicator& world, ReductionObserver observer = nullptr)
      : mesh(make_mesh(world, test_layouts()[1])) {
    for (const char* name : {"a", "b", "c", "d"}) {
      Slice slice;
      slice.spec = {name, {64, 2}, Box::whole({64, 2}), {Axis::kData}, {Axis::kData}};
      owned.push_back(std::make_unique<Parameter>(std::vector<int64_t>{64, 2}, at::kFloat, std::vector{slice}));
      parameters.push_back(owned.back().get());
    }
    reducer = std::make_unique<GradientReducer>(
        parameters, *mesh,
        ReducerOptions{.bucket_bytes = 512, .check_replicas = false, .observer = observer ? observer : log.observer()});
    reducer->begin_step();
  }
  void backward(int parameter) {
    parameters[parameter]->recorded();
    parameters[parameter]->gradient().add_(1);
    parameters[parameter]->accumulated();
  }
  void expect_sums(std::vector<double> sums) {
    for (const Shard& shard : reducer->shards()) {
      const double expected = sums.at(shard.slice->spec.name[0] - 'a');
      EXPECT_TRUE(shard.gradient.eq(expected).all().item<bool>()) << shard.slice->spec.name;
    }
  }
};

TEST(Reducer, BucketsGoOutDuringBackwardInTheirOrder) {
  run_ranks(2, [](Communicator& world) {
    Fixture f(world);
    f.reducer->begin_last_part();
    f.backward(3);
    EXPECT_THAT(f.log.launched, ElementsAre(0));
    f.backward(1);  // waits for its predecessor
    EXPECT_THAT(f.log.launched, ElementsAre(0));
    f.backward(2);
    EXPECT_THAT(f.log.launched, ElementsAre(0, 1, 2));
    f.backward(0);
    EXPECT_THAT(f.log.launched, ElementsAre(0, 1, 2, 3));
    ASSERT_TRUE(f.reducer->finish().ok());
    EXPECT_THAT(f.log.completed, testing::UnorderedElementsAre(0, 1, 2, 3));
    f.expect_sums({2, 2, 2, 2});
  });
}

TEST(Reducer, SpansBeginDuringBackward) {
  run_ranks(2, [](Communicator& world) {
    Recorder recorder;
    recorder.record_spans(true);
    Fixture f(world, record_reductions(recorder));
    f.reducer->begin_last_part();
    f.backward(3);
    const int64_t during_backward = Recorder::now();
    f.backward(2);
    f.backward(1);
    ASSERT_TRUE(f.reducer->finish().ok());
    const std::vector<Span> spans = recorder.take_spans();
    ASSERT_EQ(spans.size(), 4u);
    int64_t first = spans[0].begin_ns;
    for (const Span& span : spans) {
      EXPECT_EQ(span.name, "reduce gradients");
      EXPECT_LE(span.begin_ns, span.end_ns);
      first = std::min(first, span.begin_ns);
    }
    EXPECT_LE(first, during_backward);
  });
}

// The ranks use different parameters and finish them in different orders.
TEST(Reducer, UnusedParametersAreReducedAtTheEnd) {
  run_ranks(2, [](Communicator& world) {
    Fixture f(world);
    f.reducer->begin_last_part();
    if (world.rank() == 0) {
      f.backward(0);
      f.backward(3);
    } else {
      f.backward(2);
      f.backward(3);
    }
    EXPECT_EQ(f.log.launched, world.rank() == 0 ? std::vector<size_t>{0} : std::vector<size_t>({0, 1}));
    ASSERT_TRUE(f.reducer->finish().ok());
    EXPECT_THAT(f.log.launched, ElementsAre(0, 1, 2, 3));
    f.expect_sums({1, 0, 1, 2});
  });
}

TEST(Reducer, OnlyTheLastPartIsReduced) {
  run_ranks(2, [](Communicator& world) {
    Fixture f(world);
    for (int step = 0; step < 2; ++step) {
      f.log.launched.clear();
      f.reducer->begin_step();
      for (int p : {3, 2, 1, 0}) f.backward(p);
      for (int p : {3, 2, 1}) f.backward(p);
      EXPECT_THAT(f.log.launched, IsEmpty());
      f.reducer->begin_last_part();
      for (int p : {3, 2, 1, 0}) f.backward(p);
      EXPECT_THAT(f.log.launched, ElementsAre(0, 1, 2, 3));
      ASSERT_TRUE(f.reducer->finish().ok());
      f.expect_sums({4, 6, 6, 6});
    }
  });
}

TEST(Reducer, AGradientAfterItsReductionIsABug) {
  run_ranks(2, [](Communicator& world) {
    Fixture f(world);
    f.reducer->begin_last_part();
    f.backward(3);
    EXPECT_THROW(f.backward(3), CheckError);
    ASSERT_TRUE(f.reducer->finish().ok());
  });
}

TEST(Reducer, ReplicasThatDifferAreABug) {
  run_ranks(2, [](Communicator& world) {
    const Layout layout = test_layouts()[3];  // tensor 2
    const auto mesh = make_mesh(world, layout);
    const ShardedModel model = make_sharded_model(*mesh, layout.kv_heads, at::kFloat);
    GradientReducer reducer(model.list(), *mesh, {.bucket_bytes = 1 << 20, .check_replicas = true, .observer = {}});
    reducer.begin_step();
    reducer.begin_last_part();
    run_backward(model.list(), [&](const Slice&) { return 1 + world.rank(); });
    try {
      (void)reducer.finish();
      FAIL() << "not noticed";
    } catch (const CheckError& e) {
      EXPECT_THAT(e.what(), HasSubstr("same_"));
    }
  });
}

TEST(Clip, Factor) {
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_EQ(clip_factor(4, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(clip_factor(4, 0), 1);
}

}  // namespace
}  // namespace switchyard
