#include "launch/train/create_mesh.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "launch/train/fit_chunks.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/dispatch/slot_rows.h"
#include "parallel/dispatch/time_dispatchers.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Tell = std::function<void(const std::string&)>;

absl::StatusOr<DispatcherKind> fastest_dispatcher(const RunConfig& config, const Mesh& mesh, c10::Device device,
                                                  const Tell& tell) {
  constexpr int64_t kMostTokens = 8192;  // by then latencies no longer matter, and the trial is to stay small
  const int64_t tokens = config.part_tokens() / mesh.world().size();
  const auto options = at::TensorOptions(compute_dtype(config.train.compute_precision())).device(device);
  SY_ASSIGN_OR_RETURN(const auto milliseconds,
                      time_dispatchers({.tokens = std::clamp<int64_t>(tokens, 1, kMostTokens),
                                        .width = config.model.width,
                                        .experts = config.model.moe.experts,
                                        .experts_per_token = config.model.moe.experts_per_token,
                                        .options = options},
                                       mesh));
  const DispatcherKind fastest = fastest_of(milliseconds);
  std::vector<std::string> times;
  for (const auto& [kind, ms] : milliseconds) times.push_back(absl::StrFormat("%s %.2f ms", dispatcher_name(kind), ms));
  if (tell) {
    tell(absl::StrCat("dispatcher  ", dispatcher_name(fastest),
                      ", the fastest in a trial: ", absl::StrJoin(times, ", ")));
  }
  return fastest;
}

// Lets the ranks of each host share memory, for dispatchers that write there. Empty, or why rows go by messages: the
// system does not allow it.
absl::StatusOr<std::string> share_memory(Mesh& mesh) {
  if (mesh.shape().dispatcher == DispatcherKind::kDeduplicated) return "";
  const absl::Status shared = mesh.share_memory();
  if (shared.ok()) return "";
  if (error_category(shared) != ErrorCategory::kUnavailable) return shared;
  return absl::StrCat("by messages within hosts too: ", shared.message());
}

}  // namespace

absl::StatusOr<MeshShape> resolve_mesh(const RunConfig& config, int ranks) {
  return resolve_mesh(config.parallel, ranks, config.model.attention.heads, config.model.attention.kv_heads);
}

absl::StatusOr<std::unique_ptr<Mesh>> create_mesh(const RunConfig& config, const MeshShape& shape, c10::Device device,
                                                  Communicator& world, const Tell& tell, std::string* by_messages) {
  if (!device.is_cpu() && config.model.moe.experts > kMostDeviceExperts) {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("model.moe.experts=", config.model.moe.experts, ": on a device at most ",
                              kMostDeviceExperts, ", whose slots one block of threads can count"));
  }
  SY_ASSIGN_OR_RETURN(std::unique_ptr<Mesh> mesh, Mesh::create(world, shape));
  SY_RETURN_IF_ERROR(check_dispatcher(shape.dispatcher, *mesh));
  if (config.parallel.shared_memory && config.model.moe.experts > 0 && device.is_cpu()) {
    SY_ASSIGN_OR_RETURN(const std::string reason, share_memory(*mesh));
    if (tell && !reason.empty()) tell(absl::StrCat("dispatch    ", reason));
    if (by_messages) *by_messages = reason;
  }
  const bool by_trial = config.parallel.dispatcher == "auto", by_model = config.parallel.dispatch_chunks == 0;
  if (!(by_trial || by_model) || config.model.moe.experts == 0 || shape.expert * shape.expert_tensor == 1) return mesh;

  DispatcherKind kind = shape.dispatcher;
  Mesh::ChunksOf chunks = [fixed = shape.dispatch_chunks](int64_t) { return fixed; };
  if (by_trial) {
    SY_ASSIGN_OR_RETURN(kind, fastest_dispatcher(config, *mesh, device, tell));
  }
  if (by_model) {
    SY_ASSIGN_OR_RETURN(const std::optional<ChunkModel> model, fit_chunks(config, *mesh, kind, device));
    chunks = [model](int64_t tokens) { return model ? model->chunks(tokens) : 1; };
  }
  mesh->settle_dispatch(kind, std::move(chunks), config.part_tokens());
  if (by_model && tell) {
    tell(absl::StrCat("chunks      ", mesh->shape().dispatch_chunks, ", as rows and experts take time here"));
  }
  return mesh;
}

}  // namespace switchyard
