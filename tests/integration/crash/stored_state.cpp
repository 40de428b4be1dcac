#include "tests/integration/crash/stored_state.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include <ATen/ATen.h>

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/scalar_type.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;

std::string hash_of(const void* data, size_t bytes) {
  return checksum_text(checksum(data, static_cast<int64_t>(bytes)));
}

absl::StatusOr<std::string> digest_of(const std::filesystem::path& path) {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, Checkpoint::open(path));
  Json state = Json::parse(checkpoint->run_state());
  state.erase("config");
  std::string text = state.dump();
  for (const StoredTensor& stored : checkpoint->tensors()) {
    const TensorPart part{.name = stored.name,
                          .dtype = scalar_type(stored.dtype),
                          .shape = stored.shape,
                          .box = Box::whole(stored.shape),
                          .data = at::empty(stored.shape, scalar_type(stored.dtype))};
    SY_RETURN_IF_ERROR(checkpoint->read({&part, 1}));
    text += "\n" + stored.name + " " + hash_of(part.data.const_data_ptr(), part.data.nbytes());
  }
  return hash_of(text.data(), text.size());
}

void flip(std::fstream& file, int64_t bit) {
  file.seekg(bit / 8);
  const int byte = file.get();
  file.seekp(bit / 8);
  file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
  file.flush();
  if (!file.good()) throw std::runtime_error("cannot flip a bit");
}

}  // namespace

Json read_all(const std::filesystem::path& folder) {
  Json result = {
      {"newest", nullptr}, {"skipped", Json::array()}, {"states", Json::object()}, {"others", Json::array()}};
  const absl::StatusOr<LatestCheckpoint> latest = find_latest(folder);
  if (!latest.ok()) {
    result["newest"] = std::string(latest.status().message());
  } else {
    if (latest->checkpoint) result["newest"] = latest->checkpoint->step();
    result["skipped"] = latest->skipped;
  }
  const absl::StatusOr<FolderListing> listing = list_checkpoints(folder);
  std::vector<std::string> known;
  if (listing.ok()) {
    for (const int64_t step : listing->steps) {
      const std::filesystem::path path = checkpoint_path(folder, step);
      known.push_back(path.filename().string());
      const absl::StatusOr<std::string> digest = digest_of(path);
      result["states"][std::to_string(step)] =
          digest.ok() ? Json{{"digest", *digest}} : Json{{"error", std::string(digest.status().message())}};
    }
  }
  if (!std::filesystem::exists(folder)) return result;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool checkpoint = entry.path().parent_path() == folder && std::count(known.begin(), known.end(), name) > 0;
    if (entry.is_symlink()) continue;  // a hint at the newest
    const bool part = entry.path().parent_path() != folder && name.find(".tmp") == std::string::npos;
    if (!checkpoint && !part) result["others"].push_back(entry.path().string());
  }
  return result;
}

Json flip_each(const std::filesystem::path& folder, int64_t step, const std::string& file,
               const std::vector<int64_t>& bits) {
  const std::filesystem::path path = checkpoint_path(folder, step);
  std::fstream stream(path / file, std::ios::in | std::ios::out | std::ios::binary);
  Json result = {{"undetected", Json::array()}, {"unnamed", Json::array()}, {"no_fallback", Json::array()}};
  for (const int64_t bit : bits) {
    flip(stream, bit);
    const absl::StatusOr<std::string> digest = digest_of(path);
    const bool opens = Checkpoint::open(path).ok();
    if (digest.ok()) {
      result["undetected"].push_back(bit);
    } else if (digest.status().message().find(file) == absl::string_view::npos) {
      result["unnamed"].push_back({bit, std::string(digest.status().message())});
    }
    if (!opens) {
      const absl::StatusOr<LatestCheckpoint> latest = find_latest(folder);
      if (!latest.ok() || !latest->checkpoint || latest->checkpoint->step() >= step) {
        result["no_fallback"].push_back(bit);
      }
    }
    flip(stream, bit);
  }
  return result;
}

}  // namespace switchyard
