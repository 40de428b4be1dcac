#include "parallel/checkpoint/retention.h"

#include "parallel/checkpoint/checkpoint.h"
#include "parallel/checkpoint/folder.h"

namespace switchyard {

void apply_retention(const std::filesystem::path& root, int64_t step, int64_t keep, int64_t keep_every) {
  if (keep == 0) return;
  const absl::StatusOr<FolderListing> listing = list_checkpoints(root);
  if (!listing.ok() || !Checkpoint::open(checkpoint_path(root, step)).ok()) return;
  int64_t kept = 1;
  for (const int64_t other : listing->steps) {
    const std::filesystem::path path = checkpoint_path(root, other);
    if (other == step || !Checkpoint::open(path).ok()) continue;
    const bool stays = keep_every > 0 && other % keep_every == 0;
    if (++kept > keep && !stays) discard(path);
  }
}

}  // namespace switchyard
