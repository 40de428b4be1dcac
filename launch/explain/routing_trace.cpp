#include "launch/explain/routing_trace.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "layers/moe/router/router_decorator.h"
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
    pass_ = {x_tD.detach(), output.routing, output.probabilities_TE, output.statistics.entropy};
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

// Of each token, the least probability of its experts less the largest of the others.
at::Tensor margins(const at::Tensor& p_TE, const at::Tensor& tokens_N, const at::Tensor& experts_N) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const at::Tensor chosen_TE =
      at::zeros(p_TE.sizes(), at::kBool).index_put({tokens_N, experts_N}, at::ones({}, at::kBool));
  const at::Tensor least_T = p_TE.masked_fill(chosen_TE.logical_not(), kInfinity).amin(1);
  const at::Tensor next_T = p_TE.masked_fill(chosen_TE, -kInfinity).amax(1);
  return at::where(at::isfinite(least_T - next_T), least_T - next_T, std::numeric_limits<double>::quiet_NaN());
}

// One rank's part of a forward as a text, and back onto a trace.
std::string pack(const Routing& routing, const at::Tensor& probabilities_TE, int64_t experts) {
  const at::Tensor experts_N = routing.experts.to(at::kCPU);
  const at::Tensor counts_T = routing.offsets.to(at::kCPU).diff();
  const at::Tensor tokens_N = at::arange(counts_T.numel()).repeat_interleave(counts_T);
  at::Tensor p_TE;
  if (probabilities_TE.defined()) {
    p_TE = probabilities_TE.to(at::kCPU, at::kDouble);
  } else {  // a kind that weighs no expert but those it takes
    p_TE = at::zeros({counts_T.numel(), experts}, at::kDouble);
    p_TE.index_put_({tokens_N, experts_N}, routing.weights.detach().to(at::kCPU, at::kDouble));
  }
  const nlohmann::json json = {{"counts", vector_of<int64_t>(counts_T, at::kLong)},
                               {"chosen", vector_of<int64_t>(experts_N, at::kLong)},
                               {"weights", vector_of<double>(routing.weights, at::kDouble)},
                               {"probabilities", vector_of<double>(p_TE.index({tokens_N, experts_N}), at::kDouble)},
                               {"margins", vector_of<double>(margins(p_TE, tokens_N, experts_N), at::kDouble)}};
  const std::vector<uint8_t> bytes = nlohmann::json::to_cbor(json);
  return {bytes.begin(), bytes.end()};
}

void unpack_onto(const std::string& text, LayerTrace& trace) {
  const nlohmann::json json = nlohmann::json::from_cbor(text);
  for (const int64_t count : json.at("counts")) trace.offsets.push_back(trace.offsets.back() + count);
  for (const int64_t expert : json.at("chosen")) trace.chosen.push_back(expert);
  for (const double weight : json.at("weights")) trace.weights.push_back(weight);
  for (const double probability : json.at("probabilities")) trace.probabilities.push_back(probability);
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
    const Pass& pass = *passes_[i];
    SY_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                        gather_texts(world, pack(pass.routing, pass.probabilities_TE, traces[i].experts)));
    for (const std::string& text : texts) unpack_onto(text, traces[i]);
    traces[i].entropy += (pass.entropy - traces[i].entropy) / static_cast<double>(parts_);
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
