// What an input may cost: while an object lives, memory beyond the input's size + 64 MiB ends the program.
#pragma once

#include <cstddef>

namespace switchyard {

class MemoryLimit {
 public:
  explicit MemoryLimit(size_t input_bytes);  // one at a time
  ~MemoryLimit();
};

// Ends the program, as a crash that libFuzzer keeps the input of.
void expect(bool condition, const char* what);

}  // namespace switchyard
