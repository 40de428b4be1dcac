// UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace switchyard {

// The offset of the first byte that does not belong to a valid character; text.size() where all do.
size_t valid_utf8_prefix(std::string_view text);

}  // namespace switchyard
