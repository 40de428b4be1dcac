// Routing for the reference: one rank sees the whole population, and which experts a token goes to is told.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "launch/verify/plain_parameters.h"
#include "layers/moe/config.h"
#include "layers/moe/router/router.h"
#include "layers/moe/token_context.h"
#include "parallel/topology/mesh.h"

namespace switchyard {

class PlainRouter {
 public:
  virtual ~PlainRouter() = default;
  // What it would choose of its own accord. Nothing is recorded.
  virtual Choice choose(const at::Tensor& x_TD, const TokenContext& context) = 0;
  // Weights and losses for a choice that is given.
  virtual RouterOutput route(const at::Tensor& x_TD, const TokenContext& context, const Choice& choice) = 0;
  virtual void finish_step() {}
  virtual std::vector<RouterBuffer> buffers() { return {}; }
};

// `name`: of the layer's MoE. Every kind is written out once more, in plain operations on the whole population, with
// its losses and its capacity, and shares only random numbers by index with the layers' routers; but bayesian, which is
// the router itself, in fp64 on a mesh of one rank.
std::unique_ptr<PlainRouter> make_plain_router(const std::string& name, int64_t width, double init_scale, uint64_t seed,
                                               const MoeConfig& config, const Mesh& one_rank,
                                               PlainParameters& parameters);
// Whether it is the former.
bool is_written_out(const RouterConfig& config);

// The coefficients of the losses that a router has: what their sum is made of where each is of the order of 1.
double loss_coefficients(const RouterConfig& router);

// How many tokens go to other experts in `a` than in `b`, and which: bool [T].
at::Tensor differing_tokens(const Choice& a, const Choice& b, int64_t experts);

}  // namespace switchyard
