#include <absl/strings/str_format.h>

#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/text.h"
#include "launch/checkpoint_tools/tools.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/storage/directory.h"

namespace switchyard {
namespace {

absl::Status list(const std::string& path, std::ostream& out) {
  const std::filesystem::path folder = folder_of_checkpoints(path);
  SY_RETURN_IF_ERROR(names_in_folder(folder).status());  // which list_checkpoints takes for an empty one
  SY_ASSIGN_OR_RETURN(const FolderListing listing, list_checkpoints(folder));
  for (const int64_t step : listing.steps) {
    const std::filesystem::path at = checkpoint_path(folder, step);
    const auto checkpoint = Checkpoint::open(at);
    if (!checkpoint.ok()) {
      out << absl::StrFormat("%s  not valid: %s\n", at.filename().string(), checkpoint.status().message());
      continue;
    }
    const Manifest& manifest = (*checkpoint)->manifest();
    out << absl::StrFormat("%s  %s in %d files, %d tensors, version %d\n", at.filename().string(),
                           size_text(manifest.total_bytes()), manifest.files.size(), manifest.tensors.size(),
                           manifest.version);
  }
  for (const std::string& name : listing.unfinished) out << name << "  not finished; the next save removes it\n";
  if (listing.steps.empty() && listing.unfinished.empty()) out << "no checkpoints in " << folder.string() << "\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status list_checkpoints_of(const std::string& path, Communicator& world, const ToolOutput& output) {
  return agree(world, output.out ? list(path, *output.out) : absl::OkStatus());
}

}  // namespace switchyard
