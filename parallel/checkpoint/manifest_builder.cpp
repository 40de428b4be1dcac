#include "parallel/checkpoint/manifest_builder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <absl/strings/str_cat.h>

#include "runtime/base/status.h"

namespace switchyard {

absl::Status ManifestBuilder::add(Manifest piece) {
  for (StoredTensor& tensor : piece.tensors) {
    for (StoredBox& box : tensor.boxes) box.file += files_.size();
    const auto [at, inserted] = tensors_.try_emplace(tensor.name, tensor);
    if (inserted) continue;
    if (at->second.dtype != tensor.dtype || at->second.shape != tensor.shape) {
      return error(ErrorCategory::kInternal,
                   absl::StrCat("ranks disagree on dtype or shape of tensor \"", tensor.name, "\""));
    }
    std::move(tensor.boxes.begin(), tensor.boxes.end(), std::back_inserter(at->second.boxes));
  }
  std::move(piece.files.begin(), piece.files.end(), std::back_inserter(files_));
  return absl::OkStatus();
}

Manifest ManifestBuilder::take() {
  Manifest manifest;
  manifest.files = std::exchange(files_, {});
  for (auto& [name, tensor] : tensors_) manifest.tensors.push_back(std::move(tensor));
  tensors_.clear();
  return manifest;
}

}  // namespace switchyard
