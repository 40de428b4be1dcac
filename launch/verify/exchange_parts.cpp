#include "launch/verify/exchange_parts.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;

std::string list_of(std::span<const TensorPart> parts) {
  Json list = Json::array();
  for (const TensorPart& part : parts) {
    list.push_back({part.name, static_cast<int>(part.dtype), part.shape, part.box.offset, part.box.extent});
  }
  return list.dump();
}

std::vector<TensorPart> parts_of(const std::string& list) {
  std::vector<TensorPart> parts;
  for (const Json& entry : Json::parse(list)) {
    parts.push_back({.name = entry[0],
                     .dtype = static_cast<at::ScalarType>(entry[1].get<int>()),
                     .shape = entry[2],
                     .box = {entry[3], entry[4]},
                     .data = {}});
  }
  return parts;
}

at::Tensor within(const TensorPart& part, const Box& box) {
  at::Tensor view = part.data;
  for (size_t d = 0; d < box.extent.size(); ++d) {
    view = view.narrow(static_cast<int64_t>(d), box.offset[d] - part.box.offset[d], box.extent[d]);
  }
  return view;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<TensorPart>>> list_parts(Communicator& world, std::span<const TensorPart> own) {
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> lists, all_gather_texts(world, list_of(own)));
  std::vector<std::vector<TensorPart>> parts;
  for (const std::string& list : lists) parts.push_back(parts_of(list));
  return parts;
}

absl::Status exchange_parts(Communicator& world, std::span<const TensorPart> own,
                            const std::function<void(const TensorPart&)>& visit) {
  SY_ASSIGN_OR_RETURN(const std::vector<std::vector<TensorPart>> lists, list_parts(world, own));
  for (int rank = 0; rank < world.size(); ++rank) {
    for (size_t i = 0; i < lists[rank].size(); ++i) {
      TensorPart part = lists[rank][i];
      if (part.box.empty()) continue;
      part.data = rank == world.rank() ? own[i].data.contiguous() : at::empty(part.box.extent, part.dtype);
      SY_RETURN_IF_ERROR(world.broadcast(part.data, rank).wait());
      visit(part);
    }
  }
  return absl::OkStatus();
}

Overlap overlap(const TensorPart& a, const TensorPart& b) {
  const Box common = intersect(a.box, b.box);
  if (common.empty()) return {};
  return {within(a, common), within(b, common)};
}

void copy_overlap(const TensorPart& from, const TensorPart& into) {
  SY_CHECK(from.shape == into.shape);
  Overlap both = overlap(from, into);
  if (both.a.defined()) both.b.copy_(both.a);
}

TensorPart whole_part(std::string name, at::Tensor data) {
  const std::vector<int64_t> shape = data.sizes().vec();
  return {std::move(name), data.scalar_type(), shape, Box::whole(shape), std::move(data)};
}

}  // namespace switchyard
