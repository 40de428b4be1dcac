// Sizes and shapes for people.
#pragma once

#include <cstdint>
#include <string>

#include "parallel/checkpoint/manifest.h"

namespace switchyard {

std::string size_text(int64_t bytes);               // "1.5 MiB"
std::string type_text(const StoredTensor& tensor);  // "F32 [512,64]"
std::string box_text(const Box& box);               // "[0:256, 0:64]"

}  // namespace switchyard
