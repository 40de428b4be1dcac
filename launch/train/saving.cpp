#include "launch/train/saving.h"

#include <optional>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include "launch/config/binder.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/checkpoint_writer.h"
#include "runtime/comm/agreement.h"
#include "runtime/telemetry/in_span.h"

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

absl::Status restore(Job& job, Checkpoint& checkpoint, Console* console) {
  std::optional<RunLayout> saved_on;
  const auto read = [&]() -> absl::Status {
    SY_ASSIGN_OR_RETURN(RunState state, parse_run_state(checkpoint.run_state()));
    SY_RETURN_IF_ERROR(check_same_run(job, state));
    SY_RETURN_IF_ERROR(checkpoint.read(tensors_of(job, /*whole_buffers=*/true)));
    saved_on = std::exchange(state.layout, job.state.layout);
    state.config = job.state.config;  // what was overridden holds from here on
    job.state = std::move(state);
    return absl::OkStatus();
  };
  SY_RETURN_IF_ERROR(agree(job.mesh.world(), annotate(read(), checkpoint.path().string())));
  if (console && saved_on && job.state.layout && saved_on != job.state.layout) {
    console->line(absl::StrCat("saved by ", describe(*saved_on), ", goes on with ", describe(*job.state.layout),
                               ": results agree to rounding, not to the bit"));
  }
  job.optimizer->set_updates(job.state.updates);
  return job.optimizer->gather_values();
}

// Under checkpoint.resume=auto.
absl::StatusOr<std::string> restore_newest(Job& job, Console* console) {
  Communicator& world = job.mesh.world();
  absl::Status damage;  // of the newer ones
  for (int64_t before = kAnyStep;;) {
    SY_ASSIGN_OR_RETURN(const LatestCheckpoint latest,
                        agree(world, find_latest(checkpoints_folder(job.config), world, before)));
    for (const std::string& line : latest.skipped) {
      if (console) console->line(absl::StrCat("warning: skipped ", line));
    }
    if (!latest.checkpoint) {
      if (damage.ok()) return std::string();
      return damage;
    }
    const absl::Status status = restore(job, *latest.checkpoint, console);
    if (status.ok()) return latest.checkpoint->path().string();
    if (error_category(status) != ErrorCategory::kBadData) return status;
    if (console) console->line(absl::StrCat("warning: skipped ", std::string(status.message())));
    damage = status;
    before = latest.checkpoint->step();
  }
}

}  // namespace

std::string checkpoints_folder(const RunConfig& config) {
  return config.run.dir + "/checkpoints";
}

absl::StatusOr<std::string> restore_latest(Job& job, const std::string& resume, Console* console) {
  if (resume == "never") return std::string();
  if (resume == "auto") return restore_newest(job, console);
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, agree(job.mesh.world(), Checkpoint::open(resume)));
  SY_RETURN_IF_ERROR(restore(job, *checkpoint, console));
  return resume;
}

absl::Status restore_model(Job& job, Checkpoint& checkpoint) {
  std::vector<TensorPart> parts = tensors_of(job, /*whole_buffers=*/true);
  std::erase_if(parts, [](const TensorPart& part) { return absl::StartsWith(part.name, "optimizer."); });
  SY_RETURN_IF_ERROR(agree(job.mesh.world(), annotate(checkpoint.read(parts), checkpoint.path().string())));
  return job.optimizer->gather_values();
}

absl::Status open_writer(Job& job) {
  Communicator& world = job.mesh.world();
  SY_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> control, world.split(0, world.rank(), "world/checkpoint"));
  const CheckpointConfig& config = job.config.checkpoint;
  job.writer = std::make_unique<CheckpointWriter>(checkpoints_folder(job.config), std::move(control),
                                                  config.async ? config.in_flight : 0);
  return absl::OkStatus();
}

void save(Job& job) {
  const CheckpointConfig& config = job.config.checkpoint;
  WriteOptions options{.keep = config.keep, .keep_every = config.keep_every, .read_back = config.verify == "always"};
  // After a skipped step the parameters may be what made it fail: they must not push out an older checkpoint.
  if (job.state.skipped_in_row > 0) options.keep = 0;
  if (job.config.model.tie_embeddings) options.aliases = {{"head", "embedding"}};
  in_span("checkpoint", [&] {
    job.writer->save(job.state.step, tensors_of(job, /*whole_buffers=*/job.mesh.world().rank() == 0),
                     to_json(job.state), options);
  });
}

}  // namespace switchyard
