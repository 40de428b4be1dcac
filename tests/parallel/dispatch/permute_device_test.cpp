// The row kernels on a device against those of the CPU.
#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/dispatch/permute.h"
#include "runtime/numerics/precision.h"
#include "tests/support/device.h"

namespace switchyard {
namespace {

struct Case {
  at::ScalarType dtype;
  int64_t tokens, width, experts, copies;
};

struct Slots {
  at::Tensor offsets, ids;
  std::vector<RowStart> starts;
  int64_t wire_rows = 0, rows = 0;
};

// Tokens with 0 … 3 slots, low experts more often; every third copy of an expert stays.
Slots random_slots(const Case& c) {
  std::mt19937 random(5);
  std::vector<int64_t> offsets{0}, ids, counts(c.experts);
  for (int64_t t = 0; t < c.tokens; ++t) {
    for (int64_t i = static_cast<int64_t>(random() % 4); i > 0; --i) {
      ids.push_back(static_cast<int64_t>(std::min(random() % c.experts, random() % c.experts)));
      ++counts[ids.back()];
    }
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  Slots slots{at::tensor(offsets, at::kLong), at::tensor(ids, at::kLong), {}, 0, 0};
  int64_t returned = 0;
  for (int64_t e = 0; e < c.experts; ++e) {
    for (int64_t copy = 0; copy < c.copies; ++copy) {
      const bool stays = (e + copy) % 3 == 0;
      int64_t& next = stays ? slots.rows : slots.wire_rows;
      slots.starts.push_back({stays ? stays_at(next) : next, returned});
      next += counts[e];
      returned += counts[e];
    }
  }
  return slots;
}

struct Results {
  std::vector<int64_t> counts;
  std::vector<at::Tensor> exact, summed;
};

Results run(const Case& c, const Slots& slots, c10::Device device) {
  at::manual_seed(3);
  const auto on = [&](const at::Tensor& tensor) { return tensor.to(device); };
  SlotTable table;
  table.offsets = on(slots.offsets);
  table.copies = c.copies;
  index_slots(on(slots.ids), slots.starts, table);
  const at::Tensor x = on(at::randn({c.tokens, c.width}).to(c.dtype));
  const at::Tensor y = on(at::randn({slots.ids.numel() * c.copies, c.width}).to(c.dtype));
  const at::Tensor weights = on(at::rand({slots.ids.numel()}, accumulate_dtype(c.dtype)));
  const at::Tensor wire = at::full({slots.wire_rows, c.width}, NAN, x.options()),
                   stay = at::full({slots.rows, c.width}, NAN, x.options());
  spread_rows(x, table, wire, stay);
  const at::Tensor weighted_wire = at::full_like(wire, NAN), weighted_stay = at::full_like(stay, NAN);
  const at::Tensor dots = at::full_like(weights, NAN);
  spread_weighted_rows(x, weights, y, table, weighted_wire, weighted_stay, dots);
  const at::Tensor weighted_sum = at::full_like(x, NAN), plain_sum = at::full_like(x, NAN);
  sum_rows(y, table, weights, weighted_sum);
  sum_rows(y, table, at::Tensor(), plain_sum);
  const std::vector<RowSegment> segments{{0, 4, 2}, {2, 0, 1}, {3, 1, 3}, {6, 6, 1}};
  const at::Tensor there = at::full({7, c.width}, NAN, x.options()), back = at::full({7, c.width}, NAN, x.options());
  copy_segments(x.narrow(0, 0, 7), there, segments);
  copy_segments_reversed(there, back, segments);
  return {count_slots(on(slots.ids), c.experts),
          {table.target, table.returned, wire, stay, weighted_wire, weighted_stay, there, back},
          {dots, weighted_sum, plain_sum}};
}

TEST(PermuteOnDevice, EqualsTheCpu) {
  SY_DEVICE_OR_SKIP();
  for (const Case& c :
       {Case{at::kBFloat16, 700, 64, 9, 1}, Case{at::kBFloat16, 50, 37, 5, 2}, Case{at::kFloat, 3000, 96, 300, 2},
        Case{at::kFloat, 50, 5, 3, 1}, Case{at::kDouble, 90, 33, 4, 3}}) {
    const Slots slots = random_slots(c);
    const Results expected = run(c, slots, c10::kCPU), actual = run(c, slots, device);
    EXPECT_EQ(actual.counts, expected.counts);
    for (size_t i = 0; i < expected.exact.size(); ++i) {
      EXPECT_TRUE(at::equal(actual.exact[i].cpu(), expected.exact[i])) << "result " << i << ", width " << c.width;
    }
    for (size_t i = 0; i < expected.summed.size(); ++i) {
      EXPECT_LE(relative_difference(actual.summed[i], expected.summed[i]), device_tolerance(c.dtype)) << "sum " << i;
    }
  }
}

}  // namespace
}  // namespace switchyard
