// What `switchyard bench all-to-all` is asked to measure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

// The rows of an MoE layer whose experts are spread over the ranks, and whose tokens choose them at random.
struct RoutedRows {
  int64_t tokens = 4096;  // a rank
  int64_t experts = 8, experts_per_token = 2;
  double skew = 0;  // an expert is chosen with probability ~ 1/i^skew for the i-th
  // Of parallel.dispatcher, but auto: what it does with the rows is timed. Empty: the exchange alone, one way.
  std::string dispatcher = "";
  bool shared_memory = true;  // as parallel.shared_memory, of a dispatcher
};

struct AllToAllBenchOptions {
  int64_t width = 512;             // of a row
  std::string precision = "bf16";  // bf16, fp32, fp64
  // Whole and in chunks of the tokens. None: as many rows to each other rank, from one row on to kMostBytes a rank.
  std::optional<RoutedRows> routed = std::nullopt;
  int64_t repeats = 11;
  int64_t seed = 1234;

  bool by_dispatcher() const { return routed && !routed->dispatcher.empty(); }
};

}  // namespace switchyard
