// What every backend must do, as bodies that all ranks of a world run: over loopback and under mpirun alike. Expected
// values are computed serially from what each rank is known to contribute, and compared bit for bit.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace switchyard {

struct Body {
  std::string name;
  std::function<void(Communicator& world)> run;
  friend std::ostream& operator<<(std::ostream& out, const Body& body) { return out << body.name; }
};

const std::vector<Body>& bodies();

}  // namespace switchyard
