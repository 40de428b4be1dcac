#include "launch/train/saving.h"

#include <absl/strings/str_cat.h>

#include "launch/config/binder.h"
#include "parallel/checkpoint/write_checkpoint.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

absl::Status check_same_run(const Job& job, const RunState& saved) {
  RunConfig config;
  SY_RETURN_IF_ERROR(bind_text(schema_of(config), saved.config, "the saved config", {}));
  SY_RETURN_IF_ERROR(compare_for_resume(config, job.config));
  if (saved.data != job.state.data) {
    return error(ErrorCategory::kBadConfig,
                 absl::StrCat("the data under data.train=", job.config.data.train,
                              " is not what the checkpoint was trained on; prepare the old data again, or start a new "
                              "run in another run.dir"));
  }
  if (saved.vocabulary == job.vocabulary) return absl::OkStatus();
  return error(ErrorCategory::kBadConfig,
               absl::StrCat("the checkpoint has a vocabulary of ", saved.vocabulary, " tokens, this run of ",
                            job.vocabulary, "; use the tokenizer that it was trained with"));
}

// Parameters, optimizer state and what the routers keep. All ranks hold routers' buffers whole; a checkpoint takes them
// from one.
std::vector<TensorPart> tensors_of(const Job& job, bool whole_buffers) {
  std::vector<TensorPart> parts = job.optimizer->state();
  for (const auto& [layer, moe] : job.model->moe_layers()) {
    for (const RouterBuffer& buffer : moe->router().buffers()) {
      const std::vector<int64_t> shape = buffer.value.sizes().vec();
      const std::vector<int64_t> none(shape.size(), 0);
      parts.push_back({.name = buffer.name,
                       .dtype = buffer.value.scalar_type(),
                       .shape = shape,
                       .box = whole_buffers ? Box::whole(shape) : Box{none, none},
                       .data = whole_buffers ? buffer.value : at::Tensor()});
    }
  }
  return parts;
}

}  // namespace

std::string checkpoints_folder(const RunConfig& config) {
  return config.run.dir + "/checkpoints";
}

absl::StatusOr<std::unique_ptr<Checkpoint>> find_checkpoint(const RunConfig& config, const std::string& resume,
                                                            Communicator& world, Console* console) {
  if (resume == "never") return std::unique_ptr<Checkpoint>();
  if (resume != "auto") return agree(world, Checkpoint::open(resume));
  SY_ASSIGN_OR_RETURN(LatestCheckpoint latest, find_latest(checkpoints_folder(config), world));
  for (const std::string& line : latest.skipped) {
    if (console) console->line(absl::StrCat("warning: skipped ", line));
  }
  return std::move(latest.checkpoint);
}

absl::Status save(const Job& job) {
  ScopedSpan span(job.recorder, "checkpoint");
  return write_checkpoint(checkpoints_folder(job.config), job.state.step,
                          tensors_of(job, /*whole_buffers=*/job.mesh.world().rank() == 0), to_json(job.state),
                          job.mesh.world(), {.keep = job.config.checkpoint.keep});
}

absl::Status restore(Job& job, Checkpoint& checkpoint) {
  const auto read = [&]() -> absl::Status {
    SY_ASSIGN_OR_RETURN(RunState state, parse_run_state(checkpoint.run_state()));
    SY_RETURN_IF_ERROR(check_same_run(job, state));
    SY_RETURN_IF_ERROR(checkpoint.read(tensors_of(job, /*whole_buffers=*/true)));
    state.config = job.state.config;  // what was overridden holds from here on
    job.state = std::move(state);
    return absl::OkStatus();
  };
  SY_RETURN_IF_ERROR(agree(job.mesh.world(), annotate(read(), checkpoint.path().string())));
  job.optimizer->set_updates(job.state.updates);
  return job.optimizer->gather_values();
}

}  // namespace switchyard
