#include "parallel/checkpoint/verify.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "launch/checkpoint_tools/progress_line.h"
#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/text.h"
#include "launch/checkpoint_tools/tools.h"
#include "parallel/checkpoint/folder.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

// Unlike open_any, it looks at no file but the manifest: what is wrong with them is to be found, not met.
absl::StatusOr<std::unique_ptr<Checkpoint>> open_to_verify(const std::filesystem::path& path) {
  std::error_code unknown;
  if (std::filesystem::exists(path / kManifestName, unknown)) return Checkpoint::open_manifest(path);
  return open_any(path);
}

}  // namespace

absl::Status verify_checkpoint(const std::string& path, Communicator& world, const ToolOutput& output) {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint,
                      share_checkpoint(world.rank() == 0 ? open_to_verify(path) : nullptr, world));
  const Manifest& manifest = checkpoint->manifest();
  const VerifyShare share{.index = world.rank(), .parts = world.size()};
  absl::StatusOr<std::vector<std::string>> found;
  {
    ProgressLine progress(output.progress, "verify", manifest.total_bytes() / world.size());
    found = find_damage(checkpoint->path(), manifest, share, [&](int64_t bytes) { progress.add(bytes); });
  }
  SY_RETURN_IF_ERROR(agree(world, found.status()));
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> texts, all_gather_texts(world, absl::StrJoin(*found, "\n")));
  std::vector<std::string> damage;
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    for (const auto& line : absl::StrSplit(text, '\n')) damage.emplace_back(line);
  }
  if (damage.empty()) {
    if (output.out) {
      *output.out << checkpoint->path().string() << ": " << size_text(manifest.total_bytes())
                  << " match their checksums\n";
    }
    return absl::OkStatus();
  }
  return agree(
      world, error(ErrorCategory::kBadData, absl::StrCat(checkpoint->path().string(), " is damaged in ", damage.size(),
                                                         damage.size() == 1 ? " place" : " places",
                                                         "; use an older one\n", absl::StrJoin(damage, "\n"))));
}

}  // namespace switchyard
