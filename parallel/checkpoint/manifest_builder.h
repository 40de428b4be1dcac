// Makes a manifest of pieces that describe a file each, or several.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "parallel/checkpoint/manifest.h"

namespace switchyard {

class ManifestBuilder {
 public:
  // Only the files and tensors of `piece` count. kInternal where pieces disagree on a tensor's dtype or shape.
  absl::Status add(Manifest piece);
  // All files in the order in which they came, and all tensors by name.
  Manifest take();

 private:
  std::vector<StoredFile> files_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace switchyard
