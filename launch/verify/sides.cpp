#include "launch/verify/sides.h"

#include <ATen/ATen.h>
#include <absl/strings/str_format.h>

#include "launch/train/create_mesh.h"
#include "launch/train/estimate.h"
#include "launch/verify/plain_reference.h"
#include "launch/verify/reference_bytes.h"
#include "launch/verify/stand_in.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/device/memory.h"

namespace switchyard {
namespace {

absl::StatusOr<std::unique_ptr<BatchLoader>> open_spoiled(const VerifyOptions& options, DataRank data,
                                                          const Injection& injection) {
  SY_ASSIGN_OR_RETURN(auto source, open_tokens(options.tokens, options.config, options.vocabulary));
  if (injection.batches) source = injection.batches(std::move(source));
  const TrainConfig& train = options.config.train;
  return std::make_unique<BatchLoader>(
      std::move(source),
      BatchLoader::Options{.global_batch = train.global_batch, .accumulation = train.accumulation, .data = data});
}

DataRank data_rank(const Mesh& mesh) {
  return {.ranks = mesh.size(Axis::kData), .rank = mesh.index(Axis::kData)};
}

// Whether rank 0's host can hold the reference beside the jobs of its ranks, all of which have been built.
absl::StatusOr<bool> fits(const VerifyOptions& options, const Job& job, Communicator& world) {
  SY_RETURN_IF_ERROR(world.barrier().wait());
  const int64_t limit = options.memory_bytes > 0 ? options.memory_bytes : available_bytes();
  const int64_t needed = reference_bytes(options.config, options.vocabulary, estimate_memory(job).model_parameters);
  if (options.tell && limit > 0) {
    constexpr double kGiB = 1 << 30;
    options.tell(absl::StrFormat("memory      the reference takes about %.2f GiB; free: %.2f",
                                 static_cast<double>(needed) / kGiB, static_cast<double>(limit) / kGiB));
  }
  at::Tensor answer = at::full({1}, limit == 0 || needed <= limit, at::kLong);
  SY_RETURN_IF_ERROR(world.broadcast(answer, 0).wait());
  return answer.item<int64_t>() != 0;
}

// A second layout takes about what the first one does.
absl::Status check_room_for_stand_in(const Job& job, Communicator& world) {
  int64_t ranks_here = 0;
  for (int rank = 0; rank < world.size(); ++rank) ranks_here += world.node_of(rank) == world.node_of(world.rank());
  const int64_t available = available_bytes();
  if (available == 0 || estimate_memory(job).total() * ranks_here <= available) return absl::OkStatus();
  return error(ErrorCategory::kOutOfMemory,
               "neither the reference nor a second layout to stand in for it fits into memory; use --shrink");
}

}  // namespace

absl::StatusOr<std::unique_ptr<BatchLoader>> open_batches(const VerifyOptions& options, DataRank data) {
  return open_spoiled(options, data, {});
}

Bounds bounds_of(const VerifyOptions& options, bool both_round) {
  const RunConfig& config = options.config;
  return Bounds(config.model,
                {.vocabulary = options.vocabulary,
                 .sequence = config.data.sequence,
                 .tokens = config.train.global_batch * config.data.sequence},
                config.train.compute_precision(), both_round);
}

absl::Status build_layout(const VerifyOptions& options, Communicator& world, Layout& layout) {
  const RunConfig& config = options.config;
  SY_ASSIGN_OR_RETURN(layout.shape, agree(world, resolve_mesh(config, world.size())));
  if (!options.inject.empty()) {
    SY_ASSIGN_OR_RETURN(layout.injection,
                        agree(world, inject(options.inject, {config, layout.shape, world.rank(), options.steps})));
  }
  if (options.tamper) options.tamper(layout.injection);
  if (layout.injection.wire) layout.wire = faulty_wire(world, layout.injection.wire);
  SY_ASSIGN_OR_RETURN(layout.mesh,
                      create_mesh(config, layout.shape, c10::kCPU, layout.wire ? *layout.wire : world, options.tell));
  Decorators decorators = layout.injection.model;
  decorators.router = [&layout](std::unique_ptr<Router> router) {
    const auto& fault = layout.injection.model.router;
    return layout.routers.watch(fault ? fault(std::move(router)) : std::move(router));
  };
  layout.job = build_job(config, options.vocabulary, *layout.mesh, c10::kCPU, layout.recorder, decorators);
  SY_ASSIGN_OR_RETURN(layout.job->batches,
                      agree(world, open_spoiled(options, data_rank(*layout.mesh), layout.injection)));
  layout.job->optimizer->initialise_all(static_cast<uint64_t>(config.run.seed));
  if (layout.injection.initial) layout.injection.initial(*layout.job);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Reference>> make_reference(const VerifyOptions& options, const Layout& layout,
                                                          Communicator& world, OtherLayout& other) {
  SY_ASSIGN_OR_RETURN(const bool plain, fits(options, *layout.job, world));
  if (plain) {
    absl::StatusOr<std::unique_ptr<BatchLoader>> batches = nullptr;
    if (world.rank() == 0) batches = open_batches(options, {.ranks = 1, .rank = 0});
    SY_RETURN_IF_ERROR(agree(world, batches.status()));
    return std::make_unique<PlainReference>(options.config, options.vocabulary, *std::move(batches),
                                            bounds_of(options, false).forward(1), options.tell, world);
  }
  SY_RETURN_IF_ERROR(agree(world, check_room_for_stand_in(*layout.job, world)));
  other.config = options.config;
  SY_ASSIGN_OR_RETURN(other.config.parallel,
                      agree(world, other_layout(options.config.parallel, world.size(), options.config.model)));
  SY_ASSIGN_OR_RETURN(const MeshShape shape, resolve_mesh(other.config, world.size()));
  SY_ASSIGN_OR_RETURN(other.mesh, create_mesh(other.config, shape, c10::kCPU, world));
  SY_ASSIGN_OR_RETURN(auto batches, agree(world, open_batches(options, data_rank(*other.mesh))));
  return std::make_unique<StandIn>(other.config, options.vocabulary, std::move(batches), *other.mesh);
}

}  // namespace switchyard
