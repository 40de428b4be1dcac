// Reads every byte of a checkpoint again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "parallel/checkpoint/manifest.h"

namespace switchyard {

struct VerifyShare {
  int index = 0, parts = 1;  // files index, index + parts, … are looked at
};

// Headers and all chunks of the files of `manifest` in `folder`: a line for each file and chunk that is damaged, naming
// file, tensor and bytes. `progress`: told the bytes read since it was last told. kIo where a disk refuses. Local.
absl::StatusOr<std::vector<std::string>> find_damage(const std::filesystem::path& folder, const Manifest& manifest,
                                                     const VerifyShare& share = {},
                                                     const std::function<void(int64_t bytes)>& progress = {});

}  // namespace switchyard
