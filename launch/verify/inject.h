// Bugs of the kinds that distributed training is known for, planted in what really runs: as wrappers that are put
// around its parts while it is built. Nothing in training asks whether one is there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include <absl/status/statusor.h>

#include "launch/config/run_config.h"
#include "launch/data/sequence_source.h"
#include "launch/train/assemble.h"
#include "launch/train/job.h"
#include "launch/verify/change_count.h"
#include "launch/verify/faulty_wire.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

// What is wrapped around a job's parts; empty: nothing.
struct Injection {
  std::shared_ptr<WireFault> wire;
  Decorators model;
  std::function<std::unique_ptr<SequenceSource>(std::unique_ptr<SequenceSource>)> batches;
  std::function<void(Job&)> initial = nullptr;                             // after the initial values were drawn
  std::shared_ptr<ChangeCount> changes = std::make_shared<ChangeCount>();  // of a listed bug
};

// Where a bug is to be planted.
struct InjectionSite {
  const RunConfig& config;
  MeshShape shape;
  int rank;       // of the world
  int64_t steps;  // that will be verified

  // Coordinates of this rank.
  int data() const { return rank / shape.tensor; }
  int tensor() const { return rank % shape.tensor; }
  int expert_tensor() const { return rank % shape.expert_tensor; }
  bool is_last() const { return rank + 1 == shape.ranks(); }
};

struct BugKind {
  const char* name;
  const char* about;  // a line
  const char* needs;  // what the layout, the model or the call must have; "" for nothing
  bool (*applies)(const InjectionSite&);
  void (*plant)(const InjectionSite&, Injection&);
};

std::span<const BugKind> bug_kinds();
// kUsage for an unknown kind and for one that does not apply, with what it needs.
absl::StatusOr<Injection> inject(const std::string& kind, const InjectionSite& site);
// A line a kind.
std::string list_bug_kinds();

}  // namespace switchyard
