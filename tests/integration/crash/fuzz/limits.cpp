#include "tests/integration/crash/fuzz/limits.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <sanitizer/allocator_interface.h>

namespace {

// The parsers run on one thread.
int64_t live_bytes = 0;
int64_t most_bytes = 0;  // 0: no limit now

}  // namespace

// The sanitizer calls these for every allocation.
extern "C" void __sanitizer_malloc_hook(const volatile void*, size_t bytes) {
  live_bytes += static_cast<int64_t>(bytes);
  if (most_bytes > 0) switchyard::expect(live_bytes <= most_bytes, "more memory than the input and 64 MiB");
}
extern "C" void __sanitizer_free_hook(const volatile void* pointer) {
  if (pointer != nullptr)
    live_bytes -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<void*>(pointer)));
}

namespace switchyard {

MemoryLimit::MemoryLimit(size_t input_bytes) {
  live_bytes = 0;
  most_bytes = static_cast<int64_t>(input_bytes) + (int64_t{64} << 20);
}

MemoryLimit::~MemoryLimit() {
  most_bytes = 0;
}

void expect(bool condition, const char* what) {
  if (condition) return;
  most_bytes = 0;
  std::fprintf(stderr, "not as expected: %s\n", what);
  std::abort();
}

}  // namespace switchyard
