// What tells two builds of the program apart.
#pragma once

#include <string>

namespace switchyard {

// The checksum of the running executable; "unknown" where it cannot be read. Local.
std::string own_build();

}  // namespace switchyard
