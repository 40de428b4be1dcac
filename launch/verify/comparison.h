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
  kUpdates,
  kRouterState,
  kCopies,
};
const char* quantity_name(Quantity quantity);

struct Row {
  Quantity quantity;
  int64_t step = 0;      // from 0
  std::string name;      // of the tensor
  double deviation = 0;  // ‖layout − reference‖ / scale
  double bound = 0;
  std::string defect = {};  // why it fails whatever the deviation: not covered, unknown
  bool pass() const { return defect.empty() && deviation <= bound; }  // NaN fails
  double badness() const;                                             // deviation over bound, to find the worst
};

// How the layout's parts lie over the ranks.
enum class Held {
  kOnce,        // every element by exactly one rank
  kEverywhere,  // every rank has all elements, and each is compared
  kCopies,      // boxes that several ranks may hold; each is compared
};

// A tensor of the reference among all that are compared with it.
struct Compared {
  double norm = 0, all_norm = 0;
  int64_t elements = 0, all_elements = 0;
};
// The norm that a deviation is measured by, and the bound.
struct Measure {
  double scale = 0;
  double bound = 0;
};
using MeasureOf = std::function<Measure(const std::string& name, const Compared& compared)>;

// One row for every tensor of the reference and for every one that only the layout has. `reference`: parts that all
// ranks together hold once; `layout`: this rank's. All ranks get the same rows. Collective over `world`. Errors:
// kCommunication.
absl::StatusOr<std::vector<Row>> compare(Communicator& world, Quantity quantity, int64_t step, Held held,
                                         std::span<const TensorPart> reference, std::span<const TensorPart> layout,
                                         const MeasureOf& measure);

}  // namespace switchyard
