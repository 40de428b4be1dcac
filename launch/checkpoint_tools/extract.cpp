#include <algorithm>
#include <optional>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "launch/checkpoint_tools/progress_line.h"
#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/text.h"
#include "launch/checkpoint_tools/tools.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"
#include "runtime/storage/atomic_file.h"
#include "runtime/storage/safetensors.h"

namespace switchyard {
namespace {

// Wider types first: every element is then aligned in the file.
absl::StatusOr<std::vector<const StoredTensor*>> tensors_in_order(const Checkpoint& checkpoint,
                                                                  const std::vector<std::string>& patterns) {
  SY_ASSIGN_OR_RETURN(std::vector<const StoredTensor*> tensors, select_tensors(checkpoint, patterns));
  std::stable_sort(tensors.begin(), tensors.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return dtype_bytes(a->dtype) > dtype_bytes(b->dtype);
  });
  return tensors;
}

absl::StatusOr<SafetensorsWriter> create(const std::string& path, const std::vector<const StoredTensor*>& tensors) {
  std::error_code unknown;
  if (std::filesystem::exists(path, unknown)) {
    return error(ErrorCategory::kUsage, absl::StrCat(path, " exists already; choose another --output"));
  }
  std::vector<StoredEntry> entries;
  for (const StoredTensor* tensor : tensors) entries.push_back({tensor->name, tensor->dtype, tensor->shape, 0, 0});
  return SafetensorsWriter::create(path, std::move(entries), {{"format", "pt"}});
}

// The file that rank 0 has created, as all ranks need it.
struct Target {
  std::filesystem::path temporary;
  int64_t data_start = 0;
};

absl::StatusOr<Target> share(const SafetensorsWriter* file, Communicator& world) {
  const std::string mine = file ? absl::StrCat(file->data_start(), ":", file->temporary().string()) : "";
  SY_ASSIGN_OR_RETURN(const std::string text, broadcast_text(world, mine));
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  Target target{.temporary = parts.second};
  SY_CHECK(absl::SimpleAtoi(parts.first, &target.data_start));
  return target;
}

// This rank's rows of every tensor; rank 0 has those without dimensions.
struct Rows {
  const StoredTensor* tensor;
  Box box;
  int64_t at;  // byte of the file
};

std::vector<Rows> rows_of_rank(const Target& target, const std::vector<const StoredTensor*>& tensors,
                               const Communicator& world) {
  std::vector<Rows> all;
  int64_t start = target.data_start;
  for (const StoredTensor* tensor : tensors) {
    Rows rows{tensor, Box::whole(tensor->shape), start};
    start += bytes_of(*tensor);
    if (rows.box.empty() || (tensor->shape.empty() && world.rank() != 0)) continue;
    if (!tensor->shape.empty()) {
      const auto [begin, end] = cut(tensor->shape.front(), world.size(), world.rank());
      rows.at += begin * (bytes_of(*tensor) / tensor->shape.front());
      rows.box.offset.front() = begin;
      rows.box.extent.front() = end - begin;
    }
    if (!rows.box.empty()) all.push_back(std::move(rows));
  }
  return all;
}

absl::Status write_rows(const Target& target, const std::vector<Rows>& all, SlabReader& reader,
                        std::ostream* progress_out) {
  SY_ASSIGN_OR_RETURN(AtomicFilePart file, AtomicFilePart::open(target.temporary));
  int64_t bytes_to_write = 0;
  for (const Rows& rows : all) bytes_to_write += rows.box.numel() * dtype_bytes(rows.tensor->dtype);
  ProgressLine progress(progress_out, "extract", bytes_to_write);
  for (const Rows& rows : all) {
    int64_t at = rows.at;
    const BoxSource source = source_of(*rows.tensor, rows.box, reader, [&](int64_t bytes) { progress.add(bytes); });
    SY_RETURN_IF_ERROR(source.stream([&](const void* data, int64_t bytes) {
      const absl::Status status = file.write_at(at, data, bytes);
      at += bytes;
      return status;
    }));
  }
  return file.sync();
}

}  // namespace

absl::Status extract_tensors(const std::string& path, const ExtractOptions& options, Communicator& world,
                             const ToolOutput& output) {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, open_any(path, world));
  SY_ASSIGN_OR_RETURN(const std::vector<const StoredTensor*> tensors,
                      agree(world, tensors_in_order(*checkpoint, options.patterns)));
  std::optional<SafetensorsWriter> file;  // on rank 0
  absl::Status status;
  if (world.rank() == 0) {
    absl::StatusOr<SafetensorsWriter> created = create(options.output, tensors);
    status = created.status();
    if (created.ok()) file.emplace(*std::move(created));
  }
  SY_RETURN_IF_ERROR(broadcast_status(world, status));
  SY_ASSIGN_OR_RETURN(const Target target, share(file ? &*file : nullptr, world));

  int64_t total = 0;
  for (const StoredTensor* tensor : tensors) total += bytes_of(*tensor);
  SlabReader reader(*checkpoint, options.memory);
  SY_RETURN_IF_ERROR(agree(world, write_rows(target, rows_of_rank(target, tensors, world), reader, output.progress)));
  SY_RETURN_IF_ERROR(broadcast_status(world, file ? file->commit_parts() : absl::OkStatus()));
  if (output.out) {
    *output.out << "wrote " << tensors.size() << " tensors, " << size_text(total) << ", to " << options.output << "\n";
  }
  return absl::OkStatus();
}

}  // namespace switchyard
