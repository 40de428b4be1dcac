#include "runtime/storage/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <set>
#include <utility>

#include <absl/strings/str_cat.h>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"

namespace switchyard {

static_assert(std::endian::native == std::endian::little);

SafetensorsReader::SafetensorsReader(InputFile file, SafetensorsHeader header, int64_t data_start)
    : file_(std::move(file)), header_(std::move(header)), data_start_(data_start) {
  for (size_t i = 0; i < header_.entries.size(); ++i) index_.emplace(header_.entries[i].name, i);
}

absl::StatusOr<SafetensorsReader> SafetensorsReader::open(const std::filesystem::path& path) {
  SY_ASSIGN_OR_RETURN(InputFile file, InputFile::open(path));
  const std::string name = path.string();
  std::array<unsigned char, 8> prefix;
  if (file.size() < 8) {
    return error(ErrorCategory::kBadData, absl::StrCat(name, " has ", file.size(),
                                                       " bytes, too few for safetensors; it is truncated or another "
                                                       "format"));
  }
  SY_RETURN_IF_ERROR(file.read(0, prefix.data(), 8));
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= uint64_t{prefix[i]} << (8 * i);
  if (length > uint64_t{kMaxSafetensorsHeader} || static_cast<int64_t>(length) > file.size() - 8) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(name, ": its header would have ", length, " bytes, more than the ",
                              std::min(kMaxSafetensorsHeader, file.size() - 8),
                              " that there can be; it is truncated or not safetensors"));
  }
  std::string json(length, '\0');
  const int64_t data_start = 8 + static_cast<int64_t>(length);
  SY_RETURN_IF_ERROR(file.read(8, json.data(), static_cast<int64_t>(length)));
  SY_ASSIGN_OR_RETURN(SafetensorsHeader header, parse_safetensors_header(json, file.size() - data_start, name));
  return SafetensorsReader(std::move(file), std::move(header), data_start);
}

absl::StatusOr<const StoredEntry*> SafetensorsReader::find(std::string_view name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    return error(ErrorCategory::kMissingInput, absl::StrCat(path().string(), " has no tensor \"", std::string(name),
                                                            "\"; is it a file of another model?"));
  }
  return &header_.entries[found->second];
}

absl::Status SafetensorsReader::read(const StoredEntry& entry, int64_t offset, void* into, int64_t bytes) const {
  SY_CHECK_GE(offset, 0);
  SY_CHECK_LE(offset + bytes, entry.end - entry.begin);
  const absl::Status status = file_.read(data_start_ + entry.begin + offset, into, bytes);
  return status.ok() ? status : annotate(status, absl::StrCat("tensor \"", entry.name, "\""));
}

SafetensorsWriter::SafetensorsWriter(AtomicFile file, SafetensorsHeader header, int64_t data_start, int64_t data_bytes,
                                     uint64_t header_checksum)
    : file_(std::move(file)),
      header_(std::move(header)),
      data_start_(data_start),
      data_bytes_(data_bytes),
      header_checksum_(header_checksum) {}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                            std::vector<StoredEntry> entries,
                                                            std::map<std::string, std::string> metadata) {
  int64_t end = 0;
  std::set<std::string_view> names = {"__metadata__"};  // which the format reserves
  for (StoredEntry& entry : entries) {
    const std::optional<int64_t> bytes = tensor_bytes(entry.dtype, entry.shape);
    SY_CHECK(bytes.has_value());
    SY_CHECK(names.insert(entry.name).second);
    entry.begin = end;
    entry.end = end += *bytes;
  }
  SafetensorsHeader header{std::move(entries), std::move(metadata)};
  const std::string text = serialise_safetensors_header(header);
  const auto data_start = static_cast<int64_t>(text.size());
  if (data_start - 8 > kMaxSafetensorsHeader) {
    return error(ErrorCategory::kUsage,
                 absl::StrCat(path.string(), ": ", header.entries.size(), " tensors need a header of ", data_start,
                              " bytes, more than the format allows; spread them over files"));
  }
  SY_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path, data_start + end));
  SY_RETURN_IF_ERROR(file.write(text.data(), data_start));
  return SafetensorsWriter(std::move(file), std::move(header), data_start, end, checksum(text.data(), data_start));
}

absl::Status SafetensorsWriter::commit() {
  SY_CHECK_EQ(file_.written(), file_bytes());
  return file_.commit();
}

}  // namespace switchyard
