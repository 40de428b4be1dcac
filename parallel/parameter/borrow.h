// How an autograd function keeps hold of what outlives its graph and is no tensor: a parameter, a communicator.
#pragma once

#include <cstdint>

#include <ATen/core/ivalue.h>

namespace switchyard {

template <typename T>
c10::IValue borrow(T& object) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(&object));
}

template <typename T>
T& borrowed(const c10::IValue& value) {
  return *reinterpret_cast<T*>(static_cast<intptr_t>(value.toInt()));
}

}  // namespace switchyard
