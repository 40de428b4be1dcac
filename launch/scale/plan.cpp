#include "launch/scale/plan.h"

#include <algorithm>
#include <set>

#include <absl/strings/str_cat.h>

#include "launch/config/binder.h"
#include "launch/train/create_mesh.h"
#include "launch/train/job.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

std::string key_of(const std::string& override) {
  return override.substr(0, override.find('='));
}

std::vector<std::string> layout_overrides(const ScaleOptions& options, int ranks) {
  std::vector<std::string> words = {"parallel.data=auto"};
  if (options.axis == "expert") words.push_back(absl::StrCat("parallel.expert=", ranks));
  if (options.axis == "tensor") {
    words.insert(words.end(), {absl::StrCat("parallel.tensor=", ranks), "parallel.expert=1",
                               absl::StrCat("parallel.expert_tensor=", ranks)});
  }
  return words;
}

// Nothing but steps: no checkpoint, no validation.
std::vector<std::string> measuring_overrides(int64_t steps) {
  return {absl::StrCat("train.steps=", steps), "train.validate_every=never", "checkpoint.every=never",
          "checkpoint.resume=never"};
}

// Whether a token's experts depend on the tokens beside it, and so on how a step is cut into parts.
bool routes_by_population(const RunConfig& config) {
  const RouterConfig& router = config.model.moe.router;
  return config.model.moe.experts > 0 &&
         (router.kind == "expert_choice" || router.kind == "sinkhorn" || router.capacity.factor > 0);
}

absl::Status check(const ScaleOptions& options) {
  std::set<std::string> set_here;
  for (const std::string& word : layout_overrides(options, 1)) set_here.insert(key_of(word));
  for (const std::string& word : measuring_overrides(1)) set_here.insert(key_of(word));
  for (const std::string& word : options.overrides) {
    if (!set_here.contains(key_of(word))) continue;
    return error(ErrorCategory::kUsage, absl::StrCat("scale sets ", key_of(word), " itself: leave ", word,
                                                     " out, and see --ranks, --axis and --steps"));
  }
  if (std::set<int>(options.ranks.begin(), options.ranks.end()).size() != options.ranks.size()) {
    return error(ErrorCategory::kUsage, "--ranks: a number is there twice; --repeat N runs each of them N times");
  }
  return absl::OkStatus();
}

// Fills in what follows from the run's overrides.
absl::Status resolve(const ScaleOptions& options, PlannedRun& run) {
  SY_ASSIGN_OR_RETURN(run.config, read_config<RunConfig>(options.config, run.overrides));
  SY_ASSIGN_OR_RETURN(run.vocabulary, resolve_vocabulary(run.config));
  absl::StatusOr<MeshShape> shape = resolve_mesh(run.config, run.ranks);
  if (!shape.ok()) return annotate(shape.status(), absl::StrCat("--axis ", options.axis, " on ", run.name()));
  run.shape = *std::move(shape);
  return absl::OkStatus();
}

class Planner {
 public:
  Planner(const ScaleOptions& options, const RunConfig& config, int threads)
      : options_(options), config_(config), threads_(threads), output_(output_folder(options, config)) {}

  absl::StatusOr<PlannedRun> measured(int ranks, int repeat) const {
    PlannedRun run{.ranks = ranks, .repeat = repeat};
    run.folder = output_ / absl::StrCat("ranks-", ranks) / absl::StrCat("run-", repeat);
    run.overrides = overrides(run, options_.steps);
    if (options_.mode == "weak") run.overrides.push_back(batch(ranks));
    SY_RETURN_IF_ERROR(resolve(options_, run));
    return run;
  }

  // On `fewest` ranks, in parts of the size that they have of their own where routing does not look at parts.
  absl::StatusOr<PlannedRun> reference(int fewest, int ranks) const {
    PlannedRun run{.ranks = fewest, .reference_of = ranks};
    run.folder = output_ / absl::StrCat("ranks-", ranks) / "reference";
    run.overrides = overrides(run, 1);
    run.overrides.push_back(batch(ranks));
    if (!routes_by_population(config_) && ranks % fewest == 0) {
      run.overrides.push_back(absl::StrCat("train.accumulation=", config_.train.accumulation * (ranks / fewest)));
    }
    SY_RETURN_IF_ERROR(resolve(options_, run));
    return run;
  }

 private:
  std::vector<std::string> overrides(const PlannedRun& run, int64_t steps) const {
    std::vector<std::string> words = options_.overrides;
    for (const std::string& word : layout_overrides(options_, run.ranks)) words.push_back(word);
    for (const std::string& word : measuring_overrides(steps)) words.push_back(word);
    if (config_.run.threads == 0) words.push_back(absl::StrCat("run.threads=", threads_));
    words.push_back("run.dir=" + run.folder.string());
    return words;
  }
  std::string batch(int ranks) const { return absl::StrCat("train.global_batch=", config_.train.global_batch * ranks); }

  const ScaleOptions& options_;
  const RunConfig& config_;
  const int threads_;
  const std::filesystem::path output_;
};

}  // namespace

std::string PlannedRun::name() const {
  const std::string on = absl::StrCat(ranks, ranks == 1 ? " rank" : " ranks");
  return reference_of > 0 ? absl::StrCat(on, ", reference for ", reference_of) : absl::StrCat(on, ", run ", repeat);
}

absl::StatusOr<std::vector<PlannedRun>> plan_runs(const ScaleOptions& options, int threads) {
  SY_RETURN_IF_ERROR(check(options));
  SY_ASSIGN_OR_RETURN(const RunConfig config, read_config<RunConfig>(options.config, options.overrides));
  const Planner planner(options, config, threads);
  std::vector<int> ascending = options.ranks;
  std::sort(ascending.begin(), ascending.end());
  std::vector<PlannedRun> runs;
  for (int repeat = 1; repeat <= options.repeat; ++repeat) {
    for (const int ranks : ascending) {
      SY_ASSIGN_OR_RETURN(PlannedRun run, planner.measured(ranks, repeat));
      runs.push_back(std::move(run));
    }
  }
  for (const int ranks : ascending) {
    if (options.mode == "strong" || ranks == ascending.front()) continue;
    SY_ASSIGN_OR_RETURN(PlannedRun run, planner.reference(ascending.front(), ranks));
    runs.push_back(std::move(run));
  }
  return runs;
}

std::filesystem::path output_folder(const ScaleOptions& options, const RunConfig& config) {
  if (!options.output.empty()) return options.output;
  std::filesystem::path run(config.run.dir);
  if (!run.has_filename()) run = run.parent_path();  // "runs/x/"
  return absl::StrCat(run.string(), "-scale-", options.axis, "-", options.mode);
}

}  // namespace switchyard
