// A small decoder trained for a few steps on any layout, ranks as threads, with everything gathered for comparison.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "launch/train/assemble.h"
#include "layers/models/decoder/config.h"
#include "parallel/optimizer/config.h"
#include "tests/support/mesh.h"
#include "tests/support/token_batches.h"

namespace switchyard {

struct DecoderCase {
  DecoderConfig model;
  int64_t vocabulary = 61;
  at::ScalarType dtype = at::kDouble;
  c10::Device device = c10::kCPU;  // of rank 0; ranks behind it have those behind this one
  Recompute recompute = Recompute::kNone;
  OptimizerConfig optimizer;
  std::vector<double> lr;         // of each step
  std::vector<GlobalStep> steps;  // as many
  int64_t parts = 1;
  uint64_t seed = 7;
  Decorators decorators;
  std::vector<int> nodes;  // the host that each rank pretends to be on; empty: one for all
  Connect connect;         // as run_mesh takes it
  // Replaces the initialisation from the seed: parameters by name, whole.
  std::map<std::string, at::Tensor> initial;
};

struct DecoderRun {
  std::vector<double> loss, auxiliary_loss, grad_norm;  // of each step
  std::map<std::string, at::Tensor> gradients;          // of the first step, before clipping
  std::map<std::string, at::Tensor> parameters;         // masters and routers' buffers after the last step
  at::Tensor logits;                                    // [tokens, V] of the first step, before any update
};

// A case that has something of everything: grouped heads, an odd vocabulary, a dense and two mixture layers with shared
// experts, documents of uneven length, two accumulation parts, and hardly balanced routing (so that small layouts meet
// experts without tokens).
DecoderCase small_decoder_case();

// `shape`: its kv_replica is made to suit the model. `gather_logits` costs one more forward of the first step.
DecoderRun run_decoder(const DecoderCase& what, MeshShape shape, bool gather_logits = false);

}  // namespace switchyard
