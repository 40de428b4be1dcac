#include "launch/verify/norms.h"

#include <bit>
#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {

absl::StatusOr<Norms> norms_of(Communicator& world, std::span<const TensorPart> parts) {
  nlohmann::json own = nlohmann::json::array();
  for (const TensorPart& part : parts) {
    // NaN and infinity have no JSON, but the bits of a double have.
    const double norm = part.box.empty() ? 0 : part.data.to(at::kDouble).norm().item<double>();
    own.push_back({part.name, std::bit_cast<uint64_t>(norm), part.box.numel()});
  }
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> lists, all_gather_texts(world, own.dump()));
  Norms norms;
  for (const std::string& list : lists) {
    for (const auto& entry : nlohmann::json::parse(list)) {
      Norm& tensor = norms[entry[0]];
      tensor.norm = std::hypot(tensor.norm, std::bit_cast<double>(entry[1].get<uint64_t>()));
      tensor.elements += entry[2].get<int64_t>();
    }
  }
  return norms;
}

}  // namespace switchyard
