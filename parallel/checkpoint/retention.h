// Which checkpoints of a run stay.
#pragma once

#include <cstdint>
#include <filesystem>

namespace switchyard {

// Deletes what may go now that `step` has been written, unless that one is not valid: the `keep` newest valid ones stay
// (0: all), and those whose step is a multiple of `keep_every` (0: none). Those that are not valid neither count nor
// go. What can't be deleted is left for the next call. Local.
void apply_retention(const std::filesystem::path& root, int64_t step, int64_t keep, int64_t keep_every);

}  // namespace switchyard
