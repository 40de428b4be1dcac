#include "launch/data/utf8.h"

#include <cstdint>
#include <cstring>

namespace switchyard {
namespace {

// The bytes of the character that begins here, 0 where none does.
size_t character_bytes(const unsigned char* at, size_t left) {
  const auto continues = [&](size_t i) { return (at[i] & 0xC0) == 0x80; };
  const unsigned char first = at[0];
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return left >= 2 && continues(1) ? 2 : 0;
  if (first < 0xF0) {
    if (left < 3 || !continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && at[1] < 0xA0) return 0;   // overlong
    if (first == 0xED && at[1] >= 0xA0) return 0;  // surrogate
    return 3;
  }
  if (first > 0xF4 || left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  if (first == 0xF0 && at[1] < 0x90) return 0;   // overlong
  if (first == 0xF4 && at[1] >= 0x90) return 0;  // above U+10FFFF
  return 4;
}

}  // namespace

size_t valid_utf8_prefix(std::string_view text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight = 0;
    if (text.size() - i >= 8) {
      std::memcpy(&eight, bytes + i, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    const size_t step = character_bytes(bytes + i, text.size() - i);
    if (step == 0) return i;
    i += step;
  }
  return i;
}

}  // namespace switchyard
