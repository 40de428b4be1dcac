#include "launch/data/corpus.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <absl/strings/str_cat.h>
#include <nlohmann/json.hpp>

#include "launch/data/utf8.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kReadBytes = 1 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

absl::Status bad_document(const RawDocument& document, size_t at, std::string_view what, std::string_view remedy) {
  const std::string line = document.line > 0 ? absl::StrCat(" line ", document.line, ",") : "";
  return error(ErrorCategory::kBadData,
               absl::StrCat(std::string(document.file), ":", line, " byte ", document.offset + static_cast<int64_t>(at),
                            ": ", std::string(what), "; ", std::string(remedy)));
}

absl::StatusOr<DocumentText> parse_line(const RawDocument& document) {
  constexpr std::string_view kRemedy = "every line must be {\"text\": \"…\"}";
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(document.content);
  } catch (const nlohmann::json::parse_error& failure) {
    const size_t at = failure.byte == 0 ? 0 : failure.byte - 1;
    return bad_document(document, std::min(at, document.content.size()), "not valid JSON", kRemedy);
  }
  if (!value.is_object()) return bad_document(document, 0, "not a JSON object", kRemedy);
  const auto text = value.find("text");
  if (text == value.end()) return bad_document(document, 0, "has no \"text\"", kRemedy);
  if (!text->is_string()) return bad_document(document, 0, "its \"text\" is not a string", kRemedy);
  const auto tag = value.find("tag");
  if (tag == value.end() || tag->is_null()) return DocumentText{text->get<std::string>(), ""};
  if (!tag->is_string()) return bad_document(document, 0, "its \"tag\" is not a string", kRemedy);
  return DocumentText{text->get<std::string>(), tag->get<std::string>()};
}

bool hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

absl::Status walk(const std::string& folder, std::vector<std::string>& files) {
  std::error_code code;
  std::vector<std::string> found;
  for (fs::recursive_directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    if (hidden(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file(code)) {
      found.push_back(it->path().string());
    }
  }
  if (code) {
    return error(ErrorCategory::kIo,
                 absl::StrCat("cannot list ", folder, ": ", code.message(), "; check its permissions"));
  }
  std::sort(found.begin(), found.end());
  files.insert(files.end(), found.begin(), found.end());
  return absl::OkStatus();
}

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

absl::StatusOr<DocumentText> document_text(RawDocument document, TextFormat format) {
  const size_t valid = valid_utf8_prefix(document.content);
  if (valid < document.content.size()) {
    return bad_document(document, valid, "not valid UTF-8", "convert the file (iconv -t utf-8) or leave it out");
  }
  if (format == TextFormat::kJsonLines) return parse_line(document);
  return DocumentText{std::move(document.content), ""};
}

absl::StatusOr<std::vector<std::string>> list_inputs(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code code;
    const fs::file_status status = fs::status(path, code);
    if (fs::is_directory(status)) {
      SY_RETURN_IF_ERROR(walk(path, files));
    } else if (fs::exists(status)) {
      files.push_back(path);
    } else {
      return error(ErrorCategory::kMissingInput, absl::StrCat("there is no ", path, "; check --input"));
    }
  }
  return files;
}

CorpusReader::CorpusReader(std::vector<std::string> files, TextFormat format)
    : files_(std::move(files)), format_(format) {
  for (const std::string& file : files_) {
    std::error_code code;
    const auto bytes = fs::file_size(file, code);
    if (!code) bytes_total_ += static_cast<int64_t>(bytes);
  }
}

absl::StatusOr<std::optional<std::vector<RawDocument>>> CorpusReader::next() {
  std::vector<RawDocument> batch;
  size_t bytes = 0;
  size_t counted = 0;
  while (bytes < kBatchBytes && (file_ != nullptr || next_file_ < files_.size())) {
    if (file_ == nullptr) SY_RETURN_IF_ERROR(open());
    SY_RETURN_IF_ERROR(read_some(batch));
    for (; counted < batch.size(); ++counted) bytes += batch[counted].content.size();
  }
  if (batch.empty()) return std::optional<std::vector<RawDocument>>();
  return std::optional(std::move(batch));
}

absl::Status CorpusReader::open() {
  const std::string& path = files_[next_file_++];
  errno = 0;
  file_.reset(gzopen(path.c_str(), "rbe"));
  if (file_ == nullptr) {
    const auto category = errno == ENOENT ? ErrorCategory::kMissingInput : ErrorCategory::kIo;
    return error(category, absl::StrCat("cannot open ", path, ": ", std::strerror(errno), "; check the path"));
  }
  gzbuffer(file_.get(), 1 << 18);
  pending_.clear();
  searched_ = 0;
  file_ended_ = false;
  offset_ = 0;
  line_ = 0;
  return absl::OkStatus();
}

absl::Status CorpusReader::fill() {
  const std::string& path = files_[next_file_ - 1];
  const size_t had = pending_.size();
  pending_.resize(had + kReadBytes);
  const int got = gzread(file_.get(), pending_.data() + had, kReadBytes);
  pending_.resize(had + static_cast<size_t>(std::max(got, 0)));
  int code = Z_OK;
  const char* message = gzerror(file_.get(), &code);
  if (code == Z_ERRNO) {
    return error(ErrorCategory::kIo,
                 absl::StrCat("cannot read ", path, ": ", std::strerror(errno), "; check the disk"));
  }
  file_ended_ = static_cast<size_t>(std::max(got, 0)) < kReadBytes;
  // A file cut short shows only here: zlib hands out what there was and then reports Z_BUF_ERROR.
  if (code != Z_OK) {
    return error(ErrorCategory::kBadData,
                 absl::StrCat(path, ": broken gzip after ", offset_ + static_cast<int64_t>(pending_.size()),
                              " bytes of text (", message, "); fetch the file again"));
  }
  if (had == 0 && offset_ == 0 && pending_.starts_with(kByteOrderMark)) {
    pending_.erase(0, kByteOrderMark.size());
    offset_ = static_cast<int64_t>(kByteOrderMark.size());
  }
  bytes_here_ = gzoffset(file_.get());
  return absl::OkStatus();
}

absl::Status CorpusReader::read_some(std::vector<RawDocument>& batch) {
  SY_RETURN_IF_ERROR(fill());
  if (format_ == TextFormat::kJsonLines) give_lines(batch);
  if (!file_ended_) return absl::OkStatus();
  // What is left is a text file, or a last line without a line's end.
  if (format_ == TextFormat::kJsonLines) ++line_;
  if (format_ == TextFormat::kText ? !pending_.empty() : !blank(pending_)) {
    batch.push_back({files_[next_file_ - 1], line_, offset_, std::move(pending_)});
  }
  bytes_before_ += std::exchange(bytes_here_, 0);
  file_.reset();
  return absl::OkStatus();
}

void CorpusReader::give_lines(std::vector<RawDocument>& batch) {
  size_t begin = 0;
  for (size_t end = pending_.find('\n', searched_); end != std::string::npos; end = pending_.find('\n', begin)) {
    ++line_;
    std::string line = pending_.substr(begin, end - begin);
    if (!blank(line))
      batch.push_back({files_[next_file_ - 1], line_, offset_ + static_cast<int64_t>(begin), std::move(line)});
    begin = end + 1;
  }
  pending_.erase(0, begin);
  offset_ += static_cast<int64_t>(begin);
  searched_ = pending_.size();
}

}  // namespace switchyard
