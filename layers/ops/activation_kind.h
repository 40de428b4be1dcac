// The names of the activations, for those that see no tensors.
#pragma once

namespace switchyard {

enum class Activation { kSwiglu, kGelu, kRelu };

}  // namespace switchyard
