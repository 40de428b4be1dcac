// Config values as text: the forms that YAML files, error messages and the reference share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/config/field.h"

namespace switchyard {

// The shortest form that reads back as the same number, in a notation that every YAML reader takes for one.
std::string number_text(double value);

// The field's present value on one line, as it would stand in a config: 12, auto, 0.0003, [0.9, 0.95].
std::string value_text(const Field& field);

// Changes of one character (insert, delete, replace, swap neighbours) that lead from one to the other (optimal string
// alignment).
int edit_distance(std::string_view a, std::string_view b);

// The candidate that a mistyped dotted `path` most likely meant, or empty when none is near: few edits away, or the
// same last name in another section.
std::string nearest_key(std::string_view path, const std::vector<std::string>& candidates);

}  // namespace switchyard
