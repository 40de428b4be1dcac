#include "layers/moe/router/router.h"

namespace switchyard {

void Replay::set(Choice choice) {
  choice_ = std::move(choice);
  taken_.reset();
}

const Choice* Replay::next(const TokenContext& context) {
  if (!choice_) return nullptr;
  const std::pair part(context.step, context.part);
  if (taken_ && *taken_ != part) {
    choice_.reset();
    return nullptr;
  }
  taken_ = part;
  return &*choice_;
}

}  // namespace switchyard
