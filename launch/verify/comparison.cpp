#include "launch/verify/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/exchange_parts.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

// One number for each row, or one for the tensor.
struct Sums {
  std::vector<int64_t> shape;
  at::Tensor reference_squares;  // equal on all ranks: all see all of the reference
  at::Tensor squares;            // of differences, this rank's
};

at::Tensor squares_of(const at::Tensor& x, bool by_rows) {
  const at::Tensor squares = x.to(at::kDouble).square();
  return by_rows ? squares.flatten(1).sum(1) : squares.sum().reshape({1});
}

void add_squares(const at::Tensor& x, const Box& box, bool by_rows, const at::Tensor& into) {
  const int64_t first = by_rows ? box.offset[0] : 0, rows = by_rows ? box.extent[0] : 1;
  into.narrow(0, first, rows).add_(squares_of(x, by_rows));
}

void add_part(const TensorPart& reference, std::span<const TensorPart> layout, bool by_rows, Sums& sums) {
  if (!sums.squares.defined()) {
    sums.shape = reference.shape;
    sums.squares = at::zeros({by_rows ? reference.shape[0] : 1}, at::kDouble);
    sums.reference_squares = at::zeros_like(sums.squares);
  }
  add_squares(reference.data, reference.box, by_rows, sums.reference_squares);
  for (const TensorPart& part : layout) {
    if (part.name != reference.name) continue;
    if (part.shape != reference.shape) {  // never equal
      sums.squares.fill_(std::numeric_limits<double>::quiet_NaN());
      continue;
    }
    const Overlap both = overlap(reference, part);
    if (!both.a.defined()) continue;
    add_squares(both.a.to(at::kDouble) - both.b.to(at::kDouble), intersect(reference.box, part.box), by_rows,
                sums.squares);
  }
}

std::string disjoint_defect(const std::vector<int64_t>& shape, const std::vector<Box>& boxes) {
  int64_t held = 0;
  for (size_t i = 0; i < boxes.size(); ++i) {
    held += boxes[i].numel();
    for (size_t k = 0; k < i; ++k) {
      if (intersect(boxes[i], boxes[k]).empty()) continue;
      return absl::StrCat("the layout holds ", to_string(boxes[k]), " and ", to_string(boxes[i]), ", which overlap");
    }
  }
  const int64_t elements = Box::whole(shape).numel();
  return held == elements ? "" : absl::StrCat("the layout holds ", held, " elements of ", elements);
}

// By name, then by rank.
using Boxes = std::map<std::string, std::vector<std::vector<Box>>>;

absl::StatusOr<Boxes> boxes_of_all(Communicator& world, std::span<const TensorPart> layout) {
  SY_ASSIGN_OR_RETURN(const std::vector<std::vector<TensorPart>> lists, list_parts(world, layout));
  Boxes boxes;
  for (size_t rank = 0; rank < lists.size(); ++rank) {
    for (const TensorPart& part : lists[rank]) {
      std::vector<std::vector<Box>>& by_rank = boxes[part.name];
      by_rank.resize(lists.size());
      if (!part.box.empty()) by_rank[rank].push_back(part.box);
    }
  }
  return boxes;
}

// NaN survives, whatever the backend's maximum makes of it.
absl::Status reduce(Communicator& world, Held held, const at::Tensor& squares) {
  const at::Tensor not_a_number = squares.isnan().to(at::kDouble);
  squares.nan_to_num_(0.0);
  SY_RETURN_IF_ERROR(world.all_reduce(not_a_number, ReduceOp::kSum).wait());
  SY_RETURN_IF_ERROR(world.all_reduce(squares, held == Held::kOnce ? ReduceOp::kSum : ReduceOp::kMax).wait());
  squares.masked_fill_(not_a_number.gt(0), std::numeric_limits<double>::quiet_NaN());
  return absl::OkStatus();
}

double largest_deviation(const at::Tensor& squares, const at::Tensor& reference_squares, double scale) {
  const at::Tensor deviations = squares.sqrt();
  const double rows = static_cast<double>(squares.numel());
  const at::Tensor scales =
      rows == 1 ? at::full({1}, scale, at::kDouble) : reference_squares.sqrt().clamp_min(scale / std::sqrt(rows));
  const at::Tensor relative = at::where(scales.gt(0), deviations / scales, deviations);
  return relative.isnan().any().item<bool>() ? std::numeric_limits<double>::quiet_NaN()
         : relative.numel() == 0             ? 0
                                             : relative.max().item<double>();
}

}  // namespace

std::string coverage_defect(Held held, const std::vector<int64_t>& shape, std::span<const std::vector<Box>> by_rank) {
  if (held == Held::kEverywhere) {
    for (const std::vector<Box>& boxes : by_rank) {
      if (std::string defect = disjoint_defect(shape, boxes); !defect.empty()) return defect;
    }
    return "";
  }
  std::vector<Box> together;
  for (const std::vector<Box>& boxes : by_rank) {
    for (const Box& box : boxes) {
      const bool is_copy = held == Held::kCopies && std::find(together.begin(), together.end(), box) != together.end();
      if (!is_copy) together.push_back(box);
    }
  }
  return disjoint_defect(shape, together);
}

const char* quantity_name(Quantity quantity) {
  switch (quantity) {
    case Quantity::kInitialMasters:
      return "initial masters";
    case Quantity::kInitialValues:
      return "initial values";
    case Quantity::kChoices:
      return "choices of experts";
    case Quantity::kWeights:
      return "routing weights";
    case Quantity::kTokenCounts:
      return "tokens per expert";
    case Quantity::kLogits:
      return "logits";
    case Quantity::kAuxiliaryLosses:
      return "auxiliary losses";
    case Quantity::kLoss:
      return "loss";
    case Quantity::kInputGradients:
      return "input gradients";
    case Quantity::kGradients:
      return "gradients";
    case Quantity::kGradientNorm:
      return "gradient norm";
    case Quantity::kMoments:
      return "moments";
    case Quantity::kUpdates:
      return "updates";
    case Quantity::kRouterState:
      return "router state";
    case Quantity::kCopies:
      return "copies of parameters";
  }
  check_failed(__FILE__, __LINE__, "unknown quantity");
}

double Row::badness() const {
  if (!defect.empty() || std::isnan(deviation)) return std::numeric_limits<double>::infinity();
  if (deviation == 0) return 0;
  return bound > 0 ? deviation / bound : std::numeric_limits<double>::infinity();
}

absl::StatusOr<std::vector<Row>> compare(Communicator& world, const Subject& subject,
                                         std::span<const TensorPart> reference, std::span<const TensorPart> layout,
                                         const MeasureOf& measure) {
  std::map<std::string, Sums> tensors;
  SY_RETURN_IF_ERROR(exchange_parts(
      world, reference, [&](const TensorPart& part) { add_part(part, layout, subject.by_rows, tensors[part.name]); }));
  std::vector<at::Tensor> each;
  for (const auto& [name, sums] : tensors) each.push_back(sums.squares);
  const at::Tensor squares = each.empty() ? at::zeros({0}, at::kDouble) : at::cat(each);
  SY_RETURN_IF_ERROR(reduce(world, subject.held, squares));
  SY_ASSIGN_OR_RETURN(Boxes boxes, boxes_of_all(world, layout));

  std::vector<Row> rows;
  int64_t first = 0;
  for (const auto& [name, sums] : tensors) {
    const Measure by = measure(name, std::sqrt(sums.reference_squares.sum().item<double>()));
    const int64_t count = sums.squares.numel();
    std::vector<std::vector<Box>>& held = boxes[name];
    held.resize(world.size());
    rows.push_back({.quantity = subject.quantity,
                    .step = subject.step,
                    .name = name,
                    .deviation = largest_deviation(squares.narrow(0, first, count), sums.reference_squares, by.scale),
                    .bound = by.bound,
                    .defect = coverage_defect(subject.held, sums.shape, held)});
    first += count;
  }
  for (const auto& [name, unused] : boxes) {
    if (tensors.contains(name)) continue;
    rows.push_back({.quantity = subject.quantity,
                    .step = subject.step,
                    .name = name,
                    .defect = "the reference has no such tensor"});
  }
  return rows;
}

}  // namespace switchyard
