#include "launch/scale/scale.h"

#include <algorithm>
#include <cstdlib>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/strings/strip.h>

#include "launch/config/binder.h"
#include "launch/scale/agreement.h"
#include "launch/scale/launch_site.h"
#include "launch/scale/report.h"
#include "launch/scale/runner.h"
#include "launch/start/own_build.h"
#include "runtime/base/status.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/directory.h"

namespace switchyard {
namespace {

constexpr char kOwnProgram[] = "/proc/self/exe";

std::string describe_model(const RunConfig& config) {
  const DecoderConfig& model = config.model;
  std::string text = absl::StrCat(model.layers, " layers of width ", model.width);
  if (model.moe.experts > 0) {
    absl::StrAppend(&text, ", ", model.moe.experts, " experts of width ", model.moe.expert_width, ", ",
                    model.moe.experts_per_token, " a token");
  }
  return absl::StrCat(text, "; steps of ", config.train.global_batch, " x ", config.data.sequence, " tokens");
}

// `config`: before what the plan makes of it.
ScaleReport begin_report(const ScaleOptions& options, const LaunchSite& site, const RunConfig& config) {
  return {.config = options.config,
          .axis = options.axis,
          .mode = options.mode,
          .precision = config.train.precision,
          .model = describe_model(config) + (options.mode == "weak" ? " a rank" : ""),
          .site = site.describe(),
          .build = own_build(),
          .steps = options.steps,
          .sequence = config.data.sequence};
}

absl::Status write_report(const ScaleReport& report, const std::filesystem::path& folder, std::ostream& out) {
  const std::string table = scale_table(report), json = scale_json(report);
  SY_RETURN_IF_ERROR(create_folders(folder));
  SY_RETURN_IF_ERROR(write_file_atomically(folder / "scale.txt", table));
  SY_RETURN_IF_ERROR(write_file_atomically(folder / "scale.json", json + "\n"));
  SY_RETURN_IF_ERROR(write_file_atomically(folder / "scale.html", scale_page(json)));
  out << "\n" << table << "\nwritten to " << folder.string() << ": scale.html, scale.json, scale.txt" << std::endl;
  return absl::OkStatus();
}

FailedRun failed(const PlannedRun& run, const absl::Status& status) {
  const std::pair<std::string, std::string> lines = absl::StrSplit(status.message(), absl::MaxSplits('\n', 1));
  return {.name = run.name(),
          .log = log_path(run).string(),
          .message = std::string(absl::StripPrefix(lines.first, run.name() + ": "))};
}

absl::Status verdict(const ScaleReport& report) {
  const auto failed =
      std::find_if(report.checks.begin(), report.checks.end(), [](const auto& c) { return !c.holds(); });
  if (failed == report.checks.end()) return absl::OkStatus();
  return error(ErrorCategory::kInternal,
               absl::StrCat("losses do not agree, first the ", failed->what, " of ", failed->run, " with ",
                            failed->reference, "; switchyard verify shows where a layout goes another way"));
}

}  // namespace

absl::Status scale(const ScaleOptions& options, std::ostream& out, bool terminal,
                   const std::function<bool()>& stop_requested) {
  SY_ASSIGN_OR_RETURN(const LaunchSite site,
                      find_site(options.hostfile, [](const char* name) { return std::getenv(name); }));
  const int most = *std::max_element(options.ranks.begin(), options.ranks.end());
  SY_RETURN_IF_ERROR(site.check(most));
  SY_ASSIGN_OR_RETURN(const std::vector<PlannedRun> runs, plan_runs(options, site.threads(most)));
  SY_ASSIGN_OR_RETURN(const RunConfig config, read_config<RunConfig>(options.config, options.overrides));

  ScaleReport report = begin_report(options, site, config);
  report.threads = runs.front().config.run.threads;
  Runner runner({.program = std::filesystem::read_symlink(kOwnProgram).string(),
                 .build = report.build,
                 .config = options.config,
                 .site = site,
                 .out = out,
                 .terminal = terminal,
                 .stop_requested = stop_requested});
  std::vector<MeasuredRun> measured;
  absl::Status first_failure;
  for (size_t i = 0; i < runs.size(); ++i) {
    const absl::StatusOr<RunFigures> figures = runner.run(runs[i], absl::StrCat(i + 1, " of ", runs.size()));
    if (figures.ok()) {
      measured.push_back({runs[i], *figures});
      continue;
    }
    if (stop_requested()) {
      first_failure = annotate(figures.status(), "the same command goes on from here");
      break;
    }
    first_failure.Update(figures.status());
    out << figures.status().message() << std::endl;
    report.failures.push_back(failed(runs[i], figures.status()));
  }
  const bool any =
      std::any_of(measured.begin(), measured.end(), [](const auto& run) { return run.plan.reference_of == 0; });
  if (any) {
    report.points = points_of(measured, site);
    report.checks = check_losses(measured, options.mode);
    SY_RETURN_IF_ERROR(write_report(report, output_folder(options, config), out));
  }
  if (!first_failure.ok()) return first_failure;
  return verdict(report);
}

}  // namespace switchyard
