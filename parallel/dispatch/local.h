// The dispatcher of a rank that holds all experts whole: rows are permuted, nothing travels.
#pragma once

#include "parallel/dispatch/row_dispatcher.h"

namespace switchyard {

class LocalDispatcher : public RowDispatcher {
 public:
  explicit LocalDispatcher(int64_t experts) : experts_(experts) {}

 private:
  std::vector<RowExchangePointer> exchanges_of(std::span<const Routing> chunks) override;

  int64_t experts_;
};

}  // namespace switchyard
