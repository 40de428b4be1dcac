// The layers' own router on one rank, for kinds that the reference does not write out.
#pragma once

#include <memory>
#include <string>

#include "launch/verify/plain_router.h"
#include "layers/build_context.h"

namespace switchyard {

std::unique_ptr<PlainRouter> make_same_router(const std::string& name, int64_t width, const MoeConfig& config,
                                              const BuildContext& context, PlainParameters& parameters);

}  // namespace switchyard
