#include "launch/data/indexed_dataset.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <absl/strings/str_cat.h>

#include "runtime/storage/checksum.h"

namespace switchyard {
namespace {

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr size_t kHeaderBytes = 9 + 8 + 1 + 8 + 8;

template <typename T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

absl::Status bad(const std::string& prefix, std::string_view what) {
  return error(ErrorCategory::kBadData, absl::StrCat(prefix, ".idx: ", absl::string_view(what.data(), what.size()),
                                                     "; prepare the data again, or copy both files again"));
}

absl::StatusOr<TokenType> parse_type(uint8_t code, const std::string& prefix) {
  switch (code) {
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
    case 8:
      return static_cast<TokenType>(code);
    case 6:
    case 7:
      return bad(prefix, "holds floating-point numbers, not tokens");
    default:
      return bad(prefix, absl::StrCat("unknown token type ", static_cast<int>(code)));
  }
}

// Lengths and offsets must say the same: sequences lie back to back. Returns the number of tokens.
absl::StatusOr<int64_t> check_sequences(const char* lengths, const IndexView& view, int64_t bin_bytes,
                                        const std::string& prefix) {
  const int64_t width = token_bytes(view.type);
  int64_t expected = 0;
  for (int64_t i = 0; i < view.sequences; ++i) {
    const int64_t length = load<int32_t>(lengths + 4 * i);
    if (length < 0) return bad(prefix, absl::StrCat("sequence ", i, " has length ", length));
    const int64_t offset = load<int64_t>(view.offsets + 8 * i);
    if (offset != expected) {
      return bad(prefix, absl::StrCat("sequence ", i, " begins at byte ", offset, " where ", expected, " is due"));
    }
    // At most 2^31 tokens of 8 bytes are added, and `expected` is checked against the file below, so this can't wrap.
    expected += length * width;
    if (expected > bin_bytes) {
      return bad(prefix, absl::StrCat("sequence ", i, " ends at byte ", expected, " but ", prefix, ".bin has ",
                                      bin_bytes, " bytes: it is truncated or belongs to another index"));
    }
  }
  if (expected != bin_bytes) {
    return bad(prefix, absl::StrCat("describes ", expected, " bytes of tokens but ", prefix, ".bin has ", bin_bytes,
                                    ": the files do not belong together"));
  }
  return expected / width;
}

absl::Status check_documents(const IndexView& view, const std::string& prefix) {
  int64_t previous = 0;
  for (int64_t d = 0; d <= view.documents; ++d) {
    const int64_t start = load<int64_t>(view.document_starts + 8 * d);
    if ((d == 0 && start != 0) || start < previous || start > view.sequences) {
      return bad(prefix, absl::StrCat("document ", d, " begins at sequence ", start, " of ", view.sequences, ", after ",
                                      previous));
    }
    previous = start;
  }
  if (previous == view.sequences) return absl::OkStatus();
  return bad(prefix, absl::StrCat("its documents end at sequence ", previous, " of ", view.sequences));
}

template <typename T>
void widen(const char* from, int64_t count, int64_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = load<T>(from + i * static_cast<int64_t>(sizeof(T)));
}

}  // namespace

int64_t token_bytes(TokenType type) {
  switch (type) {
    case TokenType::kUint8:
    case TokenType::kInt8:
      return 1;
    case TokenType::kInt16:
    case TokenType::kUint16:
      return 2;
    case TokenType::kInt32:
      return 4;
    case TokenType::kInt64:
      return 8;
  }
  return 0;
}

absl::StatusOr<IndexView> parse_index(std::string_view idx, int64_t bin_bytes, const std::string& prefix) {
  if (idx.size() < kHeaderBytes) return bad(prefix, absl::StrCat("has ", idx.size(), " bytes, less than a header"));
  if (idx.substr(0, kMagic.size()) != kMagic) return bad(prefix, "is not an index of a tokenised data set (MMIDIDX)");
  const uint64_t version = load<uint64_t>(idx.data() + 9);
  if (version != 1) return bad(prefix, absl::StrCat("has version ", version, " where 1 is known"));
  IndexView view;
  SY_ASSIGN_OR_RETURN(view.type, parse_type(static_cast<uint8_t>(idx[17]), prefix));
  const uint64_t sequences = load<uint64_t>(idx.data() + 18);
  const uint64_t starts = load<uint64_t>(idx.data() + 26);
  const uint64_t room = idx.size() - kHeaderBytes;
  if (starts == 0) return bad(prefix, "lacks the end of its documents");
  if (sequences > room / 12 || starts > room / 8 || 12 * sequences + 8 * starts > room) {
    return bad(prefix, absl::StrCat("has ", idx.size(), " bytes, too few for ", sequences, " sequences and ",
                                    starts - 1, " documents: it is truncated"));
  }
  if (12 * sequences + 8 * starts != room) {
    return bad(prefix, absl::StrCat("has ", room - 12 * sequences - 8 * starts,
                                    " bytes after its last array (multimodal data sets are not read)"));
  }
  view.sequences = static_cast<int64_t>(sequences);
  view.documents = static_cast<int64_t>(starts) - 1;
  const char* lengths = idx.data() + kHeaderBytes;
  view.offsets = lengths + 4 * sequences;
  view.document_starts = view.offsets + 8 * sequences;
  SY_ASSIGN_OR_RETURN(view.tokens, check_sequences(lengths, view, bin_bytes, prefix));
  SY_RETURN_IF_ERROR(check_documents(view, prefix));
  return view;
}

absl::StatusOr<IndexedDataset> IndexedDataset::open(const std::string& prefix) {
  SY_ASSIGN_OR_RETURN(MappedFile idx, MappedFile::open(prefix + ".idx"));
  SY_ASSIGN_OR_RETURN(MappedFile bin, MappedFile::open(prefix + ".bin"));
  SY_ASSIGN_OR_RETURN(const IndexView view, parse_index(idx.bytes(), static_cast<int64_t>(bin.bytes().size()), prefix));
  return IndexedDataset(prefix, std::move(idx), std::move(bin), view);
}

IndexedDataset::IndexedDataset(std::string prefix, MappedFile idx, MappedFile bin, IndexView view)
    : prefix_(std::move(prefix)), idx_(std::move(idx)), bin_(std::move(bin)), view_(view) {}

int64_t IndexedDataset::document_begin(int64_t document) const {
  const int64_t sequence = load<int64_t>(view_.document_starts + 8 * document);
  if (sequence == view_.sequences) return view_.tokens;
  return load<int64_t>(view_.offsets + 8 * sequence) / token_bytes(view_.type);
}

void IndexedDataset::read(int64_t begin, int64_t count, int64_t* out) const {
  const char* from = bin_.bytes().data() + begin * token_bytes(view_.type);
  switch (view_.type) {
    case TokenType::kUint8:
      return widen<uint8_t>(from, count, out);
    case TokenType::kInt8:
      return widen<int8_t>(from, count, out);
    case TokenType::kInt16:
      return widen<int16_t>(from, count, out);
    case TokenType::kInt32:
      return widen<int32_t>(from, count, out);
    case TokenType::kInt64:
      return widen<int64_t>(from, count, out);
    case TokenType::kUint16:
      return widen<uint16_t>(from, count, out);
  }
}

uint64_t IndexedDataset::fingerprint() const {
  constexpr size_t kEnd = 1 << 16;
  const auto hash = [](std::string_view bytes) { return checksum(bytes.data(), static_cast<int64_t>(bytes.size())); };
  const std::string_view bin = bin_.bytes();
  const std::array<uint64_t, 3> parts = {hash(idx_.bytes()), hash(bin.substr(0, kEnd)),
                                         hash(bin.substr(bin.size() - std::min(bin.size(), kEnd)))};
  return checksum(parts.data(), sizeof(parts));
}

}  // namespace switchyard
