#include "parallel/checkpoint/box_runs.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace switchyard {
namespace {

// Byte of every element of `box` that lies in `other`, from its global index; in row-major order of `box`.
std::vector<std::pair<int64_t, int64_t>> elements(const Box& box, const Box& other, int64_t item_bytes) {
  std::vector<std::pair<int64_t, int64_t>> out;  // byte in box, byte in other
  for (int64_t flat = 0; flat < box.numel(); ++flat) {
    int64_t rest = flat;
    int64_t stride = 1;
    int64_t index = 0;
    bool inside = true;
    for (size_t d = box.extent.size(); d-- > 0;) {
      const int64_t global = box.offset[d] + rest % box.extent[d];
      rest /= box.extent[d];
      inside = inside && global >= other.offset[d] && global < other.offset[d] + other.extent[d];
      index += (global - other.offset[d]) * stride;
      stride *= other.extent[d];
    }
    if (inside) out.emplace_back(flat * item_bytes, index * item_bytes);
  }
  return out;
}

Box random_box(std::mt19937& random, const std::vector<int64_t>& shape) {
  Box box;
  for (const int64_t n : shape) {
    int64_t a = static_cast<int64_t>(random() % (n + 1));
    int64_t b = static_cast<int64_t>(random() % (n + 1));
    if (random() % 3 == 0) a = 0, b = n;
    box.offset.push_back(std::min(a, b));
    box.extent.push_back(std::max(a, b) - std::min(a, b));
  }
  return box;
}

TEST(BoxRuns, VisitsEveryCommonElementOnceAndInOrder) {
  std::mt19937 random(1);
  int64_t overlaps = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<int64_t> shape(random() % 5);
    for (int64_t& n : shape) n = 1 + static_cast<int64_t>(random() % 5);
    const Box from = random_box(random, shape);
    const Box to = random_box(random, shape);
    std::vector<std::pair<int64_t, int64_t>> seen;
    BoxRuns runs(from, to, 4);
    for (; !runs.done(); runs.advance()) {
      for (int64_t b = 0; b < runs.bytes(); b += 4) seen.emplace_back(runs.from_byte() + b, runs.to_byte() + b);
    }
    ASSERT_EQ(seen, elements(from, to, 4)) << to_string(from) << " and " << to_string(to);
    overlaps += !seen.empty();
  }
  EXPECT_GT(overlaps, 200);
}

TEST(BoxRuns, JoinsWhatIsContiguous) {
  const Box whole = Box::whole({4, 5, 6});
  EXPECT_EQ(BoxRuns(whole, whole, 2).bytes(), 4 * 5 * 6 * 2);
  EXPECT_EQ(BoxRuns(whole, Box{{1, 0, 0}, {2, 5, 6}}, 2).bytes(), 2 * 5 * 6 * 2);
  EXPECT_EQ(BoxRuns(whole, Box{{0, 1, 0}, {4, 2, 6}}, 2).bytes(), 2 * 6 * 2);
  EXPECT_EQ(BoxRuns(whole, Box{{0, 0, 1}, {4, 5, 3}}, 2).bytes(), 3 * 2);
}

}  // namespace
}  // namespace switchyard
