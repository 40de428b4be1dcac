#include "launch/verify/inject.h"

#include <ATen/ATen.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "launch/verify/model_faults.h"
#include "launch/verify/wire_faults.h"
#include "runtime/base/status.h"

namespace switchyard {
namespace {

using Site = InjectionSite;

void plant(DispatchFault fault, Injection& injection) {
  fault.changes = injection.changes;
  injection.model.dispatcher = [fault = std::move(fault)](std::unique_ptr<Dispatcher> dispatcher) {
    return faulty_dispatcher(std::move(dispatcher), fault);
  };
}

void plant(RouterFault fault, Injection& injection) {
  fault.changes = injection.changes;
  injection.model.router = [fault = std::move(fault)](std::unique_ptr<Router> router) {
    return faulty_router(std::move(router), fault);
  };
}

void plant(BatchFault fault, Injection& injection) {
  fault.changes = injection.changes;
  injection.batches = [fault = std::move(fault)](std::unique_ptr<SequenceSource> source) {
    return faulty_batches(std::move(source), fault);
  };
}

template <typename Fault, typename... Arguments>
void plant_wire(Injection& injection, Arguments... arguments) {
  injection.wire = std::make_shared<Fault>(injection.changes, std::move(arguments)...);
}

at::Tensor lost(const at::Tensor& x, int /*group_size*/) {
  return at::zeros_like(x);
}

Routing swap_first_two(const Routing& routing) {
  Routing swapped = routing;
  swapped.experts = at::where(routing.experts.lt(2), 1 - routing.experts, routing.experts);
  return swapped;
}

at::Tensor reverse_rows(const at::Tensor& rows_RD, const std::vector<int64_t>& counts) {
  std::vector<at::Tensor> order;
  int64_t begin = 0;
  for (const int64_t count : counts) {
    order.push_back(at::arange(begin, begin + count, at::kLong).flip(0));
    begin += count;
  }
  return order.empty() ? rows_RD : rows_RD.index_select(0, at::cat(order));
}

RouterOutput detach_weights(RouterOutput output) {
  output.routing.weights = output.routing.weights.detach();
  return output;
}

void repeat_last_token(const SequenceRows& rows, int64_t S) {
  if (rows.targets[S - 1] >= 0) rows.targets[S - 1] = rows.tokens[S - 1];
}

bool always(const Site&) {
  return true;
}
bool has_ranks(const Site& site) {
  return site.shape.ranks() > 1;
}
bool has_steps(const Site& site) {
  return site.steps > 1;
}
bool has_experts(const Site& site) {
  return site.config.model.moe.experts > 1;
}
bool has_data(const Site& site) {
  return site.shape.data > 1;
}
bool has_tensor(const Site& site) {
  return site.shape.tensor > 1;
}

// By token index.
bool router_draws(const Site& site) {
  const RouterConfig& router = site.config.model.moe.router;
  return has_experts(site) && (router.kind == "noisy_top_k" || router.balance.jitter > 0 ||
                               (router.capacity.factor > 0 && router.capacity.drop == "random"));
}

TokenContext shift_tokens(TokenContext context) {
  ++context.first_token;
  return context;
}

constexpr char kRanks[] = "more than one rank";
constexpr char kSteps[] = "--steps 2 or more";
constexpr char kExperts[] = "a model with experts";
constexpr char kData[] = "parallel.data above 1";
constexpr char kTensor[] = "parallel.tensor above 1";

const BugKind kKinds[] = {
    {"skip_reduction", "expert gradients are not summed over the ranks that hold copies of the experts",
     "a model with experts and data ranks left for copies of them (expert_data above 1)",
     [](const Site& site) { return has_experts(site) && site.shape.expert_data > 1; },
     [](const Site&, Injection& out) { plant_wire<UnsummedScatter>(out, std::string("expert_data/gradient")); }},
    {"skip_dense_reduction", "gradients of dense layers are not summed over data ranks", kData, has_data,
     [](const Site&, Injection& out) { plant_wire<UnsummedScatter>(out, std::string("data/gradient")); }},
    {"mean_expert_gradients", "expert gradients are averaged over their copies, not summed",
     "a model with experts and data ranks left for copies of them (expert_data above 1)",
     [](const Site& site) { return has_experts(site) && site.shape.expert_data > 1; },
     [](const Site&, Injection& out) {
       plant_wire<ChangedScatter>(out, std::string("expert_data/gradient"),
                                  [](const at::Tensor& x, int ranks) { return x / ranks; });
     }},
    {"forget_row_gradients", "norm and router gradients miss the rows of all tensor ranks but the first", kTensor,
     has_tensor,
     [](const Site& site, Injection& out) {
       if (site.tensor() > 0) plant_wire<ChangedScatter>(out, std::string("data+tensor/gradient"), lost);
     }},
    {"forget_shared_kv_gradients", "key and value heads that tensor ranks share get the gradient of one of them",
     "parallel.tensor above model.attention.kv_heads", [](const Site& site) { return site.shape.kv_replica > 1; },
     [](const Site& site, Injection& out) {
       if (site.tensor() % site.shape.kv_replica > 0) {
         plant_wire<ChangedScatter>(out, std::string("data+kv_replica/gradient"), lost);
       }
     }},
    {"round_gradients", "gradients pass the wire in bf16", "more than one rank, and a precision above bf16",
     [](const Site& site) { return has_ranks(site) && site.config.train.precision != "bf16"; },
     [](const Site&, Injection& out) {
       plant_wire<ChangedScatter>(out, std::string("/gradient"), [](const at::Tensor& x, int /*group_size*/) {
         return x.to(at::kBFloat16).to(x.scalar_type());
       });
     }},
    {"skip_tensor_sum", "partial results of tensor ranks are not summed between blocks", kTensor, has_tensor,
     [](const Site&, Injection& out) { plant_wire<UnsummedScatter>(out, std::string("tensor/layer")); }},
    {"skip_vocabulary_sum", "the loss sees a tensor rank's own slice of the vocabulary", kTensor, has_tensor,
     [](const Site&, Injection& out) {
       plant_wire<UnsummedReduce>(out, std::string("tensor/layer"), std::string("ops/cross_entropy.cpp"));
     }},
    {"aux_loss_per_rank", "auxiliary losses count a rank's tokens, not the population's",
     "more than one rank, and a router that sums over them (not hash)",
     [](const Site& site) {
       return has_ranks(site) && has_experts(site) && site.config.model.moe.router.kind != "hash";
     },
     [](const Site&, Injection& out) {
       plant_wire<UnsummedReduce>(out, std::string("data+tensor/layer"), std::string());
     }},
    {"local_norm", "each rank clips by the norm of its own shards", kRanks, has_ranks,
     [](const Site&, Injection& out) {
       plant_wire<UnsummedReduce>(out, std::string(), std::string("gradient/clip.cpp"));
     }},
    {"stale_norm", "gradients are clipped by the norm of the step before", kSteps, has_steps,
     [](const Site&, Injection& out) { plant_wire<StaleNorm>(out); }},
    {"stale_shard", "what the last rank has updated reaches the others a step late",
     "more than one rank and --steps 2 or more", [](const Site& site) { return has_ranks(site) && has_steps(site); },
     [](const Site& site, Injection& out) {
       if (site.is_last()) plant_wire<StaleShard>(out);
     }},
    {"double_divisor", "the loss is divided by twice the number of targets", "", always,
     [](const Site&, Injection& out) { plant(BatchFault{.targets = [](int64_t n) { return 2 * n; }}, out); }},
    {"off_by_one_target", "the last data rank's last target of a sequence is the token before", kData, has_data,
     [](const Site& site, Injection& out) {
       if (site.data() + 1 == site.shape.data) plant(BatchFault{.rows = repeat_last_token}, out);
     }},
    {"shift_batch", "the last data rank reads the sequences after its own", kData, has_data,
     [](const Site& site, Injection& out) {
       if (site.data() + 1 == site.shape.data) plant(BatchFault{.sequence = [](int64_t n) { return n + 1; }}, out);
     }},
    {"shift_random_stream", "the last rank draws its initial values with another seed", "", always,
     [](const Site& site, Injection& out) {
       if (!site.is_last()) return;
       out.initial = [seed = static_cast<uint64_t>(site.config.run.seed) + 1, changes = out.changes](Job& job) {
         job.optimizer->initialise_all(seed);
         changes->add(1);
       };
     }},
    {"shift_router_draws", "the last rank's router draws the random numbers of the tokens after its own",
     "a router that draws by token: noisy_top_k, jitter, or a capacity that drops at random", router_draws,
     [](const Site& site, Injection& out) {
       if (site.is_last()) plant(RouterFault{.context = shift_tokens}, out);
     }},
    {"swap_experts", "two experts get each other's tokens on the last rank", kExperts, has_experts,
     [](const Site& site, Injection& out) {
       if (site.is_last()) plant(DispatchFault{.routing = swap_first_two}, out);
     }},
    {"drop_tokens", "the last rank's tokens come back from the experts as zeros", kExperts, has_experts,
     [](const Site& site, Injection& out) {
       if (site.is_last()) plant(DispatchFault{.combined = [](const at::Tensor& y) { return y * 0; }}, out);
     }},
    {"reorder_rows", "an expert's rows arrive in reverse order and are sent back as they are", kExperts, has_experts,
     [](const Site&, Injection& out) { plant(DispatchFault{.rows = reverse_rows}, out); }},
    {"scale_combine", "the last rank's combine weights are 1.01 times what they should be",
     "a model with experts, and a precision above bf16",
     [](const Site& site) { return has_experts(site) && site.config.train.precision != "bf16"; },
     [](const Site& site, Injection& out) {
       if (site.is_last()) plant(DispatchFault{.weights = [](const at::Tensor& w) { return w * 1.01; }}, out);
     }},
    {"detach_router", "the gradient of the combine weights does not reach the router",
     "a router whose weights have a gradient: not hash, nor one expert a token whose weight is renormalised to 1",
     [](const Site& site) {
       const MoeConfig& moe = site.config.model.moe;
       return has_experts(site) && moe.router.kind != "hash" && !(moe.router.renormalise && moe.experts_per_token == 1);
     },
     [](const Site&, Injection& out) { plant(RouterFault{.output = detach_weights}, out); }},
    {"forget_expert_tensor_sum", "of the ranks that share an expert only the first one's part comes back",
     "a model with experts and parallel.expert_tensor above 1",
     [](const Site& site) { return has_experts(site) && site.shape.expert_tensor > 1; },
     [](const Site& site, Injection& out) {
       if (site.expert_tensor() > 0) plant(DispatchFault{.results = [](const at::Tensor& y) { return y * 0; }}, out);
     }},
};

}  // namespace

std::span<const BugKind> bug_kinds() {
  return kKinds;
}

absl::StatusOr<Injection> inject(const std::string& kind, const InjectionSite& site) {
  for (const BugKind& known : bug_kinds()) {
    if (known.name != kind) continue;
    if (!known.applies(site)) {
      return error(ErrorCategory::kUsage, absl::StrCat("--inject ", kind, " needs ", known.needs));
    }
    Injection injection;
    known.plant(site, injection);
    return injection;
  }
  return error(ErrorCategory::kUsage, absl::StrCat("--inject ", kind, ": no such kind; --inject list shows them"));
}

std::string list_bug_kinds() {
  std::string text;
  for (const BugKind& kind : bug_kinds()) {
    absl::StrAppendFormat(&text, "%-27s %s%s\n", kind.name, kind.about,
                          *kind.needs == '\0' ? "" : absl::StrCat(" (needs ", kind.needs, ")"));
  }
  return text;
}

}  // namespace switchyard
