#include "runtime/storage/safetensors_header.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;

constexpr int kMostLevels = 3;  // of values within values: the header, a tensor, its shape

class HeaderParser {
 public:
  HeaderParser(int64_t data_bytes, const std::string& file) : data_bytes_(data_bytes), file_(file) {}

  absl::StatusOr<SafetensorsHeader> parse(std::string_view text) const {
    SY_ASSIGN_OR_RETURN(const Json json, parse_json(text));
    SafetensorsHeader header;
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") {
        SY_RETURN_IF_ERROR(parse_metadata(value, header.metadata));
      } else {
        SY_ASSIGN_OR_RETURN(StoredEntry entry, parse_entry(name, value));
        header.entries.push_back(std::move(entry));
      }
    }
    std::sort(header.entries.begin(), header.entries.end(), [](const StoredEntry& a, const StoredEntry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    SY_RETURN_IF_ERROR(check_layout(header.entries));
    return header;
  }

 private:
  absl::Status bad(const std::string& what) const {
    return error(ErrorCategory::kBadData, absl::StrCat(file_, ": ", what, "; the file is damaged or not safetensors"));
  }

  absl::Status bad(const std::string& tensor, const std::string& what) const {
    return bad(absl::StrCat("tensor \"", tensor, "\": ", what));
  }

  // An object; JSON itself lets keys repeat, the format does not.
  absl::StatusOr<Json> parse_json(std::string_view text) const {
    if (text.empty() || text.front() != '{') return bad("the header does not start with '{'");
    std::vector<std::set<std::string>> keys;
    std::optional<std::string> repeated;
    bool too_deep = false;
    const auto note_keys = [&](int depth, Json::parse_event_t event, Json& parsed) {
      too_deep = too_deep || depth > kMostLevels;
      if (too_deep) return false;  // and what is deeper takes no memory
      if (event == Json::parse_event_t::object_start) {
        keys.emplace_back();
      } else if (event == Json::parse_event_t::object_end) {
        keys.pop_back();
      } else if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
        repeated = parsed.get<std::string>();
      }
      return true;
    };
    Json json = Json::parse(text.begin(), text.end(), note_keys, /*allow_exceptions=*/false);
    if (too_deep) return bad("the header nests deeper than the format does");
    if (json.is_discarded() || !json.is_object()) return bad("the header is not a JSON object");
    if (repeated) return bad(absl::StrCat("the header has the key \"", *repeated, "\" twice"));
    return json;
  }

  absl::Status parse_metadata(const Json& value, std::map<std::string, std::string>& metadata) const {
    if (!value.is_object()) return bad("__metadata__ is not an object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) return bad(absl::StrCat("__metadata__ \"", key, "\" is not a text"));
      metadata[key] = text.get<std::string>();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<StoredEntry> parse_entry(const std::string& name, const Json& value) const {
    if (!value.is_object()) return bad(name, "its description is not an object");
    const auto dtype = value.find("dtype");
    const auto shape = value.find("shape");
    const auto offsets = value.find("data_offsets");
    if (dtype == value.end() || shape == value.end() || offsets == value.end() || value.size() != 3) {
      return bad(name, "its keys are not dtype, shape and data_offsets");
    }
    StoredEntry entry;
    entry.name = name;
    const std::optional<Dtype> known =
        dtype->is_string() ? parse_dtype(dtype->get_ref<const std::string&>()) : std::nullopt;
    if (!known) return bad(name, absl::StrCat("unknown dtype ", dtype->dump(-1, ' ', true)));
    entry.dtype = *known;
    const std::optional<std::vector<int64_t>> extents = parse_sizes(*shape);
    if (!extents) return bad(name, "its shape is not a list of sizes");
    entry.shape = *extents;
    const std::optional<std::vector<int64_t>> range = parse_sizes(*offsets);
    if (!range || range->size() != 2) return bad(name, "its data_offsets are not two sizes");
    entry.begin = range->front();
    entry.end = range->back();
    SY_RETURN_IF_ERROR(check_size(entry));
    return entry;
  }

  static std::optional<std::vector<int64_t>> parse_sizes(const Json& value) {
    if (!value.is_array()) return std::nullopt;
    std::vector<int64_t> sizes;
    for (const Json& item : value) {
      if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t{INT64_MAX}) return std::nullopt;
      sizes.push_back(item.get<int64_t>());
    }
    return sizes;
  }

  absl::Status check_size(const StoredEntry& entry) const {
    if (entry.begin > entry.end || entry.end > data_bytes_) {
      return bad(entry.name, absl::StrCat("its data, bytes ", entry.begin, " to ", entry.end, ", is not within the ",
                                          data_bytes_, " bytes after the header"));
    }
    const std::optional<int64_t> needed = tensor_bytes(entry.dtype, entry.shape);
    if (!needed || *needed != entry.end - entry.begin) {
      return bad(entry.name, absl::StrCat(entry.end - entry.begin, " bytes do not hold ", dtype_name(entry.dtype), " [",
                                          absl::StrJoin(entry.shape, ","), "]"));
    }
    return absl::OkStatus();
  }

  absl::Status check_layout(const std::vector<StoredEntry>& entries) const {
    int64_t end = 0;
    for (const StoredEntry& entry : entries) {
      if (entry.begin != end) {
        return bad(entry.name, absl::StrCat("its data starts at byte ", entry.begin, ", ",
                                            entry.begin < end ? "inside" : "with a hole after",
                                            " the data before it, which ends at ", end));
      }
      end = entry.end;
    }
    if (end != data_bytes_) {
      return bad(absl::StrCat("the tensors end at byte ", end, ", but ", data_bytes_, " bytes follow the header"));
    }
    return absl::OkStatus();
  }

  int64_t data_bytes_;
  const std::string& file_;
};

}  // namespace

absl::StatusOr<SafetensorsHeader> parse_safetensors_header(std::string_view json, int64_t data_bytes,
                                                           const std::string& file) {
  return HeaderParser(data_bytes, file).parse(json);
}

std::string serialise_safetensors_header(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  std::string text = json.dump();
  text.pop_back();
  // Written entry by entry: an ordered object would look for repeated keys in quadratic time.
  for (const StoredEntry& entry : header.entries) {
    const nlohmann::ordered_json value = {
        {"dtype", dtype_name(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
    absl::StrAppend(&text, text.size() > 1 ? "," : "", Json(entry.name).dump(), ":", value.dump());
  }
  text += '}';
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i));
  return out + text;
}

}  // namespace switchyard
