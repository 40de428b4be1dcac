#include "launch/bench/baseline.h"

#include <cstdint>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

constexpr int64_t kMostBytes = 1 << 20;

// "tokens 64 instead of 4096, …": what `found` has otherwise than `asked`; empty: nothing.
std::string differences(const nlohmann::json& found, const nlohmann::json& asked) {
  const auto text = [](const nlohmann::json& object, const std::string& key) {
    return object.contains(key) ? object.at(key).dump() : "nothing";
  };
  std::vector<std::string> all;
  nlohmann::json keys = asked;
  keys.update(found);
  for (const auto& [key, value] : keys.items()) {
    const std::string theirs = text(found, key), ours = text(asked, key);
    if (theirs != ours) all.push_back(absl::StrCat(key, " ", theirs, " instead of ", ours));
  }
  return absl::StrJoin(all, ", ");
}

}  // namespace

absl::Status read_baseline(const std::string& path, const std::string& command, const nlohmann::json& asked,
                           const BenchPlace& place, const std::function<void(const nlohmann::json&)>& take) try {
  SY_ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMostBytes));
  const nlohmann::json json = nlohmann::json::parse(text);
  nlohmann::json found = json.at(command), wanted = asked;
  found["threads"] = json.at("threads");
  wanted["threads"] = place.threads;
  found["device"] = json.value("device", "cpu");  // which older ones lack
  wanted["device"] = place.device;
  const std::string other = differences(found, wanted);
  if (!other.empty()) {
    return error(ErrorCategory::kUsage, absl::StrCat(path, " is of something else: ", other));
  }
  take(json);
  return absl::OkStatus();
} catch (const nlohmann::json::exception& e) {
  return error(ErrorCategory::kBadData,
               absl::StrCat(path, " is not what `switchyard bench ", command, " --json` printed: ", e.what()));
}

}  // namespace switchyard
