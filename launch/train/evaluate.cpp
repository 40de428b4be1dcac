#include "launch/train/evaluate.h"

#include <cmath>
#include <iostream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <absl/strings/str_format.h>

#include "launch/config/document.h"
#include "launch/start/devices.h"
#include "launch/start/own_build.h"
#include "launch/start/start_run.h"
#include "launch/train/create_mesh.h"
#include "launch/train/saving.h"
#include "launch/train/validation.h"
#include "runtime/comm/agreement.h"

namespace switchyard {

absl::Status evaluate(const RunConfig& config, Communicator& world) {
  SY_RETURN_IF_ERROR(check_peers(world, {.build = own_build(), .config_text = dump_yaml(config)}).status());
  if (config.data.validation.empty()) {
    return agree(world,
                 error(ErrorCategory::kBadConfig, "data.validation is not set: there is nothing to evaluate on"));
  }
  if (config.run.threads > 0) at::set_num_threads(config.run.threads);
  SY_ASSIGN_OR_RETURN(const int64_t vocabulary, agree(world, resolve_vocabulary(config)));
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  SY_ASSIGN_OR_RETURN(const ChosenDevice device, choose_rank_device(config.run.device, world));
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> wires,
                      connect_devices(device, world, absl::Seconds(config.communication.timeout)));
  std::optional<Console> console;
  if (world.rank() == 0) console.emplace(std::cout, false, 0, 0);
  const auto tell = [&console](const std::string& line) {
    if (console) console->line(line);
  };
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh,
                      create_mesh(config, shape, device.device, wires ? *wires : world, tell));
  Recorder recorder;
  const std::unique_ptr<Job> job = build_job(config, vocabulary, *mesh, device.device, recorder);
  SY_RETURN_IF_ERROR(agree(world, open_data(*job)));

  const std::string resume = config.checkpoint.resume == "never" ? "auto" : config.checkpoint.resume;
  SY_ASSIGN_OR_RETURN(const std::string checkpoint, restore_latest(*job, resume, console ? &*console : nullptr));
  if (checkpoint.empty()) {
    return agree(world, error(ErrorCategory::kMissingInput,
                              absl::StrCat("no checkpoint in ", checkpoints_folder(config), "; train first")));
  }
  SY_ASSIGN_OR_RETURN(const Validation validation, validate(*job));
  const std::string& where = validation.moe.not_finite;
  if (!where.empty()) tell("warning: " + where);
  tell(absl::StrFormat("step=%d validation_loss=%.6f perplexity=%.3f", job->state.step, validation.loss,
                       std::exp(validation.loss)));
  return absl::OkStatus();
}

}  // namespace switchyard
