// The two sides of a verification: the layout, and what it is held to.
#pragma once

#include <memory>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/data/batch_loader.h"
#include "launch/train/job.h"
#include "launch/verify/bounds.h"
#include "launch/verify/inject.h"
#include "launch/verify/reference.h"
#include "launch/verify/router_log.h"
#include "launch/verify/verify.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// The layout that is verified, with a bug planted where one is asked for.
struct Layout {
  MeshShape shape;
  Injection injection;
  RouterLog routers;                   // of the job's model
  std::unique_ptr<Communicator> wire;  // null: the world itself
  std::unique_ptr<Mesh> mesh;
  Recorder recorder;
  std::unique_ptr<Job> job;
};
// Builds and initialises it. Collective over `world`; both arguments outlive it.
absl::Status build_layout(const VerifyOptions& options, Communicator& world, Layout& layout);

// What a second layout stands on.
struct OtherLayout {
  RunConfig config;
  std::unique_ptr<Mesh> mesh;
};
// What every data rank reads, as it should be; `data`: whose share. Errors: those of the data.
absl::StatusOr<std::unique_ptr<BatchLoader>> open_batches(const VerifyOptions& options, DataRank data);

// What bounds follow from. `both_round`: as Bounds'.
Bounds bounds_of(const VerifyOptions& options, bool both_round);

// The plain reference where rank 0 has the memory for it, else a second layout, which `other` then holds. Collective
// over `world`; all arguments outlive it.
absl::StatusOr<std::unique_ptr<Reference>> make_reference(const VerifyOptions& options, const Layout& layout,
                                                          Communicator& world, OtherLayout& other);

}  // namespace switchyard
