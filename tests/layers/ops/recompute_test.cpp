#include "layers/ops/recompute.h"

#include <gtest/gtest.h>

#include "layers/ops/rms_norm.h"
#include "runtime/base/status.h"
#include "tests/layers/ops/whole_parameter.h"

namespace switchyard {
namespace {

// Two outputs: rows, and a scalar as an auxiliary loss would be.
std::vector<at::Tensor> block(Parameter& weight, const std::vector<at::Tensor>& inputs, int& runs) {
  ++runs;
  const at::Tensor y = rms_norm(inputs[0] * inputs[1].to(at::kDouble).unsqueeze(1), weight, 1e-6);
  return {y.tanh(), y.square().sum() * 0.3};
}

struct Result {
  at::Tensor y, dx, dweight;
  int runs = 0, ready = 0;
};

Result run(bool again, bool use_scalar) {
  at::manual_seed(5);
  Result result;
  const auto weight = whole_parameter(at::randn({6}, at::kDouble));
  weight->attach(at::zeros({6}, at::kDouble), [&](Parameter&) { ++result.ready; });
  const at::Tensor x = leaf(at::randn({4, 6}, at::kDouble)), g = at::randn({4, 6}, at::kDouble);
  const at::Tensor index = at::arange(1, 5);  // an input without gradient
  const Block body = [&](const std::vector<at::Tensor>& inputs) { return block(*weight, inputs, result.runs); };
  // Two blocks in a row, the first plain: what comes before and after a recomputed block must be reached too.
  const at::Tensor before = x * 2;
  const auto outputs = again ? recompute(body, {before, index}) : body({before, index});
  at::Tensor loss = (outputs[0] * g).sum();
  if (use_scalar) loss = loss + outputs[1];
  loss.backward();
  result.y = outputs[0].detach();
  result.dx = x.grad();
  result.dweight = weight->gradient();
  return result;
}

TEST(Recompute, GivesTheSameBitsAndRunsTwice) {
  for (const bool use_scalar : {true, false}) {
    const Result plain = run(false, use_scalar), again = run(true, use_scalar);
    EXPECT_TRUE(at::equal(plain.y, again.y));
    EXPECT_TRUE(at::equal(plain.dx, again.dx));
    EXPECT_TRUE(at::equal(plain.dweight, again.dweight));
    EXPECT_GT(plain.dweight.abs().max().item<double>(), 0);
    EXPECT_EQ(plain.runs, 1);
    EXPECT_EQ(again.runs, 2);
    EXPECT_EQ(again.ready, 1);
  }
}

TEST(Recompute, KeepsNothingOfTheBlock) {
  const at::Tensor x = leaf(at::ones({3}));
  at::Tensor inside;
  const auto outputs = recompute(
      [&](const std::vector<at::Tensor>& inputs) {
        inside = inputs[0].exp();
        return std::vector<at::Tensor>{inside.square()};
      },
      {x});
  EXPECT_EQ(inside.use_count(), 1);  // ours alone: no node saved it
  outputs[0].sum().backward();
  EXPECT_LE(max_difference(x.grad(), 2 * at::ones({3}) * std::exp(2.0)), 1e-5);
}

TEST(Recompute, AFailureInBackwardKeepsItsType) {
  const at::Tensor x = leaf(at::ones({3}));
  int runs = 0;
  const auto outputs = recompute(
      [&](const std::vector<at::Tensor>& in) {
        if (++runs == 2) throw StatusError(error(ErrorCategory::kCommunication, "a peer is silent"));
        return std::vector<at::Tensor>{in[0] * 2};
      },
      {x});
  try {
    outputs[0].sum().backward();
    FAIL();
  } catch (const StatusError& failure) {
    EXPECT_EQ(error_category(failure.status()), ErrorCategory::kCommunication);
  }
}

TEST(Recompute, NestsAndIsPlainWithoutGradients) {
  const at::Tensor x = leaf(at::randn({5}, at::kDouble));
  int runs = 0;
  const Block inner = [&](const std::vector<at::Tensor>& in) {
    ++runs;
    return std::vector<at::Tensor>{in[0].sin()};
  };
  const Block outer = [&](const std::vector<at::Tensor>& in) { return recompute(inner, {in[0] * 2}); };
  recompute(outer, {x})[0].sum().backward();
  EXPECT_EQ(runs, 3);
  EXPECT_LE(max_difference(x.grad(), 2 * (x * 2).cos()), 1e-14);
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(recompute(outer, {x})[0].requires_grad());
}

}  // namespace
}  // namespace switchyard
