#include "layers/moe/experts.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "parallel/parameter/initialise.h"
#include "tests/support/mesh.h"

namespace switchyard {
namespace {

constexpr Activation kAll[] = {Activation::kSwiglu, Activation::kGelu, Activation::kRelu};
constexpr at::ScalarType kDtypes[] = {at::kBFloat16, at::kFloat, at::kDouble};

BuildContext context_of(const Mesh& mesh, at::ScalarType dtype) {
  return {.mesh = mesh, .dtype = dtype, .init_scale = 0.3, .residual_init_scale = 0.2};
}

void fill(Experts& experts) {
  const at::NoGradGuard no_grad;
  for (Parameter* parameter : experts.parameters()) {
    for (const Slice& slice : parameter->slices()) {
      at::Tensor drawn = at::empty(slice.spec.box.extent, at::kDouble);
      initialise(slice, slice.spec.box, 7, drawn);
      parameter->value_of(slice).copy_(drawn);
    }
  }
  attach_plain_gradients(experts.parameters());
}

struct Result {
  at::Tensor y, dx;
  std::vector<at::Tensor> gradients;  // a parameter each
};

Result run(Experts& experts, const at::Tensor& x, const at::Tensor& g, const std::vector<int64_t>& counts) {
  const at::Tensor leaf = x.clone().requires_grad_(true);
  const at::Tensor y = experts.forward(leaf, counts);
  y.backward(g);
  Result result{y.detach(), leaf.grad(), {}};
  for (Parameter* parameter : experts.parameters()) result.gradients.push_back(parameter->gradient().clone());
  return result;
}

// The same in fp64 from plain operations under autograd.
Result reference(Experts& experts, Activation activation, const at::Tensor& x, const at::Tensor& g,
                 const std::vector<int64_t>& counts) {
  const at::Tensor leaf = x.to(at::kDouble).requires_grad_(true);
  const at::Tensor up = experts.parameters()[0]->value().detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor down = experts.parameters()[1]->value().detach().to(at::kDouble).requires_grad_(true);
  std::vector<at::Tensor> outputs;
  int64_t first = 0;
  for (size_t e = 0; e < counts.size(); ++e) {
    const at::Tensor h = at::mm(leaf.narrow(0, first, counts[e]), up[e].t());
    const int64_t width = down.size(2);
    const at::Tensor a = activation == Activation::kSwiglu ? at::silu(h.narrow(1, 0, width)) * h.narrow(1, width, width)
                         : activation == Activation::kGelu ? at::gelu(h)
                                                           : at::relu(h);
    outputs.push_back(at::mm(a, down[e].t()));
    first += counts[e];
  }
  const at::Tensor y = at::cat(outputs);
  y.backward(g.to(at::kDouble));
  return {y.detach(), leaf.grad(), {up.grad(), down.grad()}};
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const double norm = expected.norm().item<double>();
  EXPECT_LE((actual.to(at::kDouble) - expected).norm().item<double>(), tolerance * norm);
}

// Relative to the norm: bf16 rounds four values on the longest path, h, a, their gradients.
double tolerance_of(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? 4 * std::ldexp(1.0, -8) : dtype == at::kFloat ? 2e-6 : 1e-14;
}

TEST(Experts, MatchAutogradOfPlainOperations) {
  at::manual_seed(1);
  const std::vector<int64_t> counts = {5, 0, 1, 33, 2, 0};
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    for (const at::ScalarType dtype : kDtypes) {
      for (const Activation activation : kAll) {
        Experts experts("layers.0.moe", 24, 40, activation, Placement::contiguous(6, 1), context_of(mesh, dtype));
        fill(experts);
        const at::Tensor x = at::randn({41, 24}, at::kDouble).to(dtype), g = at::randn({41, 24}, at::kDouble).to(dtype);
        const Result actual = run(experts, x, g, counts), expected = reference(experts, activation, x, g, counts);
        EXPECT_EQ(actual.y.scalar_type(), dtype);
        expect_close(actual.y, expected.y, tolerance_of(dtype));
        expect_close(actual.dx, expected.dx, tolerance_of(dtype));
        for (size_t i = 0; i < 2; ++i) {
          EXPECT_EQ(actual.gradients[i].scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
          expect_close(actual.gradients[i], expected.gradients[i], tolerance_of(dtype));
          EXPECT_TRUE(at::equal(actual.gradients[i][1], at::zeros_like(actual.gradients[i][1])))
              << "expert without rows";
        }
        // Without grad mode: no room for all pre-activations, the same bits.
        const at::NoGradGuard no_grad;
        EXPECT_TRUE(at::equal(experts.forward(x, counts), actual.y));
      }
    }
  });
}

TEST(Experts, AccumulateAndReport) {
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    Experts experts("moe", 8, 16, Activation::kSwiglu, Placement::contiguous(2, 1), context_of(mesh, at::kDouble));
    fill(experts);
    const at::Tensor x = at::randn({6, 8}, at::kDouble), g = at::randn({6, 8}, at::kDouble);
    const Result once = run(experts, x, g, {4, 2}), twice = run(experts, x, g, {4, 2});
    for (size_t i = 0; i < 2; ++i) expect_close(twice.gradients[i], 2.0 * once.gradients[i], 1e-15);

    // No rows at all, and rows that need no gradient: the weights are reported all the same.
    std::vector<std::string> ready;
    for (Parameter* parameter : experts.parameters()) {
      parameter->attach(at::zeros_like(parameter->gradient()), [&](Parameter& p) { ready.push_back(p.name()); });
    }
    const at::Tensor none = experts.forward(x.narrow(0, 0, 0), std::vector<int64_t>{0, 0});
    EXPECT_EQ(none.sizes(), (std::vector<int64_t>{0, 8}));
    none.sum().backward();
    EXPECT_EQ(ready, (std::vector<std::string>{"moe.experts.0.down", "moe.experts.0.gate"}));
    EXPECT_EQ(experts.parameters()[0]->gradient().abs().sum().item<double>(), 0.0);
  });
}

// Whatever a cleared gradient holds: the first product is written, the next ones are added, and a matrix without rows
// is zero.
TEST(Experts, WriteClearedGradients) {
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    for (const ExpertSharing sharing : {ExpertSharing::kNone, ExpertSharing::kUp}) {
      Experts experts("moe", 8, 16, Activation::kSwiglu, Placement::contiguous(2, 1), context_of(mesh, at::kDouble),
                      sharing);
      fill(experts);
      const at::Tensor x = at::randn({6, 8}, at::kDouble), g = at::randn({6, 8}, at::kDouble);
      for (const std::vector<int64_t>& counts : {std::vector<int64_t>{6, 0}, std::vector<int64_t>{2, 4}}) {
        for (Parameter* parameter : experts.parameters()) parameter->gradient().zero_();
        const Result added = run(experts, x, g, counts);
        for (const int times : {1, 2}) {
          for (Parameter* parameter : experts.parameters()) {
            parameter->gradient().fill_(std::numeric_limits<double>::quiet_NaN());
            parameter->clear_gradient();
          }
          Result written;
          for (int i = 0; i < times; ++i) written = run(experts, x, g, counts);
          for (size_t i = 0; i < 2; ++i) expect_close(written.gradients[i], times * added.gradients[i], 1e-15);
        }
      }
      for (Parameter* parameter : experts.parameters()) {
        parameter->gradient().fill_(std::numeric_limits<double>::quiet_NaN());
        parameter->clear_gradient();
      }
      experts.forward(x.narrow(0, 0, 0), std::vector<int64_t>{0, 0}).sum().backward();
      for (Parameter* parameter : experts.parameters()) EXPECT_TRUE(parameter->gradient().eq(0).all().item<bool>());
    }
  });
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.is_contiguous() && b.is_contiguous() &&
         std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

// Each expert in a block of eight, and alone in a block of its own: other row offsets, other places of the weights.
// Rows are multiples of 64 bytes: without, fp64 products (not oneDNN's) give other bits.
TEST(Experts, BitsDoNotDependOnTheOtherExperts) {
  at::manual_seed(2);
  const std::vector<int64_t> counts = {1, 64, 3, 0, 37, 2, 5, 130};
  run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
    for (const at::ScalarType dtype : kDtypes) {
      for (const auto& [width, expert_width] : {std::pair<int64_t, int64_t>{64, 96}, {32, 160}}) {
        SCOPED_TRACE(absl::StrCat("width ", width, " dtype ", static_cast<int>(dtype)));
        const BuildContext context = context_of(mesh, dtype);
        Experts block("moe", width, expert_width, Activation::kSwiglu, Placement::contiguous(8, 1), context);
        fill(block);
        const at::Tensor x = at::randn({242, width}, at::kDouble).to(dtype);
        const at::Tensor g = at::randn({242, width}, at::kDouble).to(dtype);
        const Result all = run(block, x, g, counts);
        int64_t first = 0;
        for (int64_t e = 0; e < 8; ++e) {
          const int64_t rows = counts[e];
          Experts single("moe", width, expert_width, Activation::kSwiglu,
                         {.experts = 8, .owner = std::vector<int>(8, 0), .experts_of = {{e}}}, context);
          fill(single);
          const Result one = run(single, x.narrow(0, first, rows), g.narrow(0, first, rows), {rows});
          EXPECT_TRUE(same_bits(one.y, all.y.narrow(0, first, rows))) << "y of expert " << e;
          EXPECT_TRUE(same_bits(one.dx, all.dx.narrow(0, first, rows))) << "dx of expert " << e;
          EXPECT_TRUE(same_bits(one.gradients[0][0], all.gradients[0][e])) << "up of expert " << e;
          EXPECT_TRUE(same_bits(one.gradients[1][0], all.gradients[1][e])) << "down of expert " << e;
          first += rows;
        }
      }
    }
  });
}

TEST(Experts, SpecsNameEveryExpertOnce) {
  const MeshShape shape = mesh_shape(4, 1, 2, 2);
  run_mesh(shape, [&](const Mesh& mesh) {
    Experts experts("layers.3.moe", 6, 5, Activation::kSwiglu, Placement::contiguous(3, 2),
                    context_of(mesh, at::kFloat));
    const int64_t part = mesh.index(Axis::kExpertTensor), begin = part == 0 ? 0 : 2, size = part == 0 ? 2 : 3;
    const std::vector<int64_t> held =
        mesh.index(Axis::kExpert) == 0 ? std::vector<int64_t>{0} : std::vector<int64_t>{1, 2};
    ASSERT_EQ(experts.local_experts(), static_cast<int64_t>(held.size()));
    const auto up = experts.parameters()[0]->slices(), down = experts.parameters()[1]->slices();
    ASSERT_EQ(up.size(), 2 * held.size());
    ASSERT_EQ(down.size(), held.size());
    for (size_t i = 0; i < held.size(); ++i) {
      const std::string prefix = absl::StrCat("layers.3.moe.experts.", held[i]);
      EXPECT_EQ(up[2 * i].spec.name, prefix + ".gate");
      EXPECT_EQ(up[2 * i + 1].spec.name, prefix + ".up");
      EXPECT_EQ(down[i].spec.name, prefix + ".down");
      EXPECT_EQ(up[2 * i].spec.shape, (std::vector<int64_t>{5, 6}));
      EXPECT_EQ(up[2 * i + 1].spec.box, (Box{{begin, 0}, {size, 6}}));
      EXPECT_EQ(down[i].spec.box, (Box{{0, begin}, {6, size}}));
      EXPECT_EQ(up[2 * i + 1].offset, static_cast<int64_t>(2 * i + 1) * size * 6);
      EXPECT_EQ(down[i].scale, 0.2);
      EXPECT_EQ(up[2 * i].scale, 0.3);
      EXPECT_EQ(down[i].spec.partial, AxisSet{Axis::kExpertData});
    }
  });
}

// Three experts over four ranks and an expert width that does not divide: the parts' sum is the whole.
TEST(Experts, PartsOverExpertTensorSumToTheWhole) {
  at::manual_seed(3);
  const std::vector<int64_t> counts = {4, 1, 7};
  const at::Tensor x = at::randn({12, 6}, at::kDouble), g = at::randn({12, 6}, at::kDouble);
  for (const Activation activation : kAll) {
    Result whole;
    run_mesh(mesh_shape(1), [&](const Mesh& mesh) {
      Experts experts("moe", 6, 7, activation, Placement::contiguous(3, 1), context_of(mesh, at::kDouble));
      fill(experts);
      whole = run(experts, x, g, counts);
    });
    std::mutex mutex;
    at::Tensor y = at::zeros_like(x), dx = at::zeros_like(x);
    run_mesh(mesh_shape(3, 1, 1, 3), [&](const Mesh& mesh) {
      Experts experts("moe", 6, 7, activation, Placement::contiguous(3, 1), context_of(mesh, at::kDouble));
      fill(experts);
      const Result part = run(experts, x, g, counts);
      const auto [begin, end] = cut(7, 3, mesh.index(Axis::kExpertTensor));
      expect_close(part.gradients[1], whole.gradients[1].narrow(2, begin, end - begin), 1e-14);
      const std::lock_guard lock(mutex);
      y += part.y;
      dx += part.dx;
    });
    expect_close(y, whole.y, 1e-14);
    expect_close(dx, whole.dx, 1e-14);
  }
}

TEST(Experts, RankWithoutExpertsStaysInTheGraph) {
  run_mesh(mesh_shape(2, 1, 2, 1), [&](const Mesh& mesh) {
    Experts experts("moe", 4, 4, Activation::kGelu, Placement::contiguous(1, 2), context_of(mesh, at::kFloat));
    EXPECT_EQ(experts.parameters().empty(), mesh.index(Axis::kExpert) == 0);
    if (!experts.parameters().empty()) return;
    const at::Tensor rows = at::zeros({0, 4}).requires_grad_(true);
    const at::Tensor y = experts.forward(rows, {});
    EXPECT_EQ(y.sizes(), rows.sizes());
    y.sum().backward();
    EXPECT_TRUE(rows.grad().defined());
  });
}

}  // namespace
}  // namespace switchyard
