// The row kernels against plain loops over ATen tensors, at widths with and without a tail, with ragged slots.
#include "parallel/dispatch/permute.h"

#include <algorithm>
#include <numeric>
#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

struct Case {
  at::ScalarType dtype;
  int64_t width;
  int64_t copies;
};

// Tokens with 0 … 3 slots; every third copy stays.
SlotTable ragged_table(int64_t tokens, int64_t copies, int64_t& wire_rows, int64_t& rows) {
  std::mt19937 random(7);
  std::vector<int64_t> offsets{0};
  for (int64_t t = 0; t < tokens; ++t) offsets.push_back(offsets.back() + static_cast<int64_t>(random() % 4));
  SlotTable table;
  table.offsets = at::tensor(offsets, at::kLong);
  table.copies = copies;
  const int64_t all = offsets.back() * copies;
  std::vector<int64_t> target(all), returned(all);
  std::iota(returned.begin(), returned.end(), 0);
  std::shuffle(returned.begin(), returned.end(), random);
  std::vector<int64_t> order(all);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  wire_rows = rows = 0;
  for (int64_t i : order) target[i] = i % 3 == 0 ? stays_at(rows++) : wire_rows++;
  table.target = at::tensor(target, at::kLong);
  table.returned = at::tensor(returned, at::kLong);
  return table;
}

class Permute : public ::testing::TestWithParam<Case> {};

TEST_P(Permute, MatchesPlainLoops) {
  const auto [dtype, width, copies] = GetParam();
  const int64_t tokens = 50;
  at::manual_seed(1);
  int64_t wire_rows, rows;
  const SlotTable table = ragged_table(tokens, copies, wire_rows, rows);
  const at::ScalarType accumulate = dtype == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor x = at::randn({tokens, width}).to(dtype);
  const at::Tensor y = at::randn({table.slots() * copies, width}).to(dtype);
  const at::Tensor weights = at::rand({table.slots()}, accumulate);
  const int64_t* offsets = table.offsets.const_data_ptr<int64_t>();
  const int64_t* targets = table.target.const_data_ptr<int64_t>();
  const int64_t* returned = table.returned.const_data_ptr<int64_t>();

  const auto row_of = [](int64_t target, const at::Tensor& wire, const at::Tensor& stay) {
    return target >= 0 ? wire[target] : stay[stays_at(target)];
  };
  at::Tensor wire = at::full({wire_rows, width}, NAN, x.options());
  at::Tensor stay = at::full({rows, width}, NAN, x.options());
  spread_rows(x, table, wire, stay);
  at::Tensor weighted_wire = at::full_like(wire, NAN);
  at::Tensor weighted_stay = at::full_like(stay, NAN);
  at::Tensor dots = at::full({table.slots()}, NAN, weights.options());
  spread_weighted_rows(x, weights, y, table, weighted_wire, weighted_stay, dots);
  at::Tensor weighted_sum = at::full({tokens, width}, NAN, x.options());
  at::Tensor plain_sum = at::full({tokens, width}, NAN, x.options());
  sum_rows(y, table, weights, weighted_sum);
  sum_rows(y, table, at::Tensor(), plain_sum);

  const double tolerance = dtype == at::kDouble ? 1e-13 : 1e-5;
  for (int64_t t = 0; t < tokens; ++t) {
    at::Tensor expected_weighted = at::zeros({width}, at::kDouble);
    at::Tensor expected_plain = at::zeros({width}, at::kDouble);
    for (int64_t s = offsets[t]; s < offsets[t + 1]; ++s) {
      at::Tensor expected_dot = at::zeros({}, at::kDouble);
      for (int64_t i = s * copies; i < (s + 1) * copies; ++i) {
        const at::Tensor row = y[returned[i]].to(at::kDouble);
        EXPECT_TRUE(at::equal(row_of(targets[i], wire, stay), x[t]));
        EXPECT_TRUE(
            at::equal(row_of(targets[i], weighted_wire, weighted_stay), (x[t].to(accumulate) * weights[s]).to(dtype)));
        expected_weighted += row * weights[s].to(at::kDouble);
        expected_plain += row;
        expected_dot += at::dot(row, x[t].to(at::kDouble));
      }
      EXPECT_NEAR(dots[s].item<double>(), expected_dot.item<double>(), tolerance * static_cast<double>(width));
    }
    const double rounding = dtype == at::kBFloat16 ? 1.0 / 256 : tolerance;
    EXPECT_TRUE(at::allclose(weighted_sum[t].to(at::kDouble), expected_weighted, rounding, tolerance));
    EXPECT_TRUE(at::allclose(plain_sum[t].to(at::kDouble), expected_plain, rounding, tolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Permute,
                         ::testing::Values(Case{at::kBFloat16, 64, 1}, Case{at::kBFloat16, 37, 2},
                                           Case{at::kFloat, 96, 2}, Case{at::kFloat, 5, 1}, Case{at::kDouble, 33, 3},
                                           Case{at::kDouble, 32, 1}));

TEST(Permute, Bf16RoundsAsAtenDoes) {
  SlotTable table;
  table.offsets = at::arange(2, at::kLong);
  table.target = table.returned = at::zeros({1}, at::kLong);
  const at::Tensor weight = at::tensor({1.0f / 3}, at::kFloat);
  // Every bf16 value, NaN and infinities among them.
  at::Tensor all = at::arange(65536, at::kInt).to(at::kShort).view(at::kBFloat16).view({1, 65536});
  at::Tensor out = at::empty_like(all);
  sum_rows(all, table, weight, out);
  const at::Tensor expected = (all.to(at::kFloat) * weight).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(out.isnan(), expected.isnan()));
  EXPECT_TRUE(at::equal(out.nan_to_num(), expected.nan_to_num()));
}

TEST(Permute, SlotsOfAnExpertGetConsecutiveRowsInTheirOrder) {
  const at::Tensor ids = at::tensor({1, 0, 1, 3, 1, 0}, at::kLong);
  EXPECT_EQ(count_slots(ids, 4), (std::vector<int64_t>{2, 3, 0, 1}));
  SlotTable table;
  table.copies = 2;
  // Experts 0 and 3 are elsewhere, on two ranks; of expert 1 the second copy stays here.
  const std::vector<RowStart> starts{{10, 10}, {20, 20}, {30, 30}, {stays_at(5), 40},
                                     {0, 0},   {0, 0},   {50, 50}, {60, 60}};
  index_slots(ids, starts, table);
  const at::Tensor target = at::tensor({30, -6, 10, 20, 31, -7, 50, 60, 32, -8, 11, 21}, at::kLong);
  const at::Tensor returned = at::tensor({30, 40, 10, 20, 31, 41, 50, 60, 32, 42, 11, 21}, at::kLong);
  EXPECT_TRUE(at::equal(table.target, target));
  EXPECT_TRUE(at::equal(table.returned, returned));
}

// What devices do by chunks goes through the same functions as here.
TEST(Permute, ChunksOfSlotsCoverThemOnce) {
  for (const int64_t slots : {int64_t{0}, int64_t{1}, kSlotChunk - 1, kSlotChunk, kSlotChunk + 1, 5 * kSlotChunk}) {
    int64_t covered = 0;
    for (int64_t chunk = 0; chunk < slot_chunks(slots); ++chunk) {
      EXPECT_EQ(covered, slot_chunk_begin(chunk));
      covered = slot_chunk_end(chunk, slots);
    }
    EXPECT_EQ(covered, slots);
  }
}

// A chunk after another and in each a group of consecutive slots after another, as a device's warps do it.
SlotTable index_by_chunks(const at::Tensor& ids_N, std::span<const RowStart> starts, int64_t copies) {
  constexpr int64_t kLanes = 32;
  const int64_t slots = ids_N.numel(), experts = static_cast<int64_t>(starts.size()) / copies;
  const int64_t* ids = ids_N.const_data_ptr<int64_t>();
  std::vector<int64_t> chunk_starts(slot_chunks(slots) * experts);
  for (int64_t chunk = 0; chunk < slot_chunks(slots); ++chunk) {
    for (int64_t s = slot_chunk_begin(chunk); s < slot_chunk_end(chunk, slots); ++s) {
      ++chunk_starts[chunk * experts + ids[s]];
    }
  }
  const std::vector<int64_t> counts = count_slots(ids_N, experts);
  for (int64_t e = 0; e < experts; ++e) {
    EXPECT_EQ(starts_of_counts(chunk_starts.data() + e, experts, slot_chunks(slots)), counts[e]);
  }
  SlotTable table;
  table.target = at::full({slots * copies}, -999, at::kLong);
  table.returned = at::full({slots * copies}, -999, at::kLong);
  for (int64_t chunk = 0; chunk < slot_chunks(slots); ++chunk) {
    std::vector<int> seen(experts);
    const int64_t end = slot_chunk_end(chunk, slots);
    for (int64_t first = slot_chunk_begin(chunk); first < end; first += kLanes) {
      const int lanes = static_cast<int>(std::min(kLanes, end - first));
      std::vector<unsigned> same(experts);  // of each expert, the lanes that have it
      for (int lane = 0; lane < lanes; ++lane) same[ids[first + lane]] |= 1u << lane;
      for (int lane = 0; lane < lanes; ++lane) {
        const int64_t s = first + lane, e = ids[s];
        const int64_t position = chunk_starts[chunk * experts + e] + seen[e] + lanes_before(same[e], lane);
        index_slot(s, position, copies, &starts[e * copies], table.target.data_ptr<int64_t>(),
                   table.returned.data_ptr<int64_t>());
      }
      for (int64_t e = 0; e < experts; ++e) seen[e] += count_lanes(same[e]);
    }
  }
  return table;
}

TEST(Permute, SlotsGetTheSameRowsChunkByChunk) {
  at::manual_seed(4);
  const int64_t copies = 2;
  for (const int64_t slots : {int64_t{0}, int64_t{1}, kSlotChunk, 3 * kSlotChunk + 7}) {
    for (const int64_t experts : {1, 5, 300}) {
      const at::Tensor ids = at::randint(experts, {slots}, at::kLong);
      std::vector<RowStart> starts;
      for (int64_t i = 0; i < experts * copies; ++i) {
        starts.push_back({i % 3 == 0 ? stays_at(10000 * i) : 10000 * i, 7000 * i});
      }
      SlotTable whole;
      whole.copies = copies;
      index_slots(ids, starts, whole);
      const SlotTable by_chunks = index_by_chunks(ids, starts, copies);
      EXPECT_TRUE(at::equal(by_chunks.target, whole.target)) << slots << " slots of " << experts;
      EXPECT_TRUE(at::equal(by_chunks.returned, whole.returned)) << slots << " slots of " << experts;
    }
  }
}

TEST(Permute, SegmentsGoAndComeBack) {
  const at::Tensor from = at::randn({7, 3});
  const std::vector<RowSegment> segments{{0, 4, 2}, {2, 0, 1}, {3, 1, 3}, {6, 6, 1}};
  at::Tensor to = at::empty({7, 3});
  copy_segments(from, to, segments);
  EXPECT_TRUE(at::equal(to, from.index_select(0, at::tensor({2, 3, 4, 5, 0, 1, 6}, at::kLong))));
  at::Tensor back = at::empty({7, 3});
  copy_segments_reversed(to, back, segments);
  EXPECT_TRUE(at::equal(back, from));
}

}  // namespace
}  // namespace switchyard
