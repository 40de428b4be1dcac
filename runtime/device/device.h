// Where a rank's tensors live. CUDA is part of the interfaces but of no build yet.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>
#include <c10/core/Device.h>

namespace switchyard {

// `wanted`: auto, cpu or cuda. auto takes the best that this build has. kUnavailable where the build lacks it,
// kBadConfig for any other word.
absl::StatusOr<c10::Device> choose_device(std::string_view wanted);

}  // namespace switchyard
