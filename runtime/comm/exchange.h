// Texts (any bytes, any lengths) and single numbers between the ranks of a group. Every call is collective; errors are
// kCommunication.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "runtime/comm/communicator.h"

namespace switchyard {

// On rank 0 the ranks' texts in rank order, elsewhere nothing.
absl::StatusOr<std::vector<std::string>> gather_texts(Communicator& group, const std::string& mine);

// On every rank the ranks' texts in rank order.
absl::StatusOr<std::vector<std::string>> all_gather_texts(Communicator& group, const std::string& mine);

// The text of `root`; those of the others do not count.
absl::StatusOr<std::string> broadcast_text(Communicator& group, const std::string& text, int root = 0);

// On every rank the sum, largest or smallest of the ranks' numbers; sums in rank order.
absl::StatusOr<double> reduce_number(Communicator& group, double mine, ReduceOp op);

}  // namespace switchyard
