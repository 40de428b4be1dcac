#include "parallel/dispatch/make_dispatcher.h"

#include <absl/strings/str_cat.h>

#include "parallel/dispatch/all_to_all.h"
#include "parallel/dispatch/hierarchical.h"
#include "parallel/dispatch/local.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

Communicator& dispatch_group(const Mesh& mesh) {
  return mesh.group({Axis::kExpert, Axis::kExpertTensor}, Purpose::kDispatch);
}

}  // namespace

std::unique_ptr<Dispatcher> make_dispatcher(DispatcherKind kind, const Placement& placement, const Mesh& mesh) {
  Communicator& group = dispatch_group(mesh);
  const int expert_tensor = mesh.size(Axis::kExpertTensor);
  if (group.size() == 1) return std::make_unique<LocalDispatcher>(placement.experts);
  switch (kind) {
    case DispatcherKind::kAllToAll:
      return std::make_unique<AllToAllDispatcher>(group, placement, expert_tensor, mesh.node_group(),
                                                  mesh.shared_memory());
    case DispatcherKind::kDeduplicated:
      return HierarchicalDispatcher::over_ranks(group, placement, expert_tensor);
    case DispatcherKind::kHierarchical:
      return HierarchicalDispatcher::over_nodes(group, mesh.node_group(), placement, expert_tensor,
                                                mesh.shared_memory());
  }
  check_failed(__FILE__, __LINE__, "unknown dispatcher");
}

absl::Status check_dispatcher(DispatcherKind kind, const Mesh& mesh) {
  if (kind != DispatcherKind::kHierarchical) return absl::OkStatus();
  const int expert_tensor = mesh.size(Axis::kExpertTensor);
  absl::Status apart;
  if (!Domains::by_node(dispatch_group(mesh)).keep_together(expert_tensor)) {
    apart = error(
        ErrorCategory::kBadConfig,
        absl::StrCat("parallel.dispatcher=hierarchical needs the ranks that share an expert on one host, but "
                     "parallel.expert_tensor=",
                     expert_tensor, " spans hosts; use deduplicated, or place ranks that follow one another together"));
  }
  return agree(mesh.world(), apart);  // other dispatch groups may lie otherwise
}

}  // namespace switchyard
