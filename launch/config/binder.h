// Strict YAML into config structs. Every key must be known, given once, and of the right type; every value must keep
// its field's rules. All problems of a file are reported together, in the order of its lines, as one kBadConfig error:
//   configs/x.yaml:7: unknown key 'train.step'; did you mean 'train.steps'? (and 1 more problem)
// Keys that are not given keep the struct's defaults.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "launch/config/field.h"
#include "runtime/base/status.h"

namespace switchyard {

// Writes the values of `text`, then of the overrides ("section.key=value", the last one of a key wins), through the
// schema's pointers, and validates every section. `source` names the text in messages. An override that has no '=' is a
// kUsage error. After an error the targets hold a mixture.
absl::Status bind_text(const Schema& schema, std::string_view text, const std::string& source,
                       std::span<const std::string> overrides);

// The same for a file; kMissingInput where it cannot be read.
absl::Status bind_file(const Schema& schema, const std::string& path, std::span<const std::string> overrides);

template <typename Config>
absl::StatusOr<Config> read_config(const std::string& path, std::span<const std::string> overrides = {}) {
  Config config;
  SY_RETURN_IF_ERROR(bind_file(schema_of(config), path, overrides));
  return config;
}

}  // namespace switchyard
