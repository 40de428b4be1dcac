// A file that claims to be safetensors, whole.
#include "runtime/storage/safetensors.h"

#include <cstdint>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "tests/integration/crash/fuzz/limits.h"

namespace switchyard {
namespace {

// A file in memory that holds the input, and its path.
struct MemoryFile {
  int descriptor = ::memfd_create("input", 0);
  std::string path = "/proc/self/fd/" + std::to_string(descriptor);

  void fill(const uint8_t* data, size_t bytes) const {
    expect(::ftruncate(descriptor, 0) == 0 && ::pwrite(descriptor, data, bytes, 0) == static_cast<ssize_t>(bytes),
           "the input can be written");
  }
};

void check(const SafetensorsReader& reader) {
  SafetensorsHeader header{reader.entries(), reader.metadata()};
  const std::string text = serialise_safetensors_header(header);
  const int64_t data_bytes = header.entries.empty() ? 0 : header.entries.back().end;
  const auto again = parse_safetensors_header(std::string_view(text).substr(8), data_bytes, "again");
  expect(again.ok(), "what is accepted can be written and read again");
  expect(again->entries.size() == header.entries.size(), "with as many tensors");
  int64_t end = 0;
  for (const StoredEntry& entry : header.entries) {
    expect(entry.begin == end && entry.end >= end, "the tensors cover the data");
    end = entry.end;
    char last = 0;
    if (entry.end > entry.begin)
      expect(reader.read(entry, entry.end - entry.begin - 1, &last, 1).ok(), "and are there");
  }
}

}  // namespace
}  // namespace switchyard

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  static const switchyard::MemoryFile file;
  file.fill(data, bytes);
  const switchyard::MemoryLimit limit(bytes);
  const auto reader = switchyard::SafetensorsReader::open(file.path);
  if (reader.ok()) switchyard::check(*reader);
  return 0;
}
