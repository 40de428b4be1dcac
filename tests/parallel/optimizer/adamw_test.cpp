#include "parallel/optimizer/adamw.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "parallel/gradient/reducer.h"
#include "parallel/parameter/initialise.h"
#include "runtime/device/memory.h"
#include "runtime/numerics/precision.h"
#include "runtime/numerics/random.h"
#include "tests/support/part_of.h"
#include "tests/support/ranks.h"
#include "tests/support/sharded_model.h"

namespace switchyard {
namespace {

OptimizerConfig config_of(std::vector<double> betas = {0.9, 0.95}) {
  OptimizerConfig config;
  config.betas = std::move(betas);
  return config;
}

at::Tensor tensor_of(const nlohmann::json& values, at::IntArrayRef shape, at::ScalarType dtype) {
  return at::tensor(at::ArrayRef<double>(values.get<std::vector<double>>()), at::kDouble).view(shape).to(dtype);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

TEST(AdamW, FiveStepsMatchPyTorch) {
  const auto golden = nlohmann::json::parse(std::ifstream(SWITCHYARD_GOLDEN "/adamw.json"));
  const auto shape = golden["shape"].get<std::vector<int64_t>>();
  OptimizerConfig config = config_of(golden["betas"]);
  config.epsilon = golden["epsilon"];
  config.weight_decay = golden["weight_decay"];
  // A few roundings of values up to 3.
  for (const auto& [dtype, key, tolerance] :
       {std::tuple(at::kFloat, "fp32", 5e-7), std::tuple(at::kDouble, "fp64", 1e-15)}) {
    run_ranks(1, [&, dtype = dtype, key = key, tolerance = tolerance](Communicator& world) {
      const auto& expected = golden[key];
      const auto mesh = make_mesh(world, test_layouts().front());
      std::vector<std::unique_ptr<Parameter>> parameters;
      ParameterList list;
      for (const bool decay : {true, false}) {
        Slice slice;
        slice.spec = {decay ? "decayed" : "kept", shape, Box::whole(shape), {Axis::kData}, {Axis::kData}};
        slice.weight_decay = decay;
        parameters.push_back(std::make_unique<Parameter>(shape, dtype, std::vector{slice}));
        list.push_back(parameters.back().get());
      }
      GradientReducer reducer(list, *mesh);
      ShardedAdamW optimizer(reducer, *mesh, config);
      optimizer.initialise_all(1);  // for the moments
      for (size_t p = 0; p < 2; ++p) list[p]->value().detach().copy_(tensor_of(expected["initial"][p], shape, dtype));
      for (size_t step = 0; step < golden["rates"].size(); ++step) {
        for (size_t p = 0; p < 2; ++p) {
          list[p]->gradient().copy_(tensor_of(expected["gradients"][step][p], shape, dtype));
        }
        ASSERT_TRUE(optimizer.update(golden["rates"][step], 1).ok());
        for (size_t p = 0; p < 2; ++p) {
          const at::Tensor value = tensor_of(expected["values"][step][p], shape, dtype);
          EXPECT_LE(largest_difference(list[p]->value().detach(), value), tolerance) << key << " step " << step;
        }
      }
      EXPECT_EQ(optimizer.updates(), 5);
      for (const TensorPart& tensor : optimizer.state()) {
        const size_t p = tensor.name.ends_with("decayed") ? 0 : 1;
        for (const char* moment : {"m", "v"}) {
          if (!tensor.name.starts_with(std::string("optimizer.") + moment)) continue;
          EXPECT_LE(largest_difference(tensor.data, tensor_of(expected[moment][p], shape, dtype)), tolerance);
        }
      }
    });
  }
}

TEST(AdamW, BitsDoNotDependOnThePlaceInTheRange) {
  const AdamWFactors factors{0.7, 0.999, 0.9, 0.95, 1e-3, 0.5, 1e-8};
  const int64_t n = 61;
  const at::Tensor g = at::randn({n}), p0 = at::randn({n}), m0 = at::randn({n}), v0 = at::rand({n});
  const auto updated = [&](int64_t piece) {
    const at::Tensor p = p0.clone(), m = m0.clone(), v = v0.clone();
    for (int64_t i = 0; i < n; i += piece) {
      adamw_update(factors, std::min(piece, n - i), g.const_data_ptr<float>() + i, p.mutable_data_ptr<float>() + i,
                   m.mutable_data_ptr<float>() + i, v.mutable_data_ptr<float>() + i);
    }
    return at::stack({p, m, v});
  };
  for (int64_t piece : {1, 2, 3, 7, 8, 30}) EXPECT_TRUE(at::equal(updated(piece), updated(n))) << piece;
}

TEST(AdamW, RoundsToBf16AsAtenDoes) {
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor special = at::tensor(
      {0.0f, -0.0f, 1.00390625f, 1.01171875f, -1.00390625f, inf, -inf, 3.4e38f, 1e-45f, -std::nanf(""), std::nanf("")});
  const at::Tensor in = at::cat({special, at::randn({1000})});
  const at::Tensor out = at::empty(in.sizes(), at::kBFloat16);
  round_to_bf16(in.const_data_ptr<float>(), in.numel(), out.mutable_data_ptr<at::BFloat16>());
  const at::Tensor expected = in.to(at::kBFloat16);
  EXPECT_TRUE(at::equal(out.isnan(), expected.isnan()));
  EXPECT_TRUE(at::equal(out.nan_to_num(), expected.nan_to_num()));
}

// Multiples of 2^-10 below 2^3, so that any order of summing is exact. The logical gradient of an element does not
// depend on the layout; how it is spread over the ranks of the sum does.
at::Tensor contribution(const Slice& slice, int step, int index, int ranks, at::ScalarType dtype) {
  Slice drawn = slice;
  drawn.spec.name += std::to_string(step);
  drawn.scale = 1;
  at::Tensor gradient = at::empty(slice.spec.box.extent, at::kDouble);
  initialise(drawn, slice.spec.box, 99, gradient);
  gradient = gradient.mul(256).round().div(1024);
  if (index > 0) return gradient.fill_(index / 8.0).to(dtype);
  for (int other = 1; other < ranks; ++other) gradient.sub_(other / 8.0);
  return gradient.to(dtype);
}

absl::Status run_step(GradientReducer& reducer, ShardedAdamW& optimizer, const Mesh& mesh, int step) {
  reducer.begin_step();
  reducer.begin_last_part();
  for (Parameter* parameter : reducer.parameters()) {
    for (const Slice& slice : parameter->slices()) {
      const at::Tensor gradient = parameter->gradient_of(slice);
      gradient.copy_(contribution(slice, step, mesh.group_index(slice.spec.partial),
                                  mesh.group_size(slice.spec.partial), gradient.scalar_type()));
    }
  }
  const absl::Status status = reducer.finish();
  return status.ok() ? optimizer.update(1e-3 * step, 0.375) : status;
}

// Logical tensors by name, assembled from the boxes that ranks hold or own.
class LogicalTensors {
 public:
  void add(const std::string& name, const std::vector<int64_t>& shape, const Box& box, const at::Tensor& part) {
    const std::lock_guard lock(mutex_);
    const auto [entry, fresh] = tensors_.try_emplace(name);
    if (fresh) entry->second = at::full(shape, std::nan(""), part.scalar_type());
    part_of(entry->second, box).copy_(part);
  }
  at::Tensor at(const std::string& name) const { return tensors_.at(name); }
  size_t size() const { return tensors_.size(); }

 private:
  std::mutex mutex_;
  std::map<std::string, at::Tensor> tensors_;
};

class AdamWOnLayouts : public testing::TestWithParam<Layout> {
 protected:
  Layout alone() const { return {1, GetParam().kv_heads, {}}; }
};

std::string test_name(const testing::TestParamInfo<Layout>& layout) {
  std::string name = to_string(layout.param);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Layouts, AdamWOnLayouts, testing::ValuesIn(test_layouts()), test_name);

// Everything in one place: model, reducer and optimizer of a rank.
struct TrainingRank {
  std::unique_ptr<Mesh> mesh;
  ShardedModel model;
  GradientReducer reducer;
  ShardedAdamW optimizer;

  TrainingRank(Communicator& world, const Layout& layout, at::ScalarType dtype)
      : mesh(make_mesh(world, layout)),
        model(make_sharded_model(*mesh, layout.kv_heads, dtype)),
        reducer(model.list(), *mesh, {.bucket_bytes = 50000, .check_replicas = false, .observer = {}}),
        optimizer(reducer, *mesh, config_of()) {}
};

TEST_P(AdamWOnLayouts, UpdatesAreTheBitsOfOneRank) {
  for (const auto dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    LogicalTensors expected;
    run_ranks(1, [&](Communicator& world) {
      TrainingRank run(world, alone(), dtype);
      run.optimizer.initialise_all(5);
      for (int step = 1; step <= 3; ++step) ASSERT_TRUE(run_step(run.reducer, run.optimizer, *run.mesh, step).ok());
      for (const Parameter* parameter : run.reducer.parameters()) {
        for (const Slice& slice : parameter->slices()) {
          expected.add(slice.spec.name + "/value", slice.spec.shape, slice.spec.box, parameter->value_of(slice));
        }
      }
      for (const auto& [name, part_dtype, shape, box, data] : run.optimizer.state())
        expected.add(name, shape, box, data);
    });
    run_ranks(GetParam().ranks, [&](Communicator& world) {
      TrainingRank run(world, GetParam(), dtype);
      run.optimizer.initialise_all(5);
      for (int step = 1; step <= 3; ++step) ASSERT_TRUE(run_step(run.reducer, run.optimizer, *run.mesh, step).ok());
      for (const Parameter* parameter : run.reducer.parameters()) {
        for (const Slice& slice : parameter->slices()) {
          const at::Tensor whole = expected.at(slice.spec.name + "/value");
          EXPECT_TRUE(at::equal(parameter->value_of(slice), part_of(whole, slice.spec.box))) << slice.spec.name;
        }
      }
      for (const auto& [name, part_dtype, shape, box, data] : run.optimizer.state()) {
        EXPECT_EQ(part_dtype, accumulate_dtype(dtype));
        EXPECT_TRUE(at::equal(data, part_of(expected.at(name), box))) << name;
      }
    });
  }
}

// Two steps here, then one on a single rank from the saved state, against three on a single rank.
TEST_P(AdamWOnLayouts, StateMovesToAnotherLayout) {
  LogicalTensors saved;
  run_ranks(GetParam().ranks, [&](Communicator& world) {
    TrainingRank run(world, GetParam(), at::kBFloat16);
    run.optimizer.initialise_all(5);
    for (int step = 1; step <= 2; ++step) ASSERT_TRUE(run_step(run.reducer, run.optimizer, *run.mesh, step).ok());
    for (const auto& [name, part_dtype, shape, box, data] : run.optimizer.state()) saved.add(name, shape, box, data);
  });
  run_ranks(1, [&](Communicator& world) {
    TrainingRank moved(world, alone(), at::kBFloat16), stayed(world, alone(), at::kBFloat16);
    for (const auto& [name, part_dtype, shape, box, data] : moved.optimizer.state()) data.copy_(saved.at(name));
    EXPECT_EQ(moved.optimizer.state().size(), saved.size());
    moved.optimizer.set_updates(2);
    ASSERT_TRUE(moved.optimizer.gather_values().ok());
    stayed.optimizer.initialise_all(5);
    for (int step = 1; step <= 3; ++step) {
      if (step == 3) {
        for (size_t p = 0; p < moved.reducer.parameters().size(); ++p) {
          EXPECT_TRUE(at::equal(moved.reducer.parameters()[p]->value(), stayed.reducer.parameters()[p]->value()));
        }
        ASSERT_TRUE(run_step(moved.reducer, moved.optimizer, *moved.mesh, step).ok());
      }
      ASSERT_TRUE(run_step(stayed.reducer, stayed.optimizer, *stayed.mesh, step).ok());
    }
    for (size_t p = 0; p < moved.reducer.parameters().size(); ++p) {
      EXPECT_TRUE(at::equal(moved.reducer.parameters()[p]->value(), stayed.reducer.parameters()[p]->value()));
    }
  });
}

// The other way: loading on the layout, where values must be gathered from their owners.
TEST_P(AdamWOnLayouts, LoadedMastersReachAllRanks) {
  LogicalTensors masters;
  run_ranks(1, [&](Communicator& world) {
    TrainingRank run(world, alone(), at::kBFloat16);
    run.optimizer.initialise_all(6);
    for (const auto& [name, part_dtype, shape, box, data] : run.optimizer.state()) masters.add(name, shape, box, data);
  });
  for (const auto dtype : {at::kBFloat16, at::kFloat}) {
    run_ranks(GetParam().ranks, [&](Communicator& world) {
      TrainingRank run(world, GetParam(), dtype);
      run.optimizer.initialise_all(7);
      for (const auto& [name, part_dtype, shape, box, data] : run.optimizer.state())
        data.copy_(part_of(masters.at(name), box));
      ASSERT_TRUE(run.optimizer.gather_values().ok());
      for (const Parameter* parameter : run.reducer.parameters()) {
        for (const Slice& slice : parameter->slices()) {
          const at::Tensor whole = masters.at(slice.spec.name).to(dtype);
          EXPECT_TRUE(at::equal(parameter->value_of(slice), part_of(whole, slice.spec.box))) << slice.spec.name;
        }
      }
    });
  }
}

// Masters of bf16 values start from the exact draw, not from the rounded value.
// A dry run of a model that does not fit must not touch what it asks for.
TEST(AdamW, TouchesNoMemoryBeforeItIsInitialised) {
  run_ranks(1, [](Communicator& world) {
    const auto mesh = make_mesh(world, test_layouts().front());
    const std::vector<int64_t> shape = {64 << 20};
    Slice slice;
    slice.spec = {"large", shape, Box::whole(shape), {Axis::kData}, {Axis::kData}};
    const int64_t before = resident_bytes();
    Parameter parameter(shape, at::kFloat, {slice});
    GradientReducer reducer({&parameter}, *mesh);
    const ShardedAdamW optimizer(reducer, *mesh, {});
    EXPECT_LT(resident_bytes() - before, int64_t{256} << 20);  // of 1 GiB
  });
}

TEST(AdamW, Bf16MastersStartUnrounded) {
  run_ranks(1, [](Communicator& world) {
    TrainingRank bf16(world, test_layouts().front(), at::kBFloat16), fp32(world, test_layouts().front(), at::kFloat);
    bf16.optimizer.initialise_all(1);
    fp32.optimizer.initialise_all(1);
    const auto exact = fp32.optimizer.state();
    const auto masters = bf16.optimizer.state();
    ASSERT_EQ(masters.size(), exact.size());
    for (size_t i = 0; i < masters.size(); ++i) EXPECT_TRUE(at::equal(masters[i].data, exact[i].data));
    for (size_t p = 0; p < fp32.reducer.parameters().size(); ++p) {
      EXPECT_TRUE(
          at::equal(bf16.reducer.parameters()[p]->value(), fp32.reducer.parameters()[p]->value().to(at::kBFloat16)));
    }
  });
}

}  // namespace
}  // namespace switchyard
