#include "launch/data/document_tags.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <absl/strings/str_cat.h>
#include <unistd.h>

#include "runtime/storage/atomic_file.h"
#include "runtime/storage/checksum.h"
#include "runtime/storage/file.h"

namespace switchyard {
namespace {

constexpr std::string_view kMagic("SYTAGS\0\0", 8);
constexpr size_t kHeaderBytes = 8 + 8 + 8;

template <typename T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

absl::Status bad(const std::string& prefix, std::string_view what) {
  return error(ErrorCategory::kBadData,
               absl::StrCat(prefix, ".tags: ", std::string(what), "; prepare the data again, or remove the file"));
}

}  // namespace

absl::StatusOr<std::optional<DocumentTags>> DocumentTags::open(const std::string& prefix, int64_t documents) {
  absl::StatusOr<MappedFile> file = MappedFile::open(prefix + ".tags");
  if (!file.ok()) {
    if (error_category(file.status()) == ErrorCategory::kMissingInput) return std::optional<DocumentTags>();
    return file.status();
  }
  const std::string_view bytes = file->bytes();
  if (bytes.size() < kHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic)
    return bad(prefix, "is not a file of tags");
  if (load<uint64_t>(bytes.data() + 8) != 1) return bad(prefix, "has a version other than 1");
  const auto stored = static_cast<int64_t>(load<uint64_t>(bytes.data() + 16));
  if (stored != documents || bytes.size() != kHeaderBytes + 4 * static_cast<size_t>(documents)) {
    return bad(prefix, absl::StrCat("has ", bytes.size(), " bytes and says ", stored, " documents where ", prefix,
                                    ".idx has ", documents));
  }
  DocumentTags tags(*std::move(file));
  for (int64_t d = 0; d < documents; ++d) {
    if (tags[d] < -1) return bad(prefix, absl::StrCat("document ", d, " has tag ", tags[d]));
    tags.count_ = std::max(tags.count_, tags[d] + 1);
  }
  return std::optional(std::move(tags));
}

int64_t DocumentTags::operator[](int64_t document) const {
  return load<int32_t>(file_.bytes().data() + kHeaderBytes + 4 * document);
}

uint64_t DocumentTags::fingerprint() const {
  return checksum(file_.bytes().data(), static_cast<int64_t>(file_.bytes().size()));
}

absl::Status write_tags(const std::string& prefix, std::span<const int32_t> tags) {
  const std::string path = prefix + ".tags";
  if (std::all_of(tags.begin(), tags.end(), [](int32_t tag) { return tag < 0; })) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("cannot remove", path, errno);
    return absl::OkStatus();
  }
  std::string bytes(kMagic);
  const auto append = [&bytes](const void* value, size_t size) { bytes.append(static_cast<const char*>(value), size); };
  const uint64_t version = 1, documents = tags.size();
  append(&version, sizeof version);
  append(&documents, sizeof documents);
  append(tags.data(), tags.size_bytes());
  return write_file_atomically(path, bytes);
}

}  // namespace switchyard
