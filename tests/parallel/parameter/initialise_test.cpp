#include "parallel/parameter/initialise.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/support/part_of.h"

namespace switchyard {
namespace {

Slice slice_of(std::vector<int64_t> shape, std::string name = "w") {
  Slice slice;
  slice.spec = {.name = std::move(name), .shape = shape, .box = Box::whole(shape), .replicated = {}, .partial = {}};
  slice.scale = 0.5;
  return slice;
}

at::Tensor drawn(const Slice& slice, const Box& box, at::ScalarType dtype, uint64_t seed = 1) {
  at::Tensor out = at::empty(box.extent, dtype);
  initialise(slice, box, seed, out);
  return out;
}

TEST(Initialise, AnyBoxIsThatPartOfTheWhole) {
  const Slice slice = slice_of({7, 33, 129});
  for (auto dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor whole = drawn(slice, slice.spec.box, dtype);
    for (const Box& box : {Box{{0, 0, 0}, {7, 33, 129}}, Box{{2, 0, 0}, {3, 33, 129}}, Box{{1, 5, 0}, {4, 11, 129}},
                           Box{{0, 0, 31}, {7, 33, 1}}, Box{{3, 32, 7}, {2, 1, 122}}, Box{{6, 0, 128}, {1, 33, 1}},
                           Box{{0, 4, 0}, {7, 0, 129}}}) {
      EXPECT_TRUE(at::equal(drawn(slice, box, dtype), part_of(whole, box))) << to_string(box);
    }
  }
}

TEST(Initialise, VectorsAndScalarsToo) {
  const Slice slice = slice_of({1000});
  const at::Tensor whole = drawn(slice, slice.spec.box, at::kDouble);
  EXPECT_TRUE(at::equal(drawn(slice, {{333}, {7}}, at::kDouble), whole.narrow(0, 333, 7)));
  EXPECT_EQ(drawn(slice_of({}), {{}, {}}, at::kDouble).item<double>(), whole[0].item<double>());
}

TEST(Initialise, ThreadsDoNotMatter) {
  const Slice slice = slice_of({300, 1001});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = drawn(slice, slice.spec.box, at::kFloat);
  at::set_num_threads(3);
  EXPECT_TRUE(at::equal(drawn(slice, slice.spec.box, at::kFloat), one));
  at::set_num_threads(threads);
}

TEST(Initialise, MomentsScaleAndRounding) {
  const Slice slice = slice_of({1024, 1024});
  const at::Tensor x = drawn(slice, slice.spec.box, at::kDouble);
  EXPECT_NEAR(x.mean().item<double>(), 0, 5 * 0.5 / 1024);
  EXPECT_NEAR(x.std().item<double>(), 0.5, 5 * 0.5 / 1024);
  EXPECT_TRUE(at::equal(drawn(slice, slice.spec.box, at::kFloat), x.to(at::kFloat)));
}

TEST(Initialise, NamesAndSeedsDiffer) {
  const Slice a = slice_of({64}, "a"), b = slice_of({64}, "b");
  EXPECT_FALSE(at::equal(drawn(a, a.spec.box, at::kFloat), drawn(b, b.spec.box, at::kFloat)));
  EXPECT_FALSE(at::equal(drawn(a, a.spec.box, at::kFloat, 1), drawn(a, a.spec.box, at::kFloat, 2)));
}

TEST(Initialise, OnesAndZeros) {
  Slice slice = slice_of({5});
  slice.initialisation = Initialisation::kOnes;
  EXPECT_TRUE(at::equal(drawn(slice, slice.spec.box, at::kFloat), at::ones({5})));
  slice.initialisation = Initialisation::kZeros;
  EXPECT_TRUE(at::equal(drawn(slice, slice.spec.box, at::kFloat), at::zeros({5})));
}

}  // namespace
}  // namespace switchyard
