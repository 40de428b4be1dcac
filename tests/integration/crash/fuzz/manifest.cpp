// A manifest without its hash, which is added here: no input would guess it.
#include "parallel/checkpoint/manifest.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/storage/checksum.h"
#include "tests/integration/crash/fuzz/limits.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  using namespace switchyard;
  const std::string body(reinterpret_cast<const char*>(data), bytes);
  const std::string hash = checksum_text(checksum(data, static_cast<int64_t>(bytes)));
  const std::string text = body + ",\n\"hash\":\"" + hash + "\"}\n";
  const MemoryLimit limit(bytes);
  const auto manifest = parse_manifest(text, "input");
  if (!manifest.ok() || !check_complete(*manifest).ok()) return 0;
  if (manifest->version < kManifestVersion) return 0;  // is read, but never written
  const auto again = serialise_manifest(*manifest);
  expect(again.ok() && parse_manifest(*again, "again").ok(), "what is accepted can be written and read again");
  return 0;
}
