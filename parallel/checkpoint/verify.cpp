#include "parallel/checkpoint/verify.h"

#include "parallel/checkpoint/chunk_reader.h"
#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"

namespace switchyard {

absl::StatusOr<std::vector<std::string>> find_damage(const std::filesystem::path& folder, const Manifest& manifest,
                                                     const VerifyShare& share,
                                                     const std::function<void(int64_t bytes)>& progress) {
  std::vector<std::string> damage;
  // Damage is noted, and what is not damage ends the search.
  const auto note = [&](const absl::Status& status) -> absl::Status {
    const bool found =
        error_category(status) == ErrorCategory::kBadData || error_category(status) == ErrorCategory::kMissingInput;
    if (!found) return status;
    damage.emplace_back(status.message());
    return absl::OkStatus();
  };
  ChunkReader reader(folder, manifest);
  std::vector<bool> readable(manifest.files.size(), false);
  for (size_t file = share.index; file < manifest.files.size(); file += share.parts) {
    const absl::Status status = reader.check_file(file);
    if (!status.ok()) SY_RETURN_IF_ERROR(note(status));
    readable[file] = status.ok();
  }
  std::vector<char> buffer(kChunkBytes);
  for (const StoredTensor& tensor : manifest.tensors) {
    for (const StoredBox& stored : tensor.boxes) {
      if (!readable[stored.file]) continue;
      for (size_t chunk = 0; chunk < stored.checksums.size(); ++chunk) {
        const int64_t before = reader.bytes_read();
        const absl::Status status = reader.read(tensor, stored, static_cast<int64_t>(chunk), buffer.data());
        if (!status.ok()) SY_RETURN_IF_ERROR(note(status));
        if (progress) progress(reader.bytes_read() - before);
      }
    }
  }
  return damage;
}

}  // namespace switchyard
