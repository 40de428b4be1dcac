// A mixture layer as models have it, in fp64, its rows on the wire even where a rank is alone.
#pragma once

#include <cstdint>
#include <memory>

#include "layers/moe/config.h"
#include "layers/moe/moe_layer.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

inline constexpr int64_t kWidth = 20;

std::unique_ptr<MoeLayer> make_layer(const MoeConfig& config, const Mesh& mesh);

}  // namespace switchyard
