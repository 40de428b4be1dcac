// The weights of what a hierarchical dispatch hands on: they travel once for all chunks of the tokens, before their
// rows.
#pragma once

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "parallel/dispatch/domain_exchange.h"
#include "runtime/comm/communicator.h"

namespace switchyard {

// Of each chunk, the weights of the slots of arrived(), from those of all ranks' tokens: `weights` are this rank's, one
// tensor for each of `chunks`. An autograd function: gradients come back together too, each the sum over the domains
// that its slot went to. Collective over `group`, which is borrowed until the backward; throws StatusError.
std::vector<at::Tensor> weights_of_arrived(Communicator& group, const std::vector<at::Tensor>& weights,
                                           const std::vector<std::shared_ptr<const DomainExchange>>& chunks);

}  // namespace switchyard
