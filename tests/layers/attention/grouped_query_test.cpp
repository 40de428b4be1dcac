#include "layers/attention/grouped_query.h"

#include <map>
#include <mutex>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/parameter/initialise.h"
#include "tests/layers/ops/whole_parameter.h"
#include "tests/support/mesh.h"
#include "tests/support/part_of.h"

namespace switchyard {
namespace {

constexpr int64_t kWidth = 10, kSequence = 9;
constexpr uint64_t kSeed = 5;

// Sequences [first, last) of a batch in which every other sequence is two documents.
TokenBatch batch(int64_t first, int64_t last) {
  TokenBatch b;
  b.sequences = last - first;
  b.sequence = kSequence;
  b.tokens = at::zeros({b.sequences * kSequence}, at::kLong);
  std::vector<at::Tensor> positions{at::empty({0}, at::kLong)};
  for (int64_t s = first; s < last; ++s) {
    const int64_t row = (s - first) * kSequence, cut = s % 2 == 0 ? 4 : kSequence;
    b.piece_starts.push_back(row);
    if (cut < kSequence) b.piece_starts.push_back(row + cut);
    positions.push_back(at::arange(cut));
    positions.push_back(at::arange(kSequence - cut));
  }
  b.piece_starts.push_back(b.sequences * kSequence);
  b.positions = at::cat(positions);
  return b;
}

struct Problem {
  AttentionConfig config;
  int64_t sequences;
  at::Tensor x, g;  // of all sequences
};

Problem problem(int64_t heads, int64_t kv_heads, int64_t sequences) {
  at::manual_seed(11);
  Problem p{{.heads = heads, .kv_heads = kv_heads, .head_width = 6, .rope_theta = 100}, sequences, {}, {}};
  p.x = at::randn({sequences * kSequence, kWidth}, at::kDouble);
  p.g = at::randn({sequences * kSequence, kWidth}, at::kDouble);
  return p;
}

struct Result {
  at::Tensor y, dx;
  std::map<std::string, at::Tensor> gradients;  // of the logical tensors, summed over all ranks
};

Result run(const Problem& p, int ranks, int tensor, at::ScalarType dtype = at::kDouble) {
  MeshShape shape = mesh_shape(ranks, tensor);
  shape.kv_replica = std::max<int>(1, tensor / static_cast<int>(p.config.kv_heads));
  Result result{at::zeros_like(p.x), at::zeros_like(p.x), {}};
  std::mutex mutex;
  run_mesh(shape, [&](const Mesh& mesh) {
    GroupedQueryAttention attention("a", kWidth, p.config, {mesh, dtype, 0.3, 0.2});
    for (Parameter* parameter : attention.parameters()) {
      for (const Slice& slice : parameter->slices()) {
        at::Tensor values = at::empty(slice.spec.box.extent, at::kDouble);
        initialise(slice, slice.spec.box, kSeed, values);
        parameter->value_of(slice).copy_(values);
      }
    }
    attach_plain_gradients(attention.parameters());
    const auto [first, last] = cut(p.sequences, shape.data, mesh.index(Axis::kData));
    const auto [begin, end] = cut((last - first) * kSequence, tensor, mesh.index(Axis::kTensor));
    const auto own = [&, begin = begin + first * kSequence, end = end + first * kSequence](const at::Tensor& all) {
      return all.slice(0, begin, end);
    };
    const at::Tensor x = leaf(own(p.x).to(dtype));
    const at::Tensor y = attention.forward(x, batch(first, last));
    y.backward(own(p.g).to(dtype));
    const std::lock_guard lock(mutex);
    own(result.y).copy_(y.detach());
    own(result.dx).copy_(x.grad());
    for (Parameter* parameter : attention.parameters()) {
      for (const Slice& slice : parameter->slices()) {
        const auto [it, fresh] = result.gradients.try_emplace(slice.spec.name);
        if (fresh) it->second = at::zeros(slice.spec.shape, at::kDouble);
        part_of(it->second, slice.spec.box) += parameter->gradient_of(slice);
      }
    }
  });
  return result;
}

at::Tensor whole_value(const std::string& name, std::vector<int64_t> shape, double scale) {
  Slice slice;
  slice.spec = {.name = name, .shape = shape, .box = Box::whole(shape), .replicated = {}, .partial = {}};
  slice.scale = scale;
  at::Tensor values = at::empty(shape, at::kDouble);
  initialise(slice, slice.spec.box, kSeed, values);
  return values.set_requires_grad(true);
}

// One rank's attention from ATen's own operations.
Result plain(const Problem& p) {
  const int64_t c = p.config.head_width, rows = p.x.size(0);
  std::map<std::string, at::Tensor> w;
  for (const auto& [name, heads] :
       {std::pair("a.q", p.config.heads), std::pair("a.k", p.config.kv_heads), std::pair("a.v", p.config.kv_heads)}) {
    w[name] = whole_value(name, {heads * c, kWidth}, 0.3);
  }
  w["a.o"] = whole_value("a.o", {kWidth, p.config.heads * c}, 0.2);
  const at::Tensor x = leaf(p.x);
  const TokenBatch b = batch(0, p.sequences);
  const at::Tensor angles =
      at::outer(b.positions.to(at::kDouble),
                at::pow(p.config.rope_theta, -at::arange(0, c, 2, at::kDouble) / static_cast<double>(c)));
  const at::Tensor turn = at::cat({angles, angles}, 1).unsqueeze(1);
  const auto heads_of = [&](const char* name) { return at::matmul(x, w[name].t()).view({rows, -1, c}); };
  const auto turned = [&](const at::Tensor& h) {
    return h * turn.cos() + at::cat({-h.slice(2, c / 2), h.slice(2, 0, c / 2)}, 2) * turn.sin();
  };
  const at::Tensor q = turned(heads_of("a.q")), k = turned(heads_of("a.k")), v = heads_of("a.v");
  std::vector<at::Tensor> pieces;
  for (size_t i = 0; i + 1 < b.piece_starts.size(); ++i) {
    const auto piece = [&](const at::Tensor& h, int64_t times) {
      return h.slice(0, b.piece_starts[i], b.piece_starts[i + 1])
          .repeat_interleave(times, 1)
          .transpose(0, 1)
          .unsqueeze(0);
    };
    const int64_t group = p.config.heads / p.config.kv_heads;
    const at::Tensor y = at::scaled_dot_product_attention(piece(q, 1), piece(k, group), piece(v, group), {}, 0, true);
    pieces.push_back(y.squeeze(0).transpose(0, 1).reshape({-1, p.config.heads * c}));
  }
  const at::Tensor y = at::matmul(at::cat(pieces), w["a.o"].t());
  y.backward(p.g);
  Result result{y.detach(), x.grad(), {}};
  for (const auto& [name, value] : w) result.gradients[name] = value.grad();
  return result;
}

void expect_near(const Result& result, const Result& expected, double bound) {
  EXPECT_LE(max_difference(result.y, expected.y), bound);
  EXPECT_LE(max_difference(result.dx, expected.dx), bound);
  ASSERT_EQ(result.gradients.size(), 4u);
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LE(max_difference(result.gradients.at(name), gradient), bound) << name;
  }
}

TEST(GroupedQueryAttention, OneRankEqualsPlainAutograd) {
  for (const int64_t kv_heads : {1, 2, 4}) {
    const Problem p = problem(4, kv_heads, 3);
    expect_near(run(p, 1, 1), plain(p), 1e-11);
  }
}

TEST(GroupedQueryAttention, AnyLayoutEqualsOneRank) {
  struct Layout {
    int64_t heads, kv_heads;
    int ranks, tensor;
  };
  for (const Layout& l : std::vector<Layout>{{4, 4, 2, 2},
                                             {4, 2, 2, 2},
                                             {6, 3, 3, 3},
                                             {4, 4, 4, 4},
                                             {4, 2, 4, 4},     // two ranks share a key and value head
                                             {6, 1, 3, 3},     // all do
                                             {8, 2, 4, 2},     // two data ranks
                                             {4, 1, 6, 2}}) {  // three, and shared heads
    for (const int64_t sequences : {3, 1, 0}) {                // fewer than data ranks: some have no tokens
      SCOPED_TRACE(testing::Message() << l.heads << "/" << l.kv_heads << " heads, tensor " << l.tensor << " of "
                                      << l.ranks << ", " << sequences << " sequences");
      const Problem p = problem(l.heads, l.kv_heads, sequences);
      expect_near(run(p, l.ranks, l.tensor), run(p, 1, 1), 1e-11);
    }
  }
}

TEST(GroupedQueryAttention, Bf16StaysNearFp64) {
  const Problem p = problem(4, 2, 3);
  const Result expected = run(p, 1, 1), result = run(p, 2, 2, at::kBFloat16);
  const auto relative = [](const at::Tensor& got, const at::Tensor& exact) {
    return ((got - exact).norm() / exact.norm()).item<double>();
  };
  // A handful of roundings of half a unit, 2⁻⁸ at most, in a row.
  EXPECT_LE(relative(result.y, expected.y), 0.02);
  EXPECT_LE(relative(result.dx, expected.dx), 0.02);
  for (const auto& [name, gradient] : expected.gradients) {
    EXPECT_LE(relative(result.gradients.at(name), gradient), 0.02) << name;
  }
}

TEST(GroupedQueryAttention, ATokenOfAnotherDocumentChangesNoBit) {
  Problem p = problem(4, 2, 1);
  const Result before = run(p, 2, 2);
  p.x[2] += 1;  // the first of two documents, rows 0 … 3
  const Result after = run(p, 2, 2);
  EXPECT_TRUE(at::equal(before.y.slice(0, 4), after.y.slice(0, 4)));
  EXPECT_TRUE(at::equal(before.y.slice(0, 0, 2), after.y.slice(0, 0, 2)));
  EXPECT_FALSE(at::equal(before.y.slice(0, 2, 4), after.y.slice(0, 2, 4)));
}

TEST(AttentionConfig, RefusesImpossibleHeads) {
  EXPECT_TRUE(AttentionConfig{}.validate().ok());
  EXPECT_EQ(error_category(AttentionConfig{.heads = 6, .kv_heads = 4}.validate()), ErrorCategory::kBadConfig);
  EXPECT_EQ(error_category(AttentionConfig{.head_width = 7}.validate()), ErrorCategory::kBadConfig);
}

}  // namespace
}  // namespace switchyard
