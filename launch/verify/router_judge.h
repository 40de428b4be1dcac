// Routers held to what they were given: the same inputs, through the plain routers in fp64. That is sharp in any
// precision, since nothing that was rounded on the way to a router stands between the two.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "launch/train/job.h"
#include "launch/verify/comparison.h"
#include "launch/verify/flips.h"
#include "launch/verify/one_rank.h"
#include "launch/verify/plain_parameters.h"
#include "launch/verify/plain_router.h"
#include "launch/verify/step_record.h"

namespace switchyard {

class RouterJudge {
 public:
  // Local: for the rank that judges. `config` outlives it.
  explicit RouterJudge(const RunConfig& config);

  // Takes the parameters and the state with which the layout's routers go into a step.
  void begin_step(const Job& job);

  struct Verdict {
    std::vector<TensorPart> weights, losses, token_counts;  // see step_record.h
    std::map<std::string, Measure> measures;                // of weights and losses, by name
    Flips flips;
  };
  // Of one part: the whole batch, and what its routers saw and chose, by layer.
  Verdict judge(const TokenBatch& batch, std::span<const Routed> routed);

 private:
  double margin() const;
  std::map<std::string, double> sensitivity(PlainRouter& router, const at::Tensor& x_TD, const TokenContext& context,
                                            const Choice& choice, int64_t layer) const;

  const RunConfig& config_;
  const OneRank one_rank_;
  PlainParameters parameters_;
  std::vector<std::pair<int64_t, std::unique_ptr<PlainRouter>>> routers_;  // with their layers
};

// Of the differentiated losses of a part, as Verdict::losses has it.
std::string auxiliary_loss_name(int64_t part);

}  // namespace switchyard
