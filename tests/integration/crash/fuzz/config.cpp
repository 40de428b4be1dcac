// A config's YAML text, for a schema that has every kind of field and rule.
#include <cstdint>
#include <string_view>

#include "launch/config/binder.h"
#include "tests/integration/crash/fuzz/limits.h"
#include "tests/launch/config/example_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  using namespace switchyard;
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  const MemoryLimit limit(bytes);
  ExampleConfig config;
  const absl::Status status = bind_text(schema_of(config), text, "input", {});
  expect(status.ok() || !status.message().empty(), "a refusal says why");
  return 0;
}
