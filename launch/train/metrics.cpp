#include "launch/train/metrics.h"

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Json = nlohmann::ordered_json;

// Length of the leading records up to `last_step`.
absl::StatusOr<int64_t> kept_bytes(const std::string& path, int64_t last_step) {
  std::ifstream file(path, std::ios::binary);
  int64_t kept = 0;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (file.eof()) break;  // no line end: torn
    const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.contains("step") || !record["step"].is_number_integer()) {
      return error(ErrorCategory::kBadData,
                   absl::StrCat(path, ":", number, ": not a record of a step; move the file away to go on without it"));
    }
    const int64_t step = record["step"];
    if (step > last_step) break;
    kept += static_cast<int64_t>(line.size()) + 1;
    if (step == last_step) break;  // after a power cut what follows may be anything
  }
  return kept;
}

// Of a share: four decimals tell it well enough and keep lines short.
double rounded(double share) {
  return std::round(share * 1e4) / 1e4;
}

Json layer_json(int64_t layer, const std::map<std::string, double>& figures) {
  Json object{{"layer", layer}};
  for (const auto& [name, value] : figures) object[name] = value;
  return object;
}

void add_profile(const ProfiledStep& profile, Json& record) {
  for (const char* part : kStepParts) record["seconds"][part] = profile.seconds.at(part);
  record["sent"] = {{"node_bytes", profile.node_bytes}, {"remote_bytes", profile.remote_bytes}};
}

void add_use(const ExpertUse& use, Json& object) {
  object["coactivation"] = rounded(use.coactivation);
  object["pairs"] = Json::array();
  for (const ExpertPair& pair : use.pairs) {
    object["pairs"].push_back({pair.first, pair.second, rounded(pair.together)});
  }
  for (const auto& [source, shares_E] : use.sources) {
    for (const double share : shares_E) object["sources"][source].push_back(rounded(share));
  }
}

}  // namespace

std::string to_json(const StepMetrics& metrics) {
  Json record;
  record["step"] = metrics.step;
  record["loss"] = metrics.loss;
  record["grad_norm"] = metrics.grad_norm;
  record["lr"] = metrics.lr;
  record["tokens"] = metrics.tokens;
  record["tokens_per_second"] = metrics.tokens_per_second;
  record["step_seconds"] = metrics.step_seconds;
  record["memory_bytes"] = metrics.memory_bytes;
  if (metrics.mfu > 0) record["mfu"] = metrics.mfu;
  if (metrics.skipped) record["skipped"] = true;
  if (metrics.profile) add_profile(*metrics.profile, record);
  for (const auto& [name, value] : metrics.moe) record["moe"][name] = value;
  for (const auto& [layer, figures] : metrics.moe_layers) record["moe"]["layers"].push_back(layer_json(layer, figures));
  if (metrics.validation_loss) record["validation_loss"] = *metrics.validation_loss;
  for (const auto& [layer, figures] : metrics.validation_moe_layers) {
    Json object = layer_json(layer, figures);
    const auto use = metrics.expert_use.find(layer);
    if (use != metrics.expert_use.end()) add_use(use->second, object);
    record["validation_moe"]["layers"].push_back(std::move(object));
  }
  return record.dump();
}

absl::StatusOr<MetricsFile> MetricsFile::open(const std::string& path, int64_t last_step) {
  int64_t kept = 0;
  if (last_step > 0 && std::filesystem::exists(path)) {
    SY_ASSIGN_OR_RETURN(kept, kept_bytes(path, last_step));
  }
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file.valid() || ::ftruncate(file.get(), kept) != 0) return io_error("cannot write", path, errno);
  SY_RETURN_IF_ERROR(sync_folder(std::filesystem::path(path).parent_path()));
  return MetricsFile(path, std::move(file));
}

absl::Status MetricsFile::append(const StepMetrics& metrics) {
  const std::string line = to_json(metrics) + "\n";
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t written = ::write(file_.get(), line.data() + done, line.size() - done);
    if (written < 0 && errno != EINTR) return io_error("cannot write", path_, errno);
    if (written > 0) done += static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status MetricsFile::sync() {
  return ::fdatasync(file_.get()) == 0 ? absl::OkStatus() : io_error("cannot write", path_, errno);
}

}  // namespace switchyard
