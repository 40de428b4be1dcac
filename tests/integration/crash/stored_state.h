// What the checkpoints of a folder hold, read as a resuming run reads them, and what becomes of damage to them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace switchyard {

// {"newest": step that find_latest gives, or null, or an error text,
//  "skipped": [its lines],
//  "states": {step: {"digest": text}} or {step: {"error": text}} for every folder with a checkpoint's name,
//  "others": [names of everything else in the folder]}
// A digest tells the bits of all tensors and the run state without its config.
nlohmann::json read_all(const std::filesystem::path& folder);

// Flips each of `bits` (byte · 8 + bit) of a file of checkpoint `step` in turn, reads, and mends it. →
// {"undetected": [bits], "unnamed": [[bit, message]], "no_fallback": [bits]}: not found when the whole checkpoint is
// read; found, but the message does not name the file; the manifest is refused, but find_latest does not give the
// checkpoint before.
nlohmann::json flip_each(const std::filesystem::path& folder, int64_t step, const std::string& file,
                         const std::vector<int64_t>& bits);

}  // namespace switchyard
