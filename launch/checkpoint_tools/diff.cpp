#include <algorithm>
#include <limits>
#include <optional>

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "launch/checkpoint_tools/progress_line.h"
#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/text.h"
#include "launch/checkpoint_tools/tools.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/exchange.h"

namespace switchyard {
namespace {

struct Deviation {
  bool same_bits = true;
  double largest = -1;           // infinite where one has a value and the other none
  double first = 0, second = 0;  // the elements that deviate so
};

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return at::equal(a.view({-1}).view(at::kByte), b.view({-1}).view(at::kByte));
}

void compare(const at::Tensor& a, const at::Tensor& b, Deviation& deviation) {
  if (a.scalar_type() == b.scalar_type() && same_bits(a, b)) return;
  deviation.same_bits = false;
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  // Values that are both not numbers, or the same infinity, do not deviate.
  const at::Tensor gap = at::where(
      x.eq(y).logical_or(x.isnan().logical_and(y.isnan())), at::zeros({}, at::kDouble),
      x.sub(y).abs().nan_to_num(std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()));
  const int64_t worst = gap.argmax().item<int64_t>();
  if (gap[worst].item<double>() <= deviation.largest) return;
  deviation.largest = gap[worst].item<double>();
  deviation.first = x[worst].item<double>();
  deviation.second = y[worst].item<double>();
}

class Comparison {
 public:
  Comparison(Checkpoint& a, Checkpoint& b, const DiffOptions& options)
      // Comparing holds about six copies of a slab in fp64, each up to four times as large as the slab.
      : b_(b), tolerance_(options.tolerance), slabs_a_(a, options.memory / 32), slabs_b_(b, options.memory / 32) {}

  // A line about the tensor, or none where it is the same.
  absl::StatusOr<std::string> line(const StoredTensor& tensor, ProgressLine& progress) {
    const StoredTensor* other = b_.find(tensor.name);
    if (other == nullptr) return differs(absl::StrCat(tensor.name, "  only in the first\n"));
    if (other->shape != tensor.shape) {
      return differs(absl::StrCat(tensor.name, "  ", type_text(tensor), " and ", type_text(*other), "\n"));
    }
    Deviation deviation;
    deviation.same_bits = tensor.dtype == other->dtype;
    SY_RETURN_IF_ERROR(compare_data(tensor, *other, deviation, progress));
    if (deviation.same_bits) return std::string();
    if (deviation.largest > tolerance_) exceeded_ = true;
    const std::string types =
        tensor.dtype == other->dtype ? type_text(tensor) : absl::StrCat(type_text(tensor), " and ", type_text(*other));
    return absl::StrFormat("%s  %s  deviates by at most %.3g: %.9g and %.9g\n", tensor.name, types,
                           std::max(deviation.largest, 0.0), deviation.first, deviation.second);
  }
  std::string differs(std::string line) {
    exceeded_ = true;
    return line;
  }
  bool exceeded() const { return tolerance_ >= 0 && exceeded_; }

 private:
  absl::Status compare_data(const StoredTensor& tensor, const StoredTensor& other, Deviation& deviation,
                            ProgressLine& progress) {
    int64_t at = 0;  // elements; slabs of both may be cut differently where their types differ
    return slabs_a_.read(tensor, Box::whole(tensor.shape), [&](const at::Tensor& a) -> absl::Status {
      const Box box = box_of_slab(tensor.shape, at, a);
      at += a.numel();
      progress.add(static_cast<int64_t>(a.nbytes()));
      int64_t done = 0;
      return slabs_b_.read(other, box, [&](const at::Tensor& b) -> absl::Status {
        compare(a.reshape({-1}).narrow(0, done, b.numel()), b.reshape({-1}), deviation);
        done += b.numel();
        return absl::OkStatus();
      });
    });
  }

  // The box of a slab that begins `at` elements after the start of the tensor.
  static Box box_of_slab(const std::vector<int64_t>& shape, int64_t at, const at::Tensor& slab) {
    Box box{std::vector<int64_t>(shape.size()), slab.sizes().vec()};
    for (size_t d = shape.size(); d-- > 0;) {
      box.offset[d] = at % shape[d];
      at /= shape[d];
    }
    return box;
  }

  Checkpoint& b_;
  const double tolerance_;
  SlabReader slabs_a_, slabs_b_;
  bool exceeded_ = false;
};

struct Findings {
  std::string lines;
  int64_t different = 0, compared = 0, exceeded = 0;
};

// Of every `world.size()`-th tensor.
absl::StatusOr<Findings> compare_share(Checkpoint& a, Checkpoint& b, const DiffOptions& options, Communicator& world,
                                       const ToolOutput& output) {
  SY_ASSIGN_OR_RETURN(const std::vector<const StoredTensor*> tensors, select_tensors(a, options.patterns));
  int64_t bytes = 0;
  for (const StoredTensor* tensor : tensors) bytes += bytes_of(*tensor) / world.size();
  ProgressLine progress(output.progress, "diff", bytes);
  Comparison comparison(a, b, options);
  Findings findings;
  for (size_t i = world.rank(); i < tensors.size(); i += world.size()) {
    SY_ASSIGN_OR_RETURN(const std::string line, comparison.line(*tensors[i], progress));
    findings.different += !line.empty();
    ++findings.compared;
    findings.lines += line;
  }
  if (world.rank() == 0 && options.patterns.empty()) {
    for (const StoredTensor& tensor : b.tensors()) {
      if (a.find(tensor.name) != nullptr) continue;
      findings.lines += comparison.differs(absl::StrCat(tensor.name, "  only in the second\n"));
      ++findings.different;
    }
  }
  findings.exceeded = comparison.exceeded();
  return findings;
}

}  // namespace

absl::Status diff_checkpoints(const std::string& a, const std::string& b, const DiffOptions& options,
                              Communicator& world, const ToolOutput& output) {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> first, open_any(a, world));
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> second, open_any(b, world));
  SY_ASSIGN_OR_RETURN(const Findings mine, agree(world, compare_share(*first, *second, options, world, output)));
  SY_ASSIGN_OR_RETURN(const std::vector<std::string> lines, all_gather_texts(world, mine.lines));
  const at::Tensor counts = at::tensor(
      {static_cast<double>(mine.different), static_cast<double>(mine.compared), static_cast<double>(mine.exceeded)},
      at::kDouble);
  SY_RETURN_IF_ERROR(world.all_reduce(counts, ReduceOp::kSum).wait());
  if (output.out) {
    for (const std::string& text : lines) *output.out << text;
    *output.out << absl::StrFormat("%.0f of %.0f tensors differ\n", counts[0].item<double>(), counts[1].item<double>());
  }
  if (counts[2].item<double>() == 0) return absl::OkStatus();
  return agree(world,
               error(ErrorCategory::kBadData, absl::StrCat("the checkpoints differ by more than ", options.tolerance)));
}

}  // namespace switchyard
