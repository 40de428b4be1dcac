#include "launch/bench/step_bench.h"

#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/bench/own_rows.h"
#include "launch/bench/step_products.h"
#include "launch/bench/step_split.h"
#include "launch/bench/time_split.h"
#include "launch/train/create_mesh.h"
#include "launch/train/flops.h"
#include "launch/train/job.h"
#include "launch/train/train_step.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/numerics/median.h"

namespace switchyard {
namespace {

// Failures are thrown: of the wire, of the data on the rank that met them, and on all ranks of a step that is skipped.
void step(Job& job) {
  const StepOutcome outcome = value_or_throw(train_step(job));
  if (!outcome.skipped) return;
  throw StatusError(error(ErrorCategory::kDiverged, absl::StrCat("step ", job.state.step,
                                                                 " was skipped: its loss or gradient is not finite; "
                                                                 "give a lower optimizer.lr")));
}

// The step's products, group by group.
class Floor {
 public:
  Floor(const std::vector<RepeatedProducts>& step, const at::TensorOptions& operands) {
    for (const auto& [products, times] : step) groups_.push_back({ProductsFloor(products, operands), times, {}});
    for (Group& group : groups_) group.products.run();
  }
  absl::Status measure(const BenchSite& site) {
    double own_ms = 0;
    for (Group& group : groups_) {
      SY_ASSIGN_OR_RETURN(const double ms, slowest_ms([&] { group.products.run(); }, site, own_ms));
      group.ms.push_back(ms);
    }
    return absl::OkStatus();
  }
  double ms() const {
    double sum = 0;
    for (const Group& group : groups_) sum += static_cast<double>(group.times) * median(group.ms);
    return sum;
  }

 private:
  struct Group {
    ProductsFloor products;
    int64_t times;
    std::vector<double> ms;
  };
  std::vector<Group> groups_;
};

absl::StatusOr<std::unique_ptr<Job>> start_job(const StepBenchOptions& options, const Mesh& mesh, c10::Device device,
                                               Recorder& recorder) {
  const RunConfig& config = options.config;
  std::unique_ptr<Job> job = build_job(config, options.vocabulary, mesh, device, recorder,
                                       record_own_rows(recorder, config.model.moe.experts, mesh));
  SY_RETURN_IF_ERROR(agree(mesh.world(), open_data(*job)));
  job->optimizer->initialise_all(static_cast<uint64_t>(config.run.seed));
  return job;
}

}  // namespace

absl::StatusOr<StepBench> bench_step(const StepBenchOptions& options, Recorder& recorder, const BenchSite& site,
                                     const BenchProgress& progress) try {
  Communicator& world = site.world;
  const RunConfig& config = options.config;
  SY_ASSIGN_OR_RETURN(const MeshShape shape, agree(world, resolve_mesh(config, world.size())));
  StepBench result{.tokens = config.train.global_batch * config.data.sequence};
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Mesh> mesh,
                      create_mesh(config, shape, site.device, site.wires, /*tell=*/{}, &result.by_messages));
  result.shape = mesh->shape();
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Job> job, start_job(options, *mesh, site.device, recorder));
  result.gflops = flops_per_token(config.model, options.vocabulary, config.data.sequence) *
                  static_cast<double>(result.tokens) / world.size() / 1e9;
  for (int64_t i = 0; i < kWarmUpSteps; ++i) step(*job);
  SY_ASSIGN_OR_RETURN(result.memory_bytes, most_memory(site));

  const at::ScalarType dtype = compute_dtype(config.train.compute_precision());
  Floor floor(step_products(config, options.vocabulary, *mesh), at::dtype(dtype).device(site.device));
  std::vector<double> steps;
  double own_ms = 0;
  for (int64_t i = 0; i < options.repeats; ++i) {
    if (progress) progress(i, options.repeats);
    SY_ASSIGN_OR_RETURN(const double ms, slowest_ms([&] { step(*job); }, recorder, site, own_ms));
    steps.push_back(ms);
    SY_RETURN_IF_ERROR(floor.measure(site));
  }
  if (progress) progress(options.repeats, options.repeats);
  result.ms = median(steps);
  result.floor_ms = floor.ms();
  SY_ASSIGN_OR_RETURN(result.peak_gflops, peak_gflops(dtype, site));
  const std::vector<Span> spans = recorder.take_spans();
  SY_ASSIGN_OR_RETURN(result.split_ms, mean_split(split_steps(spans), step_parts(), own_ms, options.repeats, world));
  SY_ASSIGN_OR_RETURN(const auto passes, mean_split(passes_of_steps(spans), {"forward", "backward", "rest"}, own_ms,
                                                    options.repeats, world));
  result.forward_ms = passes.at("forward");
  result.backward_ms = passes.at("backward");
  SY_ASSIGN_OR_RETURN(result.bytes, take_tier_bytes(recorder, options.repeats, world));
  return result;
} catch (const StatusError& e) {
  return e.status();
}

}  // namespace switchyard
