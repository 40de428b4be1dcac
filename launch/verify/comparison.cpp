#include "launch/verify/comparison.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>

#include "launch/verify/exchange_parts.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

struct Sums {
  std::vector<int64_t> shape;
  double reference_squares = 0;  // equal on all ranks: all see all of the reference
  double squares = 0;            // of differences, this rank's
  double compared = 0;           // elements, this rank's
};

double squares_of(const at::Tensor& x) {
  return x.to(at::kDouble).square().sum().item<double>();
}

void add_part(const TensorPart& reference, std::span<const TensorPart> layout, Sums& sums) {
  sums.shape = reference.shape;
  sums.reference_squares += squares_of(reference.data);
  for (const TensorPart& part : layout) {
    if (part.name != reference.name) continue;
    if (part.shape != reference.shape) {  // never equal
      sums.squares = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    const Overlap both = overlap(reference, part);
    if (!both.a.defined()) continue;
    sums.squares += squares_of(both.a.to(at::kDouble) - both.b.to(at::kDouble));
    sums.compared += static_cast<double>(both.a.numel());
  }
}

std::string coverage_defect(Held held, double elements, double compared, int ranks) {
  const double expected = held == Held::kEverywhere ? elements * ranks : elements;
  const bool covered = held == Held::kCopies ? compared >= expected : compared == expected;
  if (covered) return "";
  return absl::StrCat("the layout holds ", compared, " elements of ", expected);
}

// Names that some rank has and the reference has not.
absl::StatusOr<std::vector<std::string>> unknown_names(Communicator& world, std::span<const TensorPart> layout,
                                                       const std::map<std::string, Sums>& known) {
  std::vector<TensorPart> marks;
  for (const TensorPart& part : layout) {
    if (!known.contains(part.name)) marks.push_back(whole_part(part.name, at::zeros({1}, at::kByte)));
  }
  std::map<std::string, bool> names;
  SY_RETURN_IF_ERROR(exchange_parts(world, marks, [&](const TensorPart& mark) { names[mark.name] = true; }));
  std::vector<std::string> list;
  for (const auto& [name, unused] : names) list.push_back(name);
  return list;
}

}  // namespace

const char* quantity_name(Quantity quantity) {
  switch (quantity) {
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

absl::StatusOr<std::vector<Row>> compare(Communicator& world, Quantity quantity, int64_t step, Held held,
                                         std::span<const TensorPart> reference, std::span<const TensorPart> layout,
                                         const MeasureOf& measure) {
  std::map<std::string, Sums> tensors;
  SY_RETURN_IF_ERROR(
      exchange_parts(world, reference, [&](const TensorPart& part) { add_part(part, layout, tensors[part.name]); }));

  at::Tensor squares = at::empty({static_cast<int64_t>(tensors.size())}, at::kDouble);
  at::Tensor compared = at::empty_like(squares);
  int64_t i = 0;
  for (const auto& [name, sums] : tensors) {
    squares[i] = sums.squares;
    compared[i++] = sums.compared;
  }
  // NaN must survive whatever the backend's maximum makes of it.
  const at::Tensor not_a_number = squares.isnan().to(at::kDouble);
  squares.nan_to_num_(0.0);
  SY_RETURN_IF_ERROR(world.all_reduce(not_a_number, ReduceOp::kSum).wait());
  SY_RETURN_IF_ERROR(world.all_reduce(squares, held == Held::kOnce ? ReduceOp::kSum : ReduceOp::kMax).wait());
  SY_RETURN_IF_ERROR(world.all_reduce(compared, ReduceOp::kSum).wait());

  double all_squares = 0;
  int64_t all_elements = 0;
  for (const auto& [name, sums] : tensors) {
    all_squares += sums.reference_squares;
    all_elements += Box::whole(sums.shape).numel();
  }
  std::vector<Row> rows;
  i = 0;
  for (const auto& [name, sums] : tensors) {
    const int64_t elements = Box::whole(sums.shape).numel();
    const Measure by = measure(name, {.norm = std::sqrt(sums.reference_squares),
                                      .all_norm = std::sqrt(all_squares),
                                      .elements = elements,
                                      .all_elements = all_elements});
    const bool is_number = not_a_number[i].item<double>() == 0;
    const double difference = std::sqrt(squares[i].item<double>());
    Row row{.quantity = quantity, .step = step, .name = name, .bound = by.bound};
    row.deviation = !is_number     ? std::numeric_limits<double>::quiet_NaN()
                    : by.scale > 0 ? difference / by.scale
                                   : difference;
    row.defect = coverage_defect(held, static_cast<double>(elements), compared[i++].item<double>(), world.size());
    rows.push_back(std::move(row));
  }
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> unknown, unknown_names(world, layout, tensors));
  for (const std::string& name : unknown) {
    rows.push_back({.quantity = quantity, .step = step, .name = name, .defect = "the reference has no such tensor"});
  }
  return rows;
}

}  // namespace switchyard
