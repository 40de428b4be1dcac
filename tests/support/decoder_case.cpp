#include "tests/support/decoder_case.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parallel/gradient/clip.h"
#include "parallel/gradient/reducer.h"
#include "parallel/optimizer/adamw.h"
#include "runtime/base/status.h"
#include "tests/support/gatherer.h"
#include "tests/support/part_of.h"

namespace switchyard {
namespace {

c10::Device device_of(const DecoderCase& what, const Mesh& mesh) {
  c10::Device device = what.device;
  if (!device.is_cpu()) device.set_index(static_cast<c10::DeviceIndex>(device.index() + mesh.world().rank()));
  return device;
}

void load_initial(const std::map<std::string, at::Tensor>& initial, ShardedAdamW& optimizer) {
  for (TensorPart& tensor : optimizer.state()) {
    const auto it = initial.find(tensor.name);
    if (it != initial.end()) tensor.data.copy_(part_of(it->second, tensor.box));
  }
  throw_if_error(optimizer.gather_values());
}

double sum_over_ranks(const at::Tensor& share, Communicator& world) {
  at::Tensor sum = share.detach().to(at::kCPU, at::kDouble).reshape({1}).clone();
  throw_if_error(world.all_reduce(sum, ReduceOp::kSum).wait());
  return sum.item<double>();
}

TokenBatch batch_of(const DecoderCase& what, const Mesh& mesh, size_t step, int64_t part) {
  TokenBatch batch = cut_batch(what.steps[step], part, what.parts, mesh.size(Axis::kData), mesh.index(Axis::kData));
  batch.step = static_cast<int64_t>(step);
  return batch;
}

void add_logits(const DecoderCase& what, const Mesh& mesh, Decoder& model, Gatherer& gatherer) {
  const at::NoGradGuard no_grad;
  const int64_t part_tokens = what.steps[0].tokens.numel() / what.parts;
  const auto [vocab_begin, vocab_end] = cut(what.vocabulary, mesh.size(Axis::kTensor), mesh.index(Axis::kTensor));
  for (int64_t part = 0; part < what.parts; ++part) {
    const TokenBatch batch = batch_of(what, mesh, 0, part);
    const at::Tensor logits = model.logits(batch);
    const Box box{{part * part_tokens + batch.first_token, vocab_begin}, {logits.size(0), vocab_end - vocab_begin}};
    gatherer.add("logits", {part_tokens * what.parts, what.vocabulary}, box, logits.cpu());
  }
}

}  // namespace

DecoderCase small_decoder_case() {
  DecoderCase what;
  what.model.width = 16;
  what.model.layers = 3;
  what.model.init_scale = 0.4;
  what.model.attention.heads = 6;
  what.model.attention.kv_heads = 3;
  what.model.attention.head_width = 4;
  what.model.feed_forward.width = 22;
  what.model.moe.first_dense = 1;
  what.model.moe.experts = 5;
  what.model.moe.experts_per_token = 2;
  what.model.moe.expert_width = 10;
  what.model.moe.shared_experts = 1;
  what.vocabulary = 61;
  what.parts = 2;
  what.optimizer.clip = 0.5;
  what.lr = {1e-3, 2e-3, 2e-3, 1e-3, 5e-4};
  for (size_t s = 0; s < what.lr.size(); ++s) what.steps.push_back(random_step(6, 7, what.vocabulary, 5, 300 + s));
  return what;
}

DecoderRun run_decoder(const DecoderCase& what, MeshShape shape, bool gather_logits) {
  Gatherer gradients, parameters, logits;
  DecoderRun run;
  shape.kv_replica = std::max<int>(1, shape.tensor / static_cast<int>(what.model.attention.kv_heads));
  const auto train = [&](const Mesh& mesh) {
    auto model = assemble(what.model, what.vocabulary, at::dtype(what.dtype).device(device_of(what, mesh)),
                          what.recompute, what.seed, mesh, what.decorators);
    // Small buckets, so that there are several of each kind.
    GradientReducer reducer(model->parameters(), mesh, {.bucket_bytes = 4096});
    ShardedAdamW optimizer(reducer, mesh, what.optimizer);
    optimizer.initialise_all(what.seed);
    if (!what.initial.empty()) load_initial(what.initial, optimizer);
    if (gather_logits) add_logits(what, mesh, *model, logits);

    for (size_t step = 0; step < what.steps.size(); ++step) {
      double loss = 0, auxiliary_loss = 0;
      reducer.begin_step();
      for (int64_t part = 0; part < what.parts; ++part) {
        if (part + 1 == what.parts) reducer.begin_last_part();
        const DecoderOutput output = model->forward(batch_of(what, mesh, step, part));
        (output.loss + output.auxiliary_loss).backward();
        loss += sum_over_ranks(output.loss, mesh.world());
        auxiliary_loss += sum_over_ranks(output.auxiliary_loss, mesh.world());
      }
      throw_if_error(reducer.finish());
      const double norm = value_or_throw(gradient_norm(reducer.shards(), mesh.world()));
      if (step == 0) {
        for (const Shard& shard : reducer.shards()) {
          gradients.add(shard.slice->spec.name, shard.slice->spec.shape, shard.box, shard.gradient.cpu());
        }
      }
      throw_if_error(optimizer.update(what.lr[step], clip_factor(norm, what.optimizer.clip)));
      for (const auto& [layer, moe] : model->moe_layers()) moe->router().finish_step();
      if (mesh.world().rank() == 0) {
        run.loss.push_back(loss);
        run.auxiliary_loss.push_back(auxiliary_loss);
        run.grad_norm.push_back(norm);
      }
    }
    for (const TensorPart& tensor : optimizer.state()) {
      if (tensor.name.starts_with("optimizer.")) continue;
      parameters.add(tensor.name, tensor.shape, tensor.box, tensor.data.cpu());
    }
    for (const auto& [layer, moe] : model->moe_layers()) {
      for (const RouterBuffer& buffer : moe->router().buffers()) {
        const Box whole = Box::whole(buffer.value.sizes().vec());
        const at::Tensor first = buffer.value.clone();
        throw_if_error(mesh.world().broadcast(first, 0).wait());
        EXPECT_TRUE(at::equal(first, buffer.value)) << buffer.name << " differs between ranks";
        if (mesh.world().rank() == 0) parameters.add(buffer.name, whole.extent, whole, buffer.value);
      }
    }
  };
  run_mesh(shape, train, what.nodes, what.connect);
  run.gradients = gradients.take();
  run.parameters = parameters.take();
  if (gather_logits) run.logits = logits.take().at("logits");
  return run;
}

}  // namespace switchyard
