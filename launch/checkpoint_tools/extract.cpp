#include <algorithm>

#include <absl/strings/str_cat.h>

#include "launch/checkpoint_tools/progress_line.h"
#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/text.h"
#include "launch/checkpoint_tools/tools.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/storage/safetensors.h"

namespace switchyard {
namespace {

absl::Status extract(const std::string& path, const ExtractOptions& options, const ToolOutput& output) {
  std::error_code unknown;
  if (std::filesystem::exists(options.output, unknown)) {
    return error(ErrorCategory::kUsage, absl::StrCat(options.output, " exists already; choose another --output"));
  }
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, open_any(path));
  SY_ASSIGN_OR_RETURN(std::vector<const StoredTensor*> tensors, select_tensors(*checkpoint, options.patterns));
  // Wider types first: every element is then aligned in the file.
  std::stable_sort(tensors.begin(), tensors.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return dtype_bytes(a->dtype) > dtype_bytes(b->dtype);
  });
  std::vector<StoredEntry> entries;
  int64_t total = 0;
  for (const StoredTensor* tensor : tensors) {
    entries.push_back({tensor->name, tensor->dtype, tensor->shape, 0, 0});
    total += bytes_of(*tensor);
  }
  SY_ASSIGN_OR_RETURN(SafetensorsWriter file,
                      SafetensorsWriter::create(options.output, std::move(entries), {{"format", "pt"}}));
  SlabReader reader(*checkpoint, options.memory);
  {
    ProgressLine progress(output.progress, "extract", total);
    for (const StoredTensor* tensor : tensors) {
      const BoxSource source =
          source_of(*tensor, Box::whole(tensor->shape), reader, [&](int64_t bytes) { progress.add(bytes); });
      SY_RETURN_IF_ERROR(source.stream([&](const void* data, int64_t bytes) { return file.write(data, bytes); }));
    }
    SY_RETURN_IF_ERROR(file.commit());
  }
  *output.out << "wrote " << tensors.size() << " tensors, " << size_text(total) << ", to " << options.output << "\n";
  return absl::OkStatus();
}

}  // namespace

absl::Status extract_tensors(const std::string& path, const ExtractOptions& options, Communicator& world,
                             const ToolOutput& output) {
  return agree(world, world.rank() == 0 ? extract(path, options, output) : absl::OkStatus());
}

}  // namespace switchyard
