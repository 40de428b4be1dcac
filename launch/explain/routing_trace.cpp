#include "launch/explain/routing_trace.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "layers/moe/router/router_decorator.h"
#include "layers/moe/router/selection.h"
#include "runtime/base/check.h"
#include "runtime/base/status.h"
#include "runtime/comm/exchange.h"

namespace switchyard {

class RecordingRouter : public RouterDecorator {
 public:
  RecordingRouter(std::unique_ptr<Router> router, RoutingRecorder::Pass& pass)
      : RouterDecorator(std::move(router)), pass_(pass) {}

  RouterOutput route(const at::Tensor& x_tD, const TokenContext& context) override {
    RouterOutput output = RouterDecorator::route(x_tD, context);
    pass_ = {x_tD.detach(), output};
    return output;
  }

 private:
  RoutingRecorder::Pass& pass_;
};

namespace {

// Outputs are compared on so many tokens of a rank: E·tokens·D values are held.
constexpr int64_t kComparedTokens = 128;

template <typename T>
std::vector<T> vector_of(const at::Tensor& tensor, at::ScalarType dtype) {
  const at::Tensor values = tensor.detach().to(at::kCPU, dtype).contiguous();
  const T* data = values.const_data_ptr<T>();
  return {data, data + values.numel()};
}

at::Tensor slots_of(const at::Tensor& values_TE, const Choice& choice) {
  if (values_TE.defined()) return at_slots(values_TE.to(at::kDouble), choice);
  return at::full(choice.experts.sizes(), std::numeric_limits<double>::quiet_NaN(), at::kDouble);
}

// As LayerTrace's.
absl::StatusOr<at::Tensor> margins(const at::Tensor& ranking_TE, const Choice& choice, bool experts_choose,
                                   Communicator& world) {
  if (!ranking_TE.defined()) return slots_of(ranking_TE, choice);
  const at::Tensor never = at::full({}, -std::numeric_limits<double>::infinity(), at::kDouble);
  const at::Tensor tokens_N = slot_tokens(choice);
  const at::Tensor passed_TE = ranking_TE.to(at::kDouble).index_put({tokens_N, choice.experts}, never);
  at::Tensor best_N;
  if (experts_choose) {
    const at::Tensor best_E = at::cat({passed_TE, never.expand({1, passed_TE.size(1)})}).amax(0);
    SY_RETURN_IF_ERROR(world.all_reduce(best_E, ReduceOp::kMax).wait());
    best_N = best_E.index_select(0, choice.experts);
  } else {
    best_N = passed_TE.amax(1).index_select(0, tokens_N);
  }
  const at::Tensor margins_N = slots_of(ranking_TE, choice) - best_N;
  return at::where(at::isfinite(margins_N), margins_N, std::numeric_limits<double>::quiet_NaN());
}

// One rank's part of a forward as a text, and back onto a trace.
std::string pack(const RouterOutput& output, const at::Tensor& margins_N) {
  const Choice& choice = output.choice;
  const at::Tensor kept_N = choice.kept.defined() ? choice.kept : at::ones(choice.experts.sizes(), at::kBool);
  const at::Tensor weights_N =
      at::zeros(kept_N.sizes(), at::kDouble).masked_scatter(kept_N, output.routing.weights.detach().to(at::kDouble));
  const nlohmann::json json = {
      {"counts", vector_of<int64_t>(choice.offsets.diff(), at::kLong)},
      {"chosen", vector_of<int64_t>(choice.experts, at::kLong)},
      {"kept", vector_of<int64_t>(kept_N, at::kLong)},
      {"weights", vector_of<double>(weights_N, at::kDouble)},
      {"probabilities", vector_of<double>(slots_of(output.probabilities_TE, choice), at::kDouble)},
      {"scores", vector_of<double>(slots_of(output.ranking_TE, choice), at::kDouble)},
      {"margins", vector_of<double>(margins_N, at::kDouble)}};
  const std::vector<uint8_t> bytes = nlohmann::json::to_cbor(json);
  return {bytes.begin(), bytes.end()};
}

void unpack_onto(const std::string& text, LayerTrace& trace) {
  const nlohmann::json json = nlohmann::json::from_cbor(text);
  for (const int64_t count : json.at("counts")) trace.offsets.push_back(trace.offsets.back() + count);
  for (const int64_t expert : json.at("chosen")) trace.chosen.push_back(expert);
  for (const int64_t kept : json.at("kept")) trace.kept.push_back(kept != 0);
  for (const double weight : json.at("weights")) trace.weights.push_back(weight);
  for (const double probability : json.at("probabilities")) trace.probabilities.push_back(probability);
  for (const double score : json.at("scores")) trace.scores.push_back(score);
  for (const double margin : json.at("margins")) trace.margins.push_back(margin);
}

}  // namespace

std::unique_ptr<Router> RoutingRecorder::decorate(std::unique_ptr<Router> router) {
  passes_.push_back(std::make_unique<Pass>());
  return std::make_unique<RecordingRouter>(std::move(router), *passes_.back());
}

absl::Status RoutingRecorder::append(Communicator& world, std::vector<LayerTrace>& traces) {
  SY_CHECK_EQ(traces.size(), passes_.size());
  ++parts_;
  for (size_t i = 0; i < passes_.size(); ++i) {
    const RouterOutput& output = passes_[i]->output;
    SY_ASSIGN_OR_RETURN(const at::Tensor margins_N,
                        margins(output.ranking_TE, output.choice, traces[i].experts_choose, world));
    SY_ASSIGN_OR_RETURN(const std::vector<std::string> texts, gather_texts(world, pack(output, margins_N)));
    for (const std::string& text : texts) unpack_onto(text, traces[i]);
    const double entropy =
        output.probabilities_TE.defined() ? output.statistics.entropy : std::numeric_limits<double>::quiet_NaN();
    traces[i].entropy += (entropy - traces[i].entropy) / static_cast<double>(parts_);
  }
  return absl::OkStatus();
}

absl::Status RoutingRecorder::compare_experts(size_t index, MoeLayer& moe, Communicator& world, LayerTrace& trace) {
  const at::Tensor x_tD = passes_.at(index)->x_tD;
  const int64_t tokens = std::min(x_tD.size(0), kComparedTokens);
  const at::Tensor y_EtD = moe.outputs_of_all(x_tD.narrow(0, 0, tokens), trace.experts).to(at::kCPU, at::kDouble);
  const at::Tensor unit_tED = at::nan_to_num(y_EtD / y_EtD.norm(2, {2}, true)).transpose(0, 1);
  at::Tensor cosines_EE = at::bmm(unit_tED, unit_tED.transpose(1, 2)).sum(0);
  SY_RETURN_IF_ERROR(world.all_reduce(cosines_EE, ReduceOp::kSum).wait());
  SY_ASSIGN_OR_RETURN(const double count, reduce_number(world, static_cast<double>(tokens), ReduceOp::kSum));
  for (const at::Tensor& row_E : (cosines_EE / count).unbind(0)) {
    trace.similarity.push_back(vector_of<double>(row_E, at::kDouble));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
