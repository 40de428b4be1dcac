#include "launch/scale/figures.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <nlohmann/json.hpp>

#include "launch/trace/step_profile.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/numerics/median.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMostBytes = int64_t{1} << 30;

// Numbers that are not finite are written as null.
double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

RunFigures figures_of(const Json& record) {
  RunFigures figures{.tokens_per_second = record.at("tokens_per_second"),
                     .step_seconds = record.at("step_seconds"),
                     .node_bytes = record.at("sent").at("node_bytes"),
                     .remote_bytes = record.at("sent").at("remote_bytes"),
                     .memory_bytes = record.at("memory_bytes"),
                     .losses = {number(record.at("loss"))},
                     .gradient_norms = {number(record.at("grad_norm"))},
                     .rates = {record.at("lr")}};
  for (const char* part : kStepParts) figures.seconds[part] = record.at("seconds").at(part);
  if (record.contains("moe")) figures.load_imbalance = record.at("moe").value("load_imbalance", 0.0);
  return figures;
}

}  // namespace

absl::StatusOr<RunFigures> read_figures(const std::filesystem::path& metrics, int64_t steps) {
  SY_ASSIGN_OR_RETURN(const std::string text, read_text_file(metrics, kMostBytes));
  const auto bad = [&](size_t line, const std::string& what) {
    return error(ErrorCategory::kBadData, absl::StrCat(metrics.string(), ":", line, ": ", what));
  };
  std::vector<RunFigures> each, warm;
  RunFigures course;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const size_t number = each.size() + 1;
    try {
      const Json record = Json::parse(line.begin(), line.end());
      if (record.at("step") != number) return bad(number, "not the record of this step");
      each.push_back(figures_of(record));
    } catch (const Json::exception& e) {
      return bad(number, absl::StrCat("not a record of a step trained with --profile: ", e.what()));
    }
    course.losses.push_back(each.back().losses[0]);
    course.gradient_norms.push_back(each.back().gradient_norms[0]);
    course.rates.push_back(each.back().rates[0]);
  }
  if (static_cast<int64_t>(each.size()) != steps) {
    return bad(each.size(), absl::StrCat("ends here, and not at step ", steps));
  }
  const int64_t skipped = std::min(kWarmUpSteps, steps - 1);
  RunFigures figures = median_of({each.begin() + skipped, each.end()});
  figures.memory_bytes = each.back().memory_bytes;
  figures.losses = std::move(course.losses);
  figures.gradient_norms = std::move(course.gradient_norms);
  figures.rates = std::move(course.rates);
  return figures;
}

RunFigures median_of(const std::vector<RunFigures>& runs) {
  SY_CHECK(!runs.empty());
  const auto over = [&runs](auto figure) {
    std::vector<double> values;
    for (const RunFigures& run : runs) values.push_back(figure(run));
    return median(std::move(values));
  };
  RunFigures all = runs.front();
  for (double RunFigures::*const figure :
       {&RunFigures::tokens_per_second, &RunFigures::step_seconds, &RunFigures::node_bytes, &RunFigures::remote_bytes,
        &RunFigures::memory_bytes, &RunFigures::load_imbalance}) {
    all.*figure = over([figure](const RunFigures& run) { return run.*figure; });
  }
  for (auto& [part, seconds] : all.seconds) {
    seconds = over([&name = part](const RunFigures& run) { return run.seconds.at(name); });
  }
  return all;
}

}  // namespace switchyard
