#include "launch/bench/table.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

double mib(int64_t bytes) {
  return static_cast<double>(bytes) / (int64_t{1} << 20);
}

}  // namespace

std::string place_text(const BenchPlace& place) {
  return absl::StrCat(place.ranks(), " ranks x ", place.threads, " threads",
                      place.device == "cpu" ? "" : ", " + place.device);
}

std::string time_row(const std::string& name, double ms, std::optional<double> earlier, const std::string& note) {
  std::string text = absl::StrFormat("%-24s %9.3f ms", name, ms);
  if (earlier) absl::StrAppendFormat(&text, "  %5.2f x", *earlier / ms);
  absl::StrAppend(&text, note.empty() ? "" : "  ", note, "\n");
  return text;
}

std::string split_rows(const std::map<std::string, double>& split_ms, const std::vector<std::string>& parts,
                       const std::optional<std::map<std::string, double>>& earlier) {
  double all = 0;
  for (const auto& [part, ms] : split_ms) all += ms;
  std::string text;
  for (const std::string& part : parts) {
    const double ms = split_ms.at(part);
    std::optional<double> before;
    if (earlier) {
      const auto found = earlier->find(part);
      before = found == earlier->end() ? 0 : found->second;
    }
    absl::StrAppend(&text, time_row("  " + part, ms, before, absl::StrFormat("%4.1f %%", 100 * ms / all)));
  }
  return text;
}

std::string bytes_text(int64_t bytes) {
  constexpr int64_t kKiB = 1 << 10, kMiB = 1 << 20, kGiB = 1 << 30;
  const auto value = static_cast<double>(bytes);
  if (bytes < kKiB) return absl::StrCat(bytes, " B");
  if (bytes < kMiB) return absl::StrFormat("%.1f KiB", value / kKiB);
  if (bytes < kGiB) return absl::StrFormat("%.1f MiB", value / kMiB);
  return absl::StrFormat("%.2f GiB", value / kGiB);
}

std::string tiers_text(const TierBytes& bytes) {
  return absl::StrFormat("MiB a rank: %.1f that stay, %.1f within its host, %.1f to other hosts", mib(bytes.own),
                         mib(bytes.node), mib(bytes.remote));
}

std::string by_messages_line(const std::string& by_messages) {
  return by_messages.empty() ? "" : absl::StrCat("rows go ", by_messages, "\n");
}

nlohmann::json to_json(const TierBytes& bytes) {
  return {{"own_rank", bytes.own}, {"same_node", bytes.node}, {"other_node", bytes.remote}};
}

void add_place(const BenchPlace& place, nlohmann::json& json) {
  json["threads"] = place.threads;
  json["cpus"] = place.cpus;
  json["device"] = place.device;
}

}  // namespace switchyard
