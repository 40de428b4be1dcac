#include "parallel/checkpoint/chunk_reader.h"

#include <algorithm>
#include <string>

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"
#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

constexpr size_t kMostOpenFiles = 64;

absl::Status damaged(const std::string& what) {
  return error(ErrorCategory::kBadData, absl::StrCat(what, "; the checkpoint is damaged: use an older one"));
}

}  // namespace

absl::StatusOr<const InputFile*> ChunkReader::open(size_t file) {
  if (const auto found = open_files_.find(file); found != open_files_.end()) return &found->second;
  SY_ASSIGN_OR_RETURN(InputFile opened, InputFile::open(folder_ / manifest_.files[file].name));
  if (open_files_.size() == kMostOpenFiles) open_files_.clear();
  return &open_files_.emplace(file, std::move(opened)).first->second;
}

absl::Status ChunkReader::read(const StoredTensor& tensor, const StoredBox& stored, int64_t chunk, char* into) {
  SY_ASSIGN_OR_RETURN(const InputFile* input, open(stored.file));
  const int64_t box_bytes = stored.box.numel() * dtype_bytes(tensor.dtype);
  const int64_t size = std::min(kChunkBytes, box_bytes - chunk * kChunkBytes);
  const int64_t offset = stored.byte_offset + chunk * kChunkBytes;
  const absl::Status status = input->read(offset, into, size);
  if (!status.ok()) return annotate(status, absl::StrCat("tensor \"", tensor.name, "\""));
  bytes_read_ += size;
  if (checksum(into, size) == stored.checksums[chunk]) return absl::OkStatus();
  return damaged(absl::StrCat(input->path().string(), ": tensor \"", tensor.name, "\", bytes ", offset, " to ",
                              offset + size, " of the file do not match their checksum"));
}

absl::Status ChunkReader::check_file(size_t file) {
  const StoredFile& stored = manifest_.files[file];
  SY_ASSIGN_OR_RETURN(const InputFile* input, open(file));
  if (input->size() != stored.bytes) {
    return damaged(
        absl::StrCat(input->path().string(), " has ", input->size(), " bytes and not ", stored.bytes, " as written"));
  }
  if (stored.header_bytes == 0) return absl::OkStatus();
  std::string header(static_cast<size_t>(stored.header_bytes), '\0');
  SY_RETURN_IF_ERROR(input->read(0, header.data(), stored.header_bytes));
  if (checksum(header.data(), stored.header_bytes) == stored.header_checksum) return absl::OkStatus();
  return damaged(absl::StrCat(input->path().string(), ": its header, bytes 0 to ", stored.header_bytes,
                              " of the file, does not match its checksum"));
}

}  // namespace switchyard
