// 4 bytes of little-endian size of the .bin, then an .idx.
#include <cstdint>
#include <cstring>
#include <string_view>

#include "launch/data/indexed_dataset.h"
#include "tests/integration/crash/fuzz/limits.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  using namespace switchyard;
  uint32_t bin_bytes = 0;
  if (bytes < sizeof bin_bytes) return 0;
  std::memcpy(&bin_bytes, data, sizeof bin_bytes);
  const std::string_view idx(reinterpret_cast<const char*>(data) + 4, bytes - 4);
  const MemoryLimit limit(bytes);
  const auto view = parse_index(idx, bin_bytes, "input");
  if (!view.ok()) return 0;
  expect(view->tokens * token_bytes(view->type) == bin_bytes, "the tokens fill the .bin");
  for (int64_t d = 0; d <= view->documents; ++d) {
    int64_t start = 0;
    std::memcpy(&start, view->document_starts + 8 * d, sizeof start);
    expect(start >= 0 && start <= view->sequences, "documents begin at sequences");
    if (start == view->sequences) continue;
    int64_t offset = 0;
    std::memcpy(&offset, view->offsets + 8 * start, sizeof offset);
    expect(offset >= 0 && offset <= bin_bytes, "sequences begin within the .bin");
  }
  return 0;
}
