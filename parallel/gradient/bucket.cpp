#include "parallel/gradient/bucket.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <ATen/Functions.h>

#include "runtime/base/check.h"
#include "runtime/numerics/precision.h"

namespace switchyard {
namespace {

at::Tensor part_of(const at::Tensor& storage, const BucketMember& member, Range range) {
  return storage.view(-1).narrow(0, member.slice->offset + range.begin, range.size());
}

// The members' owners, in the order of forward use.
std::vector<BucketMember> assign_owners(const ParameterList& parameters, const Mesh& mesh) {
  OwnerAssignment assignment;
  std::vector<BucketMember> members;
  for (Parameter* parameter : parameters) {
    for (const Slice& slice : parameter->slices()) {
      members.push_back({parameter, &slice, assignment.next(slice, mesh.group_size(slice.spec.replicated))});
    }
  }
  return members;
}

}  // namespace

int64_t Bucket::owned_elements(int owner) const {
  int64_t sum = 0;
  for (const BucketMember& member : members) sum += member.owned[owner].size();
  return sum;
}

std::vector<at::Tensor> Bucket::gradients_of(int owner) const {
  std::vector<at::Tensor> parts;
  for (const BucketMember& member : members) {
    const Range range = member.owned[owner];
    if (range.size() > 0) parts.push_back(part_of(member.parameter->gradient(), member, range));
  }
  return parts;
}

std::vector<at::Tensor> Bucket::values_of(int owner) const {
  std::vector<at::Tensor> parts;
  for (const BucketMember& member : members) {
    const Range range = member.owned[owner];
    if (range.size() > 0) parts.push_back(part_of(member.parameter->value().detach(), member, range));
  }
  return parts;
}

std::vector<Bucket> make_buckets(const ParameterList& parameters, const Mesh& mesh, int64_t bucket_bytes) {
  std::vector<BucketMember> members = assign_owners(parameters, mesh);
  std::map<std::tuple<AxisSet, AxisSet, at::ScalarType>, Bucket> open;
  std::vector<Bucket> closed;
  for (auto member = members.rbegin(); member != members.rend(); ++member) {
    const ShardSpec& spec = member->slice->spec;
    const at::ScalarType dtype = member->parameter->value().scalar_type();
    const int64_t elements = spec.box.numel();
    const int64_t most = bucket_bytes / static_cast<int64_t>(c10::elementSize(accumulate_dtype(dtype)));
    Bucket single{.replicated = spec.replicated, .partial = spec.partial, .members = {}};
    const bool alone = elements >= most;
    Bucket& bucket = alone ? single : open.try_emplace({spec.partial, spec.replicated, dtype}, single).first->second;
    bucket.members.push_back(std::move(*member));
    bucket.elements += elements;
    if (bucket.elements < most) continue;
    closed.push_back(std::move(bucket));
    if (!alone) open.erase({spec.partial, spec.replicated, dtype});
  }
  for (auto& [key, bucket] : open) closed.push_back(std::move(bucket));
  return closed;
}

std::vector<int> owners_along(const Mesh& mesh, const AxisSet& replicated, const AxisSet& partial) {
  for (Axis axis : partial) SY_CHECK(std::count(replicated.begin(), replicated.end(), axis) == 1);
  std::vector<int> owners(mesh.group_size(partial));
  for (int member = 0; member < static_cast<int>(owners.size()); ++member) {
    int rest = member, stride = 1;
    for (auto axis = replicated.rbegin(); axis != replicated.rend(); ++axis) {
      const int size = mesh.size(*axis);
      int index = mesh.index(*axis);
      if (std::count(partial.begin(), partial.end(), *axis) > 0) {
        index = rest % size;
        rest /= size;
      }
      owners[member] += index * stride;
      stride *= size;
    }
  }
  return owners;
}

at::Tensor pack(const std::vector<at::Tensor>& parts) {
  SY_CHECK(!parts.empty());
  int64_t elements = 0;
  bool consecutive = true;
  const auto* first = static_cast<const char*>(parts.front().const_data_ptr());
  for (const at::Tensor& part : parts) {
    consecutive = consecutive && part.is_alias_of(parts.front()) &&
                  part.const_data_ptr() == first + elements * static_cast<int64_t>(part.element_size());
    elements += part.numel();
  }
  return consecutive ? parts.front().as_strided({elements}, {1}) : at::cat(parts);
}

}  // namespace switchyard
