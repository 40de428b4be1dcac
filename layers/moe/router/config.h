// The `model.moe.router:` section.
#pragma once

#include <string>

namespace switchyard {

struct RouterConfig {
  std::string kind = "softmax";
  bool renormalise = true;
  double aux_loss = 0.01;
  double z_loss = 0.001;

  template <typename Visitor>
  void visit(Visitor& v) {
    v("kind", kind, "how experts are chosen; softmax: top-k of a softmax over all experts").one_of({"softmax"});
    v("renormalise", renormalise, "divide a token's weights by their sum");
    v("aux_loss", aux_loss, "coefficient of the load-balance loss").at_least(0);
    v("z_loss", z_loss, "coefficient of the squared log-sum-exp of the router's logits").at_least(0);
  }
};

}  // namespace switchyard
