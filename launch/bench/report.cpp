#include "launch/bench/report.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

constexpr int64_t kMostBytes = 1 << 20;

nlohmann::json layer_json(const LayerBenchOptions& options, int ranks) {
  return {{"ranks", ranks},
          {"tokens", options.tokens},
          {"width", options.width},
          {"expert_width", options.expert_width},
          {"experts", options.experts},
          {"experts_per_token", options.experts_per_token},
          {"dispatcher", options.dispatcher},
          {"chunks", options.chunks},
          {"activation", options.activation},
          {"router", options.router},
          {"precision", options.precision},
          {"expert_tensor", options.expert_tensor},
          {"skew", options.skew}};
}

double gib(int64_t bytes) {
  return static_cast<double>(bytes) / (int64_t{1} << 30);
}

double mib(int64_t bytes) {
  return static_cast<double>(bytes) / (int64_t{1} << 20);
}

}  // namespace

std::string bench_table(const LayerBenchOptions& options, const LayerBench& result, int ranks,
                        const std::optional<LayerBench>& baseline) {
  std::string text = absl::StrFormat(
      "%d ranks x %d threads, %s, %s; %d tokens a rank, width %d; %d experts of width %d (%s), %d a token by %s%s\n\n",
      ranks, result.threads, options.precision, options.dispatcher, options.tokens, options.width, options.experts,
      options.expert_width, options.activation, options.experts_per_token, options.router,
      options.skew > 0 ? absl::StrFormat(", Zipf %.2g", options.skew) : "");
  const auto row = [&](const char* name, double ms, double earlier, const std::string& note = "") {
    absl::StrAppendFormat(&text, "%-22s %9.3f ms", name, ms);
    if (baseline) absl::StrAppendFormat(&text, "  %5.2f x", earlier / ms);
    absl::StrAppend(&text, note.empty() ? "" : "  ", note, "\n");
  };
  const LayerBench before = baseline.value_or(LayerBench());
  row("forward", result.forward_ms, before.forward_ms);
  row("backward", result.backward_ms, before.backward_ms);
  row("both", result.ms, before.ms,
      absl::StrFormat("%.1f %% of the peak (%.0f GFLOP/s), %.1f %% of the products' speed", result.percent_of_peak(),
                      result.peak_gflops, result.percent_of_floor()));
  double all = 0;
  for (const auto& [part, ms] : result.split_ms) all += ms;
  for (const char* part : {"route", "permute", "wire", "experts", "combine", "rest"}) {
    const auto earlier = before.split_ms.find(part);
    row(absl::StrCat("  ", part).c_str(), result.split_ms.at(part),
        earlier == before.split_ms.end() ? 0 : earlier->second,
        absl::StrFormat("%4.1f %%", 100 * result.split_ms.at(part) / all));
  }
  row("products alone", result.floor_ms, before.floor_ms);
  absl::StrAppendFormat(&text,
                        "\nMiB a rank: %.1f that stay, %.1f within its host, %.1f to other hosts\n"
                        "load max/mean %.2f; peak memory %.2f GiB a rank\n",
                        mib(result.own_bytes), mib(result.node_bytes), mib(result.remote_bytes), result.load_imbalance,
                        gib(result.memory_bytes));
  if (baseline) absl::StrAppend(&text, "x: times as fast as the baseline\n");
  return text;
}

std::string bench_json(const LayerBenchOptions& options, const LayerBench& result, int ranks) {
  const nlohmann::json json{
      {"layer", layer_json(options, ranks)},
      {"ms", result.ms},
      {"forward_ms", result.forward_ms},
      {"backward_ms", result.backward_ms},
      {"floor_ms", result.floor_ms},
      {"gflops", result.gflops},
      {"peak_gflops", result.peak_gflops},
      {"percent_of_peak", result.percent_of_peak()},
      {"percent_of_floor", result.percent_of_floor()},
      {"split_ms", result.split_ms},
      {"bytes",
       {{"own_rank", result.own_bytes}, {"same_node", result.node_bytes}, {"other_node", result.remote_bytes}}},
      {"load_imbalance", result.load_imbalance},
      {"memory_bytes", result.memory_bytes},
      {"threads", result.threads}};
  return json.dump(2);
}

absl::StatusOr<LayerBench> read_baseline(const std::string& path, const LayerBenchOptions& options, int ranks,
                                         int threads) try {
  SY_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMostBytes));
  const nlohmann::json json = nlohmann::json::parse(text);
  const nlohmann::json asked = layer_json(options, ranks);
  if (json.at("layer") != asked || json.at("threads") != threads) {
    return error(ErrorCategory::kUsage,
                 absl::StrCat(path, " is of ", json.at("layer").dump(), " with ", json.at("threads").dump(),
                              " threads a rank, and not of ", asked.dump(), " with ", threads));
  }
  LayerBench result;
  result.forward_ms = json.at("forward_ms");
  result.backward_ms = json.at("backward_ms");
  result.ms = json.at("ms");
  result.floor_ms = json.at("floor_ms");
  result.split_ms = json.at("split_ms").get<std::map<std::string, double>>();
  return result;
} catch (const nlohmann::json::exception& e) {
  return error(ErrorCategory::kBadData,
               absl::StrCat(path, " is not what `switchyard bench layer --json` printed: ", e.what()));
}

}  // namespace switchyard
