// How an autograd function keeps hold of what is no tensor: borrows what outlives its graph, like a parameter or a
// communicator, and shares what may not.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include <ATen/core/ivalue.h>

#include "runtime/base/check.h"

namespace switchyard {

template <typename T>
c10::IValue borrow(T& object) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(&object));
}

template <typename T>
T& borrowed(const c10::IValue& value) {
  return *reinterpret_cast<T*>(static_cast<intptr_t>(value.toInt()));
}

template <typename T>
struct Held : torch::CustomClassHolder {
  explicit Held(std::shared_ptr<T> object) : object(std::move(object)) {}
  std::shared_ptr<T> object;
};

template <typename T>
c10::IValue hold(std::shared_ptr<T> object) {
  return c10::IValue::make_capsule(c10::make_intrusive<Held<T>>(std::move(object)));
}

template <typename T>
std::shared_ptr<T> held(const c10::IValue& value) {
  const auto capsule = value.toCapsule();
  const auto* holder = dynamic_cast<const Held<T>*>(capsule.get());
  SY_CHECK(holder != nullptr);
  return holder->object;
}

}  // namespace switchyard
