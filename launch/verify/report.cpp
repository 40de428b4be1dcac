#include "launch/verify/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Rows = std::vector<const Row*>;
constexpr size_t kShownFailures = 12;

// Worst first.
std::map<Quantity, Rows> by_quantity(const VerifyResult& result) {
  std::map<Quantity, Rows> groups;
  for (const Row& row : result.rows) groups[row.quantity].push_back(&row);
  for (auto& [quantity, rows] : groups) {
    std::stable_sort(rows.begin(), rows.end(), [](const Row* a, const Row* b) { return a->badness() > b->badness(); });
  }
  return groups;
}

Rows failures(const VerifyResult& result) {
  Rows failed;
  for (const auto& [quantity, rows] : by_quantity(result)) {
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(failed), [](const Row* row) { return !row->pass(); });
  }
  return failed;
}

// Numbers of layers and experts out of a name: "layers.1.moe.experts.3.up" → "moe.experts.up".
std::string family(const std::string& name) {
  std::string result;
  for (const char c : name) {
    if (c >= '0' && c <= '9') continue;
    if (c == '.' && (result.empty() || result.back() == '.')) continue;
    result += c;
  }
  return absl::StartsWith(result, "layers.") ? result.substr(7) : result;
}

std::string families(const Rows& rows, Quantity quantity) {
  std::set<std::string> names;
  for (const Row* row : rows) {
    if (row->quantity == quantity) names.insert(family(row->name));
  }
  std::string text;
  for (const std::string& name : names) absl::StrAppend(&text, text.empty() ? "" : ", ", name);
  return text;
}

std::string describe(const Flips& flips) {
  if (flips.tokens == 0) return "not compared, since the second layout takes the first one's choices";
  return absl::StrFormat("%d of %d choices flipped, %d by more than rounding", flips.flipped, flips.tokens,
                         flips.unexplained);
}

std::string describe_clipping(const std::vector<double>& factors) {
  if (std::ranges::all_of(factors, [](double factor) { return factor == 1; })) {
    return "gradients were not clipped: their norm is below optimizer.clip, so that clipping was not tried";
  }
  return absl::StrCat("gradients were clipped by ", absl::StrJoin(factors, ", "));
}

nlohmann::ordered_json to_json(const Flips& flips) {
  if (flips.tokens == 0) return "not compared";
  return {{"tokens", flips.tokens}, {"flipped", flips.flipped}, {"beyond_rounding", flips.unexplained}};
}

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

const char* meaning(Quantity quantity) {
  switch (quantity) {
    case Quantity::kInitialMasters:
    case Quantity::kInitialValues:
      return "ranks do not start from the same model: look at the seed, the names and the boxes of these tensors";
    case Quantity::kChoices:
      return "tokens go to other experts than one rank would send them to, by more than rounding: look at what the "
             "router sees (dispatch and combine of the layer before, random streams, token indices, ids)";
    case Quantity::kWeights:
      return "routers weigh experts otherwise than one rank does, given the same inputs: look at the router";
    case Quantity::kTokenCounts:
      return "choices agree but are counted otherwise: look at the sums over the routing population";
    case Quantity::kLogits:
      return "forward differs: look at dispatch, combine and the experts, at sums over tensor ranks, and at which "
             "sequences a rank reads; the first layer with a difference in its input gradients or choices is near";
    case Quantity::kAuxiliaryLosses:
      return "the losses of routing are taken over a rank's tokens, or over others than the population's, or do not "
             "add up: look at their sums, coefficients and the division by parts";
    case Quantity::kLoss:
      return "logits agree, the loss does not: look at targets, at the divisor (targets of all parts and data ranks) "
             "and at the sums over the vocabulary's slices";
    case Quantity::kInputGradients:
      return "forward agrees, backward does not: look at the backward of the collectives between layers; if all are "
             "off "
             "by one factor, at the loss's divisor";
    case Quantity::kGradients:
      return "input gradients agree, these parameters' do not: look at their reduction: the axes that their spec calls "
             "partial, a sum taken for a mean, a bucket sent before its last gradient";
    case Quantity::kGradientNorm:
      return "gradients agree, their norm does not: look at elements counted twice or by no rank, and at when it is "
             "taken";
    case Quantity::kMoments:
      return "gradients and their norm agree, the optimizer's moments do not: look at the clip factor and the decay "
             "rates";
    case Quantity::kUpdates:
      return "moments agree, updates do not: look at their correction, the decay of the shards and the learning rate";
    case Quantity::kRouterState:
      return "what routers keep beside parameters moves otherwise: look at the sums that they move by, and whether all "
             "ranks take them";
    case Quantity::kCopies:
      return "owners have updated their shards, and other ranks compute with something else: look at how updated "
             "values "
             "are gathered";
  }
  return "";
}

}  // namespace

std::string hint(const VerifyResult& result) {
  const Rows failed = failures(result);
  if (failed.empty()) return "";
  const Quantity first = failed.front()->quantity;
  std::string text = absl::StrCat("first to differ: ", quantity_name(first), " of ", families(failed, first), ".\n",
                                  meaning(first), ".");
  const int64_t step = failed.front()->step;
  if (step > 0) {
    absl::StrAppend(&text, "\nstep ", step, " agreed: something is carried over from one step to the next.");
  }
  return text;
}

std::string summary(const VerifyResult& result) {
  std::string text = absl::StrFormat("%-20s %8s  %9s  %9s  %s\n", "", "tensors", "deviation", "bound", "worst");
  for (const auto& [quantity, rows] : by_quantity(result)) {
    const Row& worst = *rows.front();
    const auto failed = std::count_if(rows.begin(), rows.end(), [](const Row* row) { return !row->pass(); });
    absl::StrAppendFormat(&text, "%-20s %8d  %9.2g  %9.2g  %-44s %s\n", quantity_name(quantity), rows.size(),
                          worst.deviation, worst.bound, worst.name,
                          failed == 0 ? "ok" : absl::StrCat("FAIL (", failed, ")"));
  }
  if (result.own_flips.tokens > 0) {
    absl::StrAppend(&text, "by the inputs of the layout's routers: ", describe(result.own_flips),
                    "\nby the inputs of the reference's: ", describe(result.flips), "\n");
  }
  if (!result.clip_factors.empty()) absl::StrAppend(&text, describe_clipping(result.clip_factors), "\n");
  const Rows failed = failures(result);
  if (failed.empty()) return text;
  absl::StrAppend(&text, "\n");
  for (size_t i = 0; i < failed.size() && i < kShownFailures; ++i) {
    const Row& row = *failed[i];
    absl::StrAppendFormat(&text, "step %d  %s of %s: ", row.step + 1, quantity_name(row.quantity), row.name);
    if (row.defect.empty()) {
      absl::StrAppendFormat(&text, "off by %.3g, bound %.3g\n", row.deviation, row.bound);
    } else {
      absl::StrAppend(&text, row.defect, "\n");
    }
  }
  if (failed.size() > kShownFailures) absl::StrAppend(&text, "and ", failed.size() - kShownFailures, " more\n");
  absl::StrAppend(&text, "\n", hint(result), "\n");
  return text;
}

std::string to_json(const VerifyResult& result, const VerifiedRun& run) {
  nlohmann::ordered_json json = {{"pass", result.pass()},
                                 {"layout",
                                  {{"data", run.shape.data},
                                   {"tensor", run.shape.tensor},
                                   {"expert_data", run.shape.expert_data},
                                   {"expert", run.shape.expert},
                                   {"expert_tensor", run.shape.expert_tensor}}},
                                 {"precision", run.precision},
                                 {"tokens", run.tokens},
                                 {"shrunk", run.shrunk},
                                 {"planted", run.planted},
                                 {"planted_changes", result.planted_changes},
                                 {"reference", result.reference},
                                 {"steps", result.steps},
                                 {"choices_by_own_inputs", to_json(result.own_flips)},
                                 {"choices_by_reference_inputs", to_json(result.flips)},
                                 {"clip_factors", result.clip_factors},
                                 {"hint", hint(result)}};
  nlohmann::ordered_json& rows = json["rows"] = nlohmann::ordered_json::array();
  for (const Row& row : result.rows) {
    rows.push_back({{"step", row.step + 1},
                    {"quantity", quantity_name(row.quantity)},
                    {"tensor", row.name},
                    {"deviation", number(row.deviation)},
                    {"bound", row.bound},
                    {"pass", row.pass()}});
    if (!row.defect.empty()) rows.back()["defect"] = row.defect;
  }
  return json.dump(1);
}

absl::Status verdict(const VerifyResult& result) {
  const Rows failed = failures(result);
  if (failed.empty()) return absl::OkStatus();
  return error(ErrorCategory::kInternal,
               absl::StrCat("the layout does not compute what its reference does: ", failed.size(), " of ",
                            result.rows.size(), " comparisons fail, first ", quantity_name(failed.front()->quantity)));
}

}  // namespace switchyard
