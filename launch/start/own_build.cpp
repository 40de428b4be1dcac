#include "launch/start/own_build.h"

#include "runtime/storage/checksum.h"
#include "runtime/storage/file.h"

namespace switchyard {

std::string own_build() {
  const auto file = InputFile::open("/proc/self/exe");
  if (!file.ok()) return "unknown";
  std::string bytes(static_cast<size_t>(file->size()), '\0');
  if (!file->read(0, bytes.data(), file->size()).ok()) return "unknown";
  return checksum_text(checksum(bytes.data(), file->size()));
}

}  // namespace switchyard
