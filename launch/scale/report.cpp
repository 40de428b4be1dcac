#include "launch/scale/report.h"

#include <algorithm>
#include <map>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>
#include <nlohmann/json.hpp>

#include "launch/scale/page.h"
#include "launch/trace/step_profile.h"
#include "launch/train/estimate.h"

namespace switchyard {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMiB = 1 << 20, kGiB = 1 << 30;

std::string ranks_text(const ScalePoint& point) {
  return absl::StrCat(point.ranks, point.crowded ? "*" : " ");
}

void append_speeds(const ScaleReport& report, std::string& text) {
  absl::StrAppendFormat(&text, "%6s %10s %9s %11s %9s %11s %10s %24s\n", "", "", "", "", "", "", "",
                        "MiB a step, all ranks");
  absl::StrAppendFormat(&text, "%6s %10s %9s %11s %9s %11s %10s %12s %11s\n", "ranks ", "tokens/s", "speed-up",
                        "efficiency", "step, s", "GiB a rank", "imbalance", "same host", "other hosts");
  for (const ScalePoint& point : report.points) {
    const RunFigures& f = point.figures;
    absl::StrAppendFormat(&text, "%6s %10.0f %9.2f %9.1f %% %9.3f %11.2f %10.2f %12.1f %11.1f\n", ranks_text(point),
                          f.tokens_per_second, point.speed_up, 100 * point.efficiency, f.step_seconds,
                          f.memory_bytes / kGiB, f.load_imbalance, f.node_bytes / kMiB, f.remote_bytes / kMiB);
  }
}

void append_split(const ScaleReport& report, std::string& text) {
  absl::StrAppendFormat(&text, "\n%6s", "ranks ");
  for (const char* part : kStepParts) absl::StrAppendFormat(&text, " %11s", part);
  absl::StrAppend(&text, "   (per cent of a step)\n");
  for (const ScalePoint& point : report.points) {
    double all = 0;
    for (const auto& [part, seconds] : point.figures.seconds) all += seconds;
    absl::StrAppendFormat(&text, "%6s", ranks_text(point));
    for (const char* part : kStepParts) {
      absl::StrAppendFormat(&text, " %11.1f", 100 * point.figures.seconds.at(part) / all);
    }
    absl::StrAppend(&text, "\n");
  }
}

std::string check_text(const LossCheck& check) {
  return absl::StrFormat("%s of %s, step %d: %.3g from %s, where %.3g may be", check.what, check.run, check.step,
                         check.deviation, check.reference, check.bound);
}

void append_checks(const ScaleReport& report, std::string& text) {
  const LossCheck* worst = nullptr;
  int failed = 0;
  for (const LossCheck& check : report.checks) {
    if (!check.holds()) {
      absl::StrAppend(&text, failed++ == 0 ? "\nruns that must compute the same do not:\n" : "", "  ",
                      check_text(check), "\n");
    } else if (check.bound > 0 && (!worst || check.deviation / check.bound > worst->deviation / worst->bound)) {
      worst = &check;
    }
  }
  if (report.checks.empty()) absl::StrAppend(&text, "\nthere are no two runs whose losses must agree\n");
  if (report.checks.empty() || failed > 0) return;
  absl::StrAppend(&text, "\n", report.checks.size(),
                  report.checks.size() == 1 ? " comparison of losses holds" : " comparisons of losses hold");
  absl::StrAppend(&text, worst ? "; the one nearest to its bound: " + check_text(*worst) : "", "\n");
}

Json point_json(const ScalePoint& point) {
  const RunFigures& f = point.figures;
  Json json = {{"ranks", point.ranks},
               {"layout", point.layout},
               {"crowded", point.crowded},
               {"global_batch", point.global_batch},
               {"runs", point.runs},
               {"tokens_per_second", f.tokens_per_second},
               {"slowest", point.slowest},
               {"fastest", point.fastest},
               {"speed_up", point.speed_up},
               {"efficiency", point.efficiency},
               {"step_seconds", f.step_seconds}};
  for (const char* part : kStepParts) json["seconds"][part] = f.seconds.at(part);
  json["sent"] = {{"node_bytes", f.node_bytes}, {"remote_bytes", f.remote_bytes}};
  json["memory_bytes"] = f.memory_bytes;
  json["load_imbalance"] = f.load_imbalance;
  json["losses"] = f.losses;
  return json;
}

}  // namespace

std::vector<ScalePoint> points_of(const std::vector<MeasuredRun>& runs, const LaunchSite& site) {
  std::map<int, std::vector<const MeasuredRun*>> by_ranks;
  for (const MeasuredRun& run : runs) {
    if (run.plan.reference_of == 0) by_ranks[run.plan.ranks].push_back(&run);
  }
  std::vector<ScalePoint> points;
  for (const auto& [ranks, alike] : by_ranks) {
    const PlannedRun& plan = alike.front()->plan;
    ScalePoint point{.ranks = ranks,
                     .layout = describe_layout(plan.shape),
                     .crowded = site.is_crowded(ranks, plan.config.run.threads),
                     .global_batch = plan.config.train.global_batch,
                     .runs = static_cast<int>(alike.size())};
    std::vector<RunFigures> figures;
    for (const MeasuredRun* run : alike) figures.push_back(run->figures);
    point.figures = median_of(figures);
    const auto [slowest, fastest] = std::minmax_element(
        figures.begin(), figures.end(),
        [](const RunFigures& a, const RunFigures& b) { return a.tokens_per_second < b.tokens_per_second; });
    point.slowest = slowest->tokens_per_second;
    point.fastest = fastest->tokens_per_second;
    points.push_back(std::move(point));
  }
  const ScalePoint first = points.front();
  for (ScalePoint& point : points) {
    point.speed_up = point.figures.tokens_per_second / first.figures.tokens_per_second;
    point.efficiency = point.speed_up * first.ranks / point.ranks;
  }
  return points;
}

std::string scale_table(const ScaleReport& report) {
  std::string text = absl::StrFormat(
      "%s scaling of %s over %s: %s\n%s, %s, %d %s a rank; medians of steps %d to %d%s\n\n", report.mode, report.config,
      report.axis, report.model, report.site, report.precision, report.threads,
      report.threads == 1 ? "thread" : "threads", std::min(kWarmUpSteps, report.steps - 1) + 1, report.steps,
      report.points.front().runs > 1 ? absl::StrCat(" and of ", report.points.front().runs, " runs") : "");
  append_speeds(report, text);
  append_split(report, text);
  const bool crowded = std::any_of(report.points.begin(), report.points.end(), [](const auto& p) { return p.crowded; });
  if (crowded) absl::StrAppend(&text, "\n* more ranks than cores: they take turns, and their times say little\n");
  append_checks(report, text);
  for (const FailedRun& failure : report.failures) {
    absl::StrAppend(&text, "failed: ", failure.name, ": ", failure.message, " (", failure.log, ")\n");
  }
  return text;
}

std::string scale_json(const ScaleReport& report) {
  Json json = {{"config", report.config},
               {"axis", report.axis},
               {"mode", report.mode},
               {"precision", report.precision},
               {"model", report.model},
               {"site", report.site},
               {"build", report.build},
               {"threads", report.threads},
               {"steps", report.steps},
               {"warm_up_steps", std::min(kWarmUpSteps, report.steps - 1)},
               {"sequence", report.sequence},
               {"points", Json::array()},
               {"agree", true},
               {"checks", Json::array()},
               {"failures", Json::array()}};
  for (const ScalePoint& point : report.points) json["points"].push_back(point_json(point));
  for (const LossCheck& check : report.checks) {
    if (!check.holds()) json["agree"] = false;
    json["checks"].push_back({{"what", check.what},
                              {"run", check.run},
                              {"reference", check.reference},
                              {"step", check.step},
                              {"deviation", check.deviation},
                              {"bound", check.bound},
                              {"holds", check.holds()}});
  }
  for (const FailedRun& failure : report.failures) {
    json["failures"].push_back({{"run", failure.name}, {"log", failure.log}, {"message", failure.message}});
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string scale_page(const std::string& json) {
  // Within a script element only "</" could end the data.
  return absl::StrReplaceAll(kScalePage, {{"@DATA@", absl::StrReplaceAll(json, {{"</", "<\\/"}})}});
}

}  // namespace switchyard
