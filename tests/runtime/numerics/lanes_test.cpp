#include "runtime/numerics/lanes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <c10/util/BFloat16.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using c10::BFloat16;

// Runs the kernel with both numbers of lanes, which every processor computes with, and in wide registers if it has
// them.
template <typename Kernel>
void in_each_registers(const Kernel& kernel) {
  {
    SCOPED_TRACE("narrow registers");
    kernel(NarrowRegisters());
  }
  {
    SCOPED_TRACE("lanes of wide registers, in narrow ones");
    kernel(WideRegisters());
  }
  if (has_wide_registers()) {
    SCOPED_TRACE("wide registers");
    in_wide_registers(kernel);
  }
}

// to = f(from), by lanes; their number must be a multiple of the lanes'.
template <typename L, typename From, typename To, typename F>
SY_KERNEL void apply(const std::vector<From>& from, std::vector<To>& to, const F& f) {
  to.resize(from.size());
  for (size_t i = 0; i < from.size(); i += kLanes<L>) {
    L lanes;
    load(from.data() + i, lanes);
    store(to.data() + i, f(lanes));
  }
}
constexpr auto kSame = [](const auto& lanes) __attribute__((always_inline)) {
  return lanes;
};
constexpr auto kExp = [](const auto& lanes) __attribute__((always_inline)) {
  return exp(lanes);
};

std::vector<BFloat16> every_bf16() {
  std::vector<BFloat16> all;
  for (uint32_t bits = 0; bits < 1U << 16; ++bits) {
    all.emplace_back(static_cast<unsigned short>(bits), BFloat16::from_bits());
  }
  return all;
}

TEST(Lanes, RegistersAreTheProcessors) {
  with_wide_registers([&](auto registers) __attribute__((always_inline)) {
    EXPECT_EQ((std::is_same_v<decltype(registers), WideRegisters>), has_wide_registers());
  });
}

TEST(Lanes, EveryBf16ComesBack) {
  const std::vector<BFloat16> all = every_bf16();
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<float, decltype(registers)>;
    std::vector<float> loaded;
    std::vector<BFloat16> stored;
    apply<L>(all, loaded, kSame);
    apply<L>(all, stored, kSame);
    for (size_t i = 0; i < all.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(loaded[i]), static_cast<uint32_t>(i) << 16);
      ASSERT_EQ(stored[i].x, std::isnan(loaded[i]) ? i | 0x40U : i);
    }
  });
}

TEST(Lanes, Bf16IsRoundedToNearest) {
  std::vector<float> numbers;
  for (uint32_t high = 0; high < 1U << 16; ++high) {
    for (uint32_t low : {0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU, 0x4321U, 0xABCDU, 0x0000U}) {
      numbers.push_back(std::bit_cast<float>(high << 16 | low));
    }
  }
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<float, decltype(registers)>;
    std::vector<BFloat16> stored;
    apply<L>(numbers, stored, kSame);
    for (size_t i = 0; i < numbers.size(); ++i) {
      if (std::isnan(numbers[i])) {
        ASSERT_TRUE(std::isnan(static_cast<float>(stored[i]))) << std::bit_cast<uint32_t>(numbers[i]);
      } else {
        ASSERT_EQ(stored[i].x, BFloat16(numbers[i]).x) << numbers[i];
      }
    }
  });
}

TEST(Lanes, ExpIsWithinTwoUlp) {
  constexpr int kNumbers = 1 << 18;
  std::vector<float> numbers;
  for (int i = 0; i < kNumbers; ++i) numbers.push_back(static_cast<float>(-87 + 175.0 * i / (kNumbers - 1)));
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<float, decltype(registers)>;
    std::vector<float> results;
    apply<L>(numbers, results, kExp);
    for (int i = 0; i < kNumbers; ++i) {
      const double exact = std::exp(static_cast<double>(numbers[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
      ASSERT_LE(std::abs(results[i] - exact), 2 * ulp) << numbers[i];
    }
  });
}

TEST(Lanes, ExpOfWhatIsFarOut) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> numbers{0.0f, -0.0f, -87.01f, -1000.0f, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
  numbers.resize(16);
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<float, decltype(registers)>;
    std::vector<float> results;
    apply<L>(numbers, results, kExp);
    EXPECT_EQ(results[0], 1.0f);
    EXPECT_EQ(results[1], 1.0f);
    for (int i : {2, 3, 4}) EXPECT_EQ(results[i], 0.0f) << numbers[i];
    EXPECT_TRUE(std::isnan(results[5]));
  });
}

TEST(Lanes, ExpOfDoublesIsTheLibrarys) {
  const std::vector<double> numbers{-700.5, -1.0, 0.0, 1.0, 3.25, 88.0, 700.0, -0.125};
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<double, decltype(registers)>;
    std::vector<double> results;
    apply<L>(numbers, results, kExp);
    for (size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(results[i], std::exp(numbers[i]));
  });
}

// They cancel, so that the orders one might expect give other bits.
template <typename Number>
std::vector<Number> numbers_to_sum(int64_t count) {
  std::vector<Number> numbers;
  for (int i = 0; i < count; ++i) {
    numbers.push_back(static_cast<Number>((i % 2 == 0 ? 1 : -1) * (i % 3 + 1) * std::sqrt(2.0 + 3 * i)));
  }
  return numbers;
}

TEST(Lanes, FloatsAreSummedInTheirOrder) {
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<float, decltype(registers)>;
    std::vector<float> v = numbers_to_sum<float>(kLanes<L>);
    L lanes;
    load(v.data(), lanes);
    for (int64_t half = kLanes<L> / 2; half >= 4; half /= 2) {
      for (int64_t i = 0; i < half; ++i) v[i] += v[i + half];
    }
    EXPECT_EQ(sum(lanes), (v[0] + v[1]) + (v[2] + v[3]));
  });
}

TEST(Lanes, DoublesAreSummedInTheirOrder) {
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using L = Lanes<double, decltype(registers)>;
    const std::vector<double> v = numbers_to_sum<double>(kLanes<L>);
    L lanes;
    load(v.data(), lanes);
    EXPECT_EQ(sum(lanes), (v[0] + v[2]) + (v[1] + v[3]));
  });
}

// The extreme number in every lane in turn.
template <typename L>
SY_KERNEL void expect_extremes() {
  using Number = NumberOf<L>;
  for (int64_t at = 0; at < kLanes<L>; ++at) {
    L high, low;
    for (int64_t i = 0; i < kLanes<L>; ++i) {
      high[i] = i == at ? Number(3) : static_cast<Number>(-i);
      low[i] = i == at ? Number(-3) : static_cast<Number>(i);
    }
    EXPECT_EQ(maximum(high), Number(3)) << at;
    EXPECT_EQ(minimum(low), Number(-3)) << at;
    EXPECT_EQ(maximum(high, low)[at], Number(3)) << at;
    EXPECT_EQ(minimum(high, low)[at], Number(-3)) << at;
  }
}

TEST(Lanes, MaximumAndMinimum) {
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using Floats = Lanes<float, decltype(registers)>;
    expect_extremes<Floats>();
    expect_extremes<Lanes<double, decltype(registers)>>();
    expect_extremes<Vector<int32_t, sizeof(Floats)>>();
  });
}

template <typename L, typename T>
SY_KERNEL void expect_tails() {
  constexpr int64_t kRoom = 2 * kLanes<L>;
  constexpr float kUntouched = -7.0f;
  std::array<T, kRoom> source, target;
  for (int64_t i = 0; i < kRoom; ++i) source[i] = static_cast<T>(static_cast<float>(i + 1));
  for (int64_t count = 0; count <= kLanes<L> + 1; ++count) {
    const int64_t taken = std::min(count, kLanes<L>);
    target.fill(static_cast<T>(kUntouched));
    L lanes, filled;
    load_some(source.data(), count, lanes);
    store_some(target.data(), count, lanes);
    load_first(source.data(), taken, static_cast<T>(2.5f), filled);
    for (int64_t i = 0; i < kRoom; ++i) {
      EXPECT_EQ(static_cast<float>(target[i]), i < taken ? static_cast<float>(i + 1) : kUntouched) << count;
    }
    for (int64_t i = 0; i < kLanes<L>; ++i) {
      EXPECT_EQ(static_cast<float>(lanes[i]), i < taken ? static_cast<float>(i + 1) : 0.0f) << count;
      EXPECT_EQ(static_cast<float>(filled[i]), i < taken ? static_cast<float>(i + 1) : 2.5f) << count;
    }
  }
}

TEST(Lanes, TailsLeaveTheRestAlone) {
  in_each_registers([&](auto registers) __attribute__((always_inline)) {
    using Floats = Lanes<float, decltype(registers)>;
    expect_tails<Floats, float>();
    expect_tails<Floats, BFloat16>();
    expect_tails<Lanes<double, decltype(registers)>, double>();
  });
}

}  // namespace
}  // namespace switchyard
