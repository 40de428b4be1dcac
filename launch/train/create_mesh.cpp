#include "launch/train/create_mesh.h"

#include <algorithm>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include "parallel/dispatch/make_dispatcher.h"
#include "parallel/dispatch/time_dispatchers.h"
#include "runtime/base/status.h"

namespace switchyard {

absl::StatusOr<std::unique_ptr<Mesh>> create_mesh(const RunConfig& config, const MeshShape& shape, c10::Device device,
                                                  Communicator& world,
                                                  const std::function<void(const std::string&)>& tell) {
  SY_ASSIGN_OR_RETURN(std::unique_ptr<Mesh> mesh, Mesh::create(world, shape));
  SY_RETURN_IF_ERROR(check_dispatcher(shape.dispatcher, *mesh));
  const MoeConfig& moe = config.model.moe;
  if (config.parallel.dispatcher != "auto" || moe.experts == 0 || shape.expert * shape.expert_tensor == 1) return mesh;

  const auto options = at::TensorOptions(compute_dtype(config.train.compute_precision())).device(device);
  SY_ASSIGN_OR_RETURN(const auto milliseconds, time_dispatchers({.width = config.model.width,
                                                                 .experts = moe.experts,
                                                                 .experts_per_token = moe.experts_per_token,
                                                                 .options = options},
                                                                *mesh));
  const auto fastest = std::min_element(milliseconds.begin(), milliseconds.end(),
                                        [](const auto& a, const auto& b) { return a.second < b.second; });
  std::vector<std::string> times;
  for (const auto& [kind, ms] : milliseconds) times.push_back(absl::StrFormat("%s %.2f ms", dispatcher_name(kind), ms));
  if (tell) {
    tell(absl::StrCat("dispatcher  ", dispatcher_name(fastest->first),
                      ", the fastest in a trial: ", absl::StrJoin(times, ", ")));
  }
  MeshShape settled = shape;
  settled.dispatcher = fastest->first;
  return Mesh::create(world, settled);
}

}  // namespace switchyard
