// AdamW, initial values and the gradient's norm on a device against the CPU: the first two to the bit.
#include <numeric>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "parallel/gradient/clip.h"
#include "parallel/optimizer/adamw.h"
#include "runtime/base/status.h"
#include "tests/support/device.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

struct Trained {
  std::vector<double> norms;
  std::vector<at::Tensor> state, values;
};

// More slices than go into one launch, of uneven sizes.
std::vector<Slice> slices() {
  std::vector<Slice> list;
  int64_t offset = 0;
  for (int64_t i = 0; i < 60; ++i) {
    const std::vector<int64_t> shape{1 + i % 7, 150 + i};
    Slice slice{.spec = {absl::StrCat("w", i), shape, Box::whole(shape), {}, {}}, .offset = offset};
    slice.weight_decay = i % 2 == 0;
    offset += slice.spec.box.numel();
    list.push_back(std::move(slice));
  }
  return list;
}

Trained train(at::ScalarType dtype, c10::Device device) {
  Trained trained;
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    std::vector<Slice> list = slices();
    const int64_t elements = list.back().offset + list.back().spec.box.numel();
    Parameter parameter({elements}, at::dtype(dtype).device(device), std::move(list));
    GradientReducer reducer({&parameter}, mesh, {});
    ShardedAdamW optimizer(reducer, mesh, {});
    optimizer.initialise_all(3);
    at::manual_seed(4);
    for (int step = 0; step < 3; ++step) {
      reducer.begin_step();
      reducer.begin_last_part();
      at::Tensor(parameter.gradient()).copy_(at::randn({elements}, at::kDouble));
      throw_if_error(reducer.finish());
      trained.norms.push_back(value_or_throw(gradient_norm(reducer.shards(), mesh.world())));
      throw_if_error(optimizer.update(1e-2, 0.7));
    }
    for (const TensorPart& part : optimizer.state()) trained.state.push_back(part.data.cpu());
    trained.values.push_back(parameter.value().detach().cpu());
  });
  return trained;
}

TEST(AdamWOnDevice, HasTheBitsOfTheCpu) {
  SY_DEVICE_OR_SKIP();
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    const Trained expected = train(dtype, c10::kCPU), actual = train(dtype, device);
    ASSERT_EQ(actual.state.size(), expected.state.size());
    for (size_t i = 0; i < expected.state.size(); ++i) {
      EXPECT_TRUE(at::equal(actual.state[i], expected.state[i])) << "state " << i << " of " << dtype;
    }
    EXPECT_TRUE(at::equal(actual.values[0], expected.values[0])) << dtype;
    for (size_t i = 0; i < expected.norms.size(); ++i) {
      EXPECT_NEAR(actual.norms[i], expected.norms[i], expected.norms[i] * 1e-12);
    }
  }
}

}  // namespace
}  // namespace switchyard
