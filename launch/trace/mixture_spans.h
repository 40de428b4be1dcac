// What the spans of a mixture layer are called, in the forward and in the backward.
#pragma once

#include <string_view>

namespace switchyard {

// The part that the span of this name is of: "route" (gate, choice, losses), "permute" (rows into the order of experts
// and back), "experts" (products and activation), "combine" (weighted sums); empty: none of them.
std::string_view mixture_part(std::string_view span);

// Of the spans of "experts", those of the activation; the products are all else.
bool is_activation(std::string_view span);

}  // namespace switchyard
