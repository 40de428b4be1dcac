// A layout's results against the reference's, tensor by tensor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "parallel/checkpoint/tensor_part.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// In the order in which a step computes them, so that the first to fail is the nearest to the cause.
enum class Quantity {
  kInitialMasters,
  kInitialValues,
  kChoices,
  kWeights,
  kTokenCounts,
  kLogits,
  kAuxiliaryLosses,
  kLoss,
  kInputGradients,
  kGradients,
  kGradientNorm,
  kMoments,
  kUpdates,
  kRouterState,
  kCopies,
};
const char* quantity_name(Quantity quantity);

struct Row {
  Quantity quantity;
  int64_t step = 0;      // from 0
  std::string name;      // of the tensor
  double deviation = 0;  // ‖layout − reference‖ / scale, or the largest of any row
  double bound = 0;
  std::string defect = {};  // why it fails whatever the deviation: not covered, unknown
  bool pass() const { return defect.empty() && deviation <= bound; }  // NaN fails
  double badness() const;                                             // deviation over bound, to find the worst
};

// How the layout's parts lie over the ranks.
enum class Held {
  kOnce,        // every element by exactly one rank
  kEverywhere,  // every rank has all elements, once, and each is compared
  kCopies,      // boxes that are cut in one way, each held by any number of ranks; each copy is compared
};

struct Subject {
  Quantity quantity;
  int64_t step = 0;
  Held held = Held::kOnce;
  // Whether each row of a tensor is judged by itself, so that what one rank does to its rows is not lost among all
  // ranks': by its own norm, or by the tensor's scale over √rows where that is more. Not for copies.
  bool by_rows = false;
};

// The norm that a deviation is measured by, and the bound.
struct Measure {
  double scale = 0;
  double bound = 0;
};
// `norm`: of the reference's tensor.
using MeasureOf = std::function<Measure(const std::string& name, double norm)>;

// One row for every tensor of the reference and for every one that only the layout has. `reference`: parts that all
// ranks together hold once; `layout`: this rank's. All ranks get the same rows. Collective over `world`. Errors:
// kCommunication.
absl::StatusOr<std::vector<Row>> compare(Communicator& world, const Subject& subject,
                                         std::span<const TensorPart> reference, std::span<const TensorPart> layout,
                                         const MeasureOf& measure);

// What is wrong with how such boxes, of all ranks, cover a tensor of `shape`; empty: nothing.
std::string coverage_defect(Held held, const std::vector<int64_t>& shape, std::span<const std::vector<Box>> by_rank);

}  // namespace switchyard
