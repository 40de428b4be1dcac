// A small corpus for the tests of tokenizers and of prepare: sentences made of a few hundred words.
#pragma once

#include <array>
#include <random>
#include <string>

namespace switchyard {

inline std::string made_up_text(int seed, int sentences) {
  static constexpr std::array kSyllables = {"ka",  "lo", "mi", "ren", "tu",  "shi",
                                            "vor", "el", "an", "qui", "dos", "eth"};
  std::mt19937 random(static_cast<unsigned>(seed));
  std::string text;
  for (int s = 0; s < sentences; ++s) {
    for (int w = 0; w < 9; ++w) {
      for (unsigned i = 0, length = 1 + random() % 3; i < length; ++i) text += kSyllables[random() % kSyllables.size()];
      text += w == 8 ? ".\n" : " ";
    }
  }
  return text;
}

}  // namespace switchyard
