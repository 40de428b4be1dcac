#include <string_view>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "launch/checkpoint_tools/source.h"
#include "launch/checkpoint_tools/text.h"
#include "launch/checkpoint_tools/tools.h"
#include "launch/train/run_state.h"
#include "runtime/base/status.h"
#include "runtime/comm/agreement.h"

namespace switchyard {
namespace {

// Prints the tensors of one level of the tree, all of whose names share the first `depth` words.
class Tree {
 public:
  Tree(const Manifest& manifest, bool boxes, std::ostream& out) : manifest_(manifest), boxes_(boxes), out_(out) {}

  void print(std::span<const StoredTensor* const> tensors, size_t depth) const {
    for (size_t begin = 0; begin < tensors.size();) {
      const std::vector<std::string> words = words_of(*tensors[begin]);
      if (words.size() <= depth + 1) {
        print_tensor(*tensors[begin++], words.back(), depth);
        continue;
      }
      size_t end = begin;
      int64_t bytes = 0;
      for (; end < tensors.size(); ++end) {
        const std::vector<std::string> others = words_of(*tensors[end]);
        if (others.size() <= depth + 1 || others[depth] != words[depth]) break;
        bytes += bytes_of(*tensors[end]);
      }
      out_ << absl::StrFormat("%s%s  (%d tensors, %s)\n", std::string(2 * depth, ' '), words[depth], end - begin,
                              size_text(bytes));
      print(tensors.subspan(begin, end - begin), depth + 1);
      begin = end;
    }
  }

 private:
  static std::vector<std::string> words_of(const StoredTensor& tensor) { return absl::StrSplit(tensor.name, '.'); }

  void print_tensor(const StoredTensor& tensor, const std::string& word, size_t depth) const {
    const std::string indent(2 * depth, ' ');
    out_ << absl::StrFormat("%s%s  %s  %s in %d %s\n", indent, word, type_text(tensor), size_text(bytes_of(tensor)),
                            tensor.boxes.size(), tensor.boxes.size() == 1 ? "box" : "boxes");
    if (!boxes_) return;
    for (const StoredBox& stored : tensor.boxes) {
      out_ << absl::StrFormat("%s  %s  %s, byte %d\n", indent, box_text(stored.box), manifest_.files[stored.file].name,
                              stored.byte_offset);
    }
  }

  const Manifest& manifest_;
  const bool boxes_;
  std::ostream& out_;
};

absl::Status show(const std::string& path, const std::vector<std::string>& patterns, bool boxes, std::ostream& out) {
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, open_any(path));
  SY_ASSIGN_OR_RETURN(const std::vector<const StoredTensor*> tensors, select_tensors(*checkpoint, patterns));
  const Manifest& manifest = checkpoint->manifest();
  out << absl::StrFormat("%s: step %d, %s in %d files, %d tensors, version %d\n", checkpoint->path().string(),
                         manifest.step, size_text(manifest.total_bytes()), manifest.files.size(),
                         manifest.tensors.size(), manifest.version);
  if (const absl::StatusOr<RunState> run = parse_run_state(manifest.run_state); run.ok()) {
    out << absl::StrFormat("updates %d, tokens %d, vocabulary %d", run->updates, run->tokens, run->vocabulary);
    if (run->layout) out << ", saved by " << describe(*run->layout);
    out << "\n";
  }
  for (const auto& [alias, name] : manifest.aliases) out << alias << " is " << name << "\n";
  Tree(manifest, boxes, out).print(tensors, 0);
  return absl::OkStatus();
}

}  // namespace

absl::Status show_checkpoint(const std::string& path, const std::vector<std::string>& patterns, bool boxes,
                             Communicator& world, const ToolOutput& output) {
  return agree(world, output.out ? show(path, patterns, boxes, *output.out) : absl::OkStatus());
}

}  // namespace switchyard
