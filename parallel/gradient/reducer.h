// Sums gradients over the ranks where they are partial, bucket by bucket while backward still runs, and leaves every
// rank with the sums of the elements that it updates.
//
// A step:  begin_step() → [forward, backward] for every part but the last → begin_last_part() → forward, backward →
//          finish() → read shards().
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>
#include <absl/status/status.h>

#include "parallel/gradient/bucket.h"
#include "runtime/comm/communicator.h"
#include "runtime/telemetry/recorder.h"

namespace switchyard {

enum class ReductionEvent { kLaunched, kCompleted };

#ifdef NDEBUG
constexpr bool kCheckReplicasByDefault = false;
#else
constexpr bool kCheckReplicasByDefault = true;
#endif

using ReductionObserver = std::function<void(ReductionEvent, size_t bucket, int64_t bytes)>;

// Records a span "reduce gradients" on lane "communication" for each bucket that goes out. `recorder` outlives it.
ReductionObserver record_reductions(Recorder& recorder);

struct ReducerOptions {
  int64_t bucket_bytes = 16 << 20;
  // Asserts in finish() that gradients are equal over the groups that hold equal boxes without partial gradients.
  bool check_replicas = kCheckReplicasByDefault;
  // Called as buckets go out and as their completion is noticed (at later launches and in finish()).
  ReductionObserver observer = nullptr;
};

// What this rank updates of one slice.
struct Shard {
  Parameter* parameter;
  const Slice* slice;
  Range range;          // elements of the slice
  Box box;              // the same in global coordinates
  at::Tensor gradient;  // flat, fp32 (fp64 for fp64 values); the sum once finish() has returned
};

class GradientReducer {
 public:
  // Allocates all gradients (uninitialised) and attaches them; each parameter's is 64-byte aligned. Parameters and mesh
  // outlive the reducer. Local.
  GradientReducer(const ParameterList& parameters, const Mesh& mesh, ReducerOptions options = {});
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  // Clears the gradients. Local.
  void begin_step();
  // From here on a bucket is reduced as soon as the backward of all its parameters is done, in the buckets' order in
  // each group. Every rank of the mesh calls this before the same part. Local.
  void begin_last_part();
  // Zeroes what nothing was added to, reduces what never became ready (parameters without a use on this rank) and waits
  // for everything. Collective over the mesh. Errors: kCommunication.
  absl::Status finish();

  const ParameterList& parameters() const { return parameters_; }
  std::span<const Shard> shards() const { return shards_; }
  std::span<const Bucket> buckets() const { return buckets_; }
  std::span<const Shard> shards_of(size_t bucket) const;

 private:
  struct Reduction {
    std::vector<int> owners;  // of the ranks along `partial`, indices along `replicated`
    int owner = 0;            // this rank's
    size_t first_shard = 0, shards = 0;
    at::Tensor sum;      // of all shards; undefined in a group of one, where the shards are views of the gradients
    size_t waiting = 0;  // parameters not ready yet
    bool launched = false;
    at::Tensor send;
    Work work;
  };

  struct Progress {
    std::vector<size_t> buckets;  // that hold slices of the parameter
    bool ready = false;
  };

  void attach_gradients();
  void make_shards();
  void ready(Parameter& parameter);
  void launch_ready(const AxisSet& group);
  void launch(size_t bucket);
  void notice_completed();
  void check_replicas(const Bucket& bucket) const;

  const Mesh& mesh_;
  const ReducerOptions options_;
  ParameterList parameters_;
  std::vector<Bucket> buckets_;
  std::vector<Reduction> reductions_;  // of the bucket with the same index
  std::vector<Shard> shards_;          // bucket by bucket
  std::map<const Parameter*, Progress> progress_;
  std::map<AxisSet, std::deque<size_t>> queues_;  // buckets still to launch, for each group
  std::vector<size_t> in_flight_;
  bool last_part_ = false;
};

}  // namespace switchyard
