#include "launch/train/create_mesh.h"

#include <algorithm>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "launch/train/choose_chunks.h"
#include "launch/train/device_support.h"
#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/dispatch/time_dispatchers.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Tell = std::function<void(const std::string&)>;

absl::StatusOr<DispatcherKind> fastest_dispatcher(const RunConfig& config, const Mesh& mesh, c10::Device device,
                                                  const Tell& tell) {
  const auto options = at::TensorOptions(compute_dtype(config.train.compute_precision())).device(device);
  SY_ASSIGN_OR_RETURN(const auto milliseconds,
                      time_dispatchers({.width = config.model.width,
                                        .experts = config.model.moe.experts,
                                        .experts_per_token = config.model.moe.experts_per_token,
                                        .options = options},
                                       mesh));
  const auto fastest = std::min_element(milliseconds.begin(), milliseconds.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<std::string> times;
  for (const auto& [kind, ms] : milliseconds) times.push_back(absl::StrFormat("%s %.2f ms", dispatcher_name(kind), ms));
  if (tell) {
    tell(absl::StrCat("dispatcher  ", dispatcher_name(fastest->first),
                      ", the fastest in a trial: ", absl::StrJoin(times, ", ")));
  }
  return fastest->first;
}

}  // namespace

absl::StatusOr<MeshShape> resolve_mesh(const RunConfig& config, int ranks) {
  return resolve_mesh(config.parallel, ranks, config.model.attention.heads, config.model.attention.kv_heads);
}

absl::Status share_memory(Mesh& mesh, const Tell& tell) {
  const absl::Status shared = mesh.share_memory();
  if (shared.ok() || error_category(shared) != ErrorCategory::kUnavailable) return shared;
  if (tell) tell(absl::StrCat("dispatch    by messages within hosts too: ", shared.message()));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Mesh>> create_mesh(const RunConfig& config, const MeshShape& shape, c10::Device device,
                                                  Communicator& world, const Tell& tell) {
  SY_RETURN_IF_ERROR(check_device_support(config.model.moe, device));
  SY_ASSIGN_OR_RETURN(std::unique_ptr<Mesh> mesh, Mesh::create(world, shape));
  SY_RETURN_IF_ERROR(check_dispatcher(shape.dispatcher, *mesh));
  const bool uses_memory = shape.dispatcher != DispatcherKind::kDeduplicated;
  if (config.parallel.shared_memory && uses_memory && config.model.moe.experts > 0 && device.is_cpu()) {
    SY_RETURN_IF_ERROR(share_memory(*mesh, tell));
  }
  const bool by_trial = config.parallel.dispatcher == "auto", by_model = config.parallel.dispatch_chunks == 0;
  if (!(by_trial || by_model) || config.model.moe.experts == 0 || shape.expert * shape.expert_tensor == 1) return mesh;

  DispatcherKind kind = shape.dispatcher;
  int chunks = shape.dispatch_chunks;
  if (by_trial) {
    SY_ASSIGN_OR_RETURN(kind, fastest_dispatcher(config, *mesh, device, tell));
  }
  if (by_model) {
    SY_ASSIGN_OR_RETURN(chunks, choose_chunks(config, *mesh, kind, device));
    if (tell) tell(absl::StrCat("chunks      ", chunks, ", as rows and experts take time here"));
  }
  mesh->settle_dispatch(kind, chunks);
  return mesh;
}

}  // namespace switchyard
