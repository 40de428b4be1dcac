// The grid of ranks: named axes and the communicators over them. Dense parameters live on pipeline × data × context ×
// tensor, experts on pipeline × expert_data × expert × expert_tensor; both factor the same ranks, last axis innermost:
//   rank = ((pipeline·data + d)·context + c)·tensor + t = ((pipeline·expert_data + ed)·expert + e)·expert_tensor + et
// so rank order is token order. Pipeline and context have size 1 and exist in the algebra only.
// kv_shard and kv_replica factor tensor (t = kv_shard index · kv_replicas + replica) for key and value heads where
// tensor > kv_heads; both are 1 × tensor … tensor × 1 as the model's kv_heads ask.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"
#include "runtime/comm/shared_memory.h"

namespace switchyard {

enum class Axis { kPipeline, kData, kContext, kTensor, kKvReplica, kExpertData, kExpert, kExpertTensor };
std::string_view axis_name(Axis axis);

// How tokens travel to the ranks of their experts: straight, a row for each expert; a row for each rank, or for each
// host, that has some of a token's experts. Bits differ from one to the next, results do not.
enum class DispatcherKind { kAllToAll, kDeduplicated, kHierarchical };
const char* dispatcher_name(DispatcherKind kind);
std::string describe_dispatch(DispatcherKind kind, int chunks);  // "all_to_all", "hierarchical in 4 chunks"

struct MeshShape {
  int pipeline = 1, data = 1, context = 1, tensor = 1;
  int expert_data = 1, expert = 1, expert_tensor = 1;
  int kv_replica = 1;  // divides tensor
  DispatcherKind dispatcher = DispatcherKind::kAllToAll;
  int dispatch_chunks = 1;  // into which each rank's tokens are cut; one travels while experts compute another
  int ranks() const { return pipeline * data * context * tensor; }
};

// What the user asks for; data 0 means auto: whatever the ranks leave.
struct ParallelConfig {
  int data = 0;
  int tensor = 1;
  int expert = 1;
  int expert_tensor = 1;
  std::string dispatcher = "all_to_all";
  int dispatch_chunks = 1;
  bool shared_memory = true;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("data", data, "data-parallel ranks; auto: what the ranks leave").zero_is("auto").at_least(0);
    v("tensor", tensor, "ranks that share each dense layer and its rows").at_least(1);
    v("expert", expert, "ranks over which the experts are spread").at_least(1);
    v("expert_tensor", expert_tensor, "ranks that share each expert").at_least(1);
    v("dispatcher", dispatcher,
      "what a token sends to its experts: all_to_all, a row each; deduplicated, one for each rank that has some; "
      "hierarchical, one for each host, whose ranks hand on; auto: what is fastest in a trial at the start")
        .one_of({"all_to_all", "deduplicated", "hierarchical", "auto"});
    v("dispatch_chunks", dispatch_chunks,
      "into how many chunks a mixture layer cuts each rank's tokens; one travels while experts compute another; auto: "
      "what a model of wire and experts, fitted at the start, makes fastest for as many tokens")
        .zero_is("auto")
        .at_least(0);
    v("shared_memory", shared_memory,
      "write the rows of dispatch straight into the memory of ranks on the same host; false: send them by messages");
  }
};

// Impossible layouts are kBadConfig errors that give the sizes, the rule they break and the values that would work.
// `kv_heads` (0: no attention) and `heads` must suit tensor: heads is a multiple of tensor, and kv_heads a multiple or
// a divisor of it. Under auto the dispatcher is left as all_to_all, and dispatch_chunks as 1.
absl::StatusOr<MeshShape> resolve_mesh(const ParallelConfig& config, int ranks, int64_t heads, int64_t kv_heads);

// A set of axes; ranks that differ only along them form a group.
using AxisSet = std::vector<Axis>;  // sorted, no duplicates, no axis beside one of its factors

// One communicator per (group, purpose), so that no two users share an ordering.
enum class Purpose { kControl, kLayer, kDispatch, kGradient };

class Mesh {
 public:
  // Collective over `world`, whose size is shape.ranks(). The mesh borrows `world`.
  static absl::StatusOr<std::unique_ptr<Mesh>> create(Communicator& world, const MeshShape& shape);

  const MeshShape& shape() const { return shape_; }
  // Into how many chunks a layer cuts a part (of a step) that has so many tokens over all ranks, at least 1.
  using ChunksOf = std::function<int(int64_t part_tokens)>;
  // Replaces what the shape says of dispatch, on which no group depends; its dispatch_chunks are those of a part of
  // `part_tokens`. The same on all ranks.
  void settle_dispatch(DispatcherKind kind, ChunksOf chunks, int64_t part_tokens);
  // As settled; else the shape's for every part.
  int dispatch_chunks(int64_t part_tokens) const;
  int size(Axis axis) const;
  int index(Axis axis) const;  // this rank's coordinate
  Communicator& world() const { return world_; }

  // Number of ranks that differ only along `axes`, and this rank's index among them (rank order).
  int group_size(const AxisSet& axes) const;
  int group_index(const AxisSet& axes) const;
  // The communicator over `axes`, one of those that create() makes: {data}, {tensor}, {data, tensor},
  // {data, kv_replica}, {expert_data}, {expert_data, expert}, {expert, expert_tensor}; others are a bug.
  Communicator& group(const AxisSet& axes, Purpose purpose) const;
  // Those ranks of group({expert, expert_tensor}, kDispatch) that are on this rank's host.
  Communicator& node_group() const { return *node_group_; }
  // Gives node_group()'s ranks memory that all of them write and read. Collective over the world. kUnavailable, on all
  // ranks alike, where the system does not let them: then rows go by messages.
  absl::Status share_memory();
  // Null without share_memory(), and on a rank that is alone in its node_group().
  const SharedMemory* shared_memory() const { return shared_memory_.get(); }

 private:
  Mesh(Communicator& world, const MeshShape& shape) : world_(world), shape_(shape) {}

  Communicator& world_;
  MeshShape shape_;
  ChunksOf chunks_of_;  // null: the shape says it
  std::map<std::pair<AxisSet, Purpose>, std::unique_ptr<Communicator>> groups_;
  std::unique_ptr<Communicator> node_group_;
  std::unique_ptr<SharedMemory> shared_memory_;
};

}  // namespace switchyard
