// Verification of a small model on ranks that are threads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/verify/verify.h"

namespace switchyard {

struct SmallVerification {
  // Grouped heads, an odd vocabulary, a dense and a mixture layer with shared experts, experts that divide nothing,
  // two parts of three sequences.
  SmallVerification();

  RunConfig config;
  int64_t vocabulary = 61;
  int64_t steps = 2;
  std::string inject = {};
  std::vector<int> nodes = {};  // the host that each rank pretends to be on; empty: one for all
  int64_t memory_bytes = 0;
  std::function<void(Injection&, int rank)> tamper = nullptr;

  // With what the kind asks for beside.
  void use_router(const std::string& kind);

  // The same result on all ranks, or the test fails.
  absl::StatusOr<VerifyResult> run(int ranks) const;
};

// Ranks and the axes that they are put to.
struct TestLayout {
  int ranks, tensor, expert, expert_tensor;
};
std::string name_of(const TestLayout& layout);
ParallelConfig parallel_of(const TestLayout& layout);
// Data, tensor, expert and expert tensor ranks and their products; ranks without tokens or experts, shared key and
// value heads.
std::vector<TestLayout> verified_layouts();

// Every router that configs know.
std::vector<std::string> router_kinds();

// The rows that fail, for a message.
std::string failures_of(const VerifyResult& result);

}  // namespace switchyard
