// One YAML value into one field.
#pragma once

#include <optional>
#include <string>

#include <yaml-cpp/yaml.h>

#include "launch/config/field.h"

namespace switchyard {

// Writes `node` to the field's target. Returns what is wrong with it ("expects an integer, got 'ten'"), or nothing.
std::optional<std::string> assign(const Field& field, const YAML::Node& node);

}  // namespace switchyard
