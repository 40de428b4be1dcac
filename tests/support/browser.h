// A page as a browser has drawn it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "tests/support/temporary_folder.h"

namespace switchyard {

// Whether there is chromium, which rendered() needs; tests skip without.
inline bool has_browser() {
  return std::system("command -v chromium >/dev/null") == 0;
}

// The document after its scripts have run. Throws where the browser fails, with what it said.
inline std::string rendered(const std::filesystem::path& page) {
  const TemporaryFolder folder;
  const auto content = [&folder](const char* name) {
    std::ostringstream text;
    text << std::ifstream(folder / name).rdbuf();
    return text.str();
  };
  const std::string command =
      "chromium --headless --no-sandbox --disable-gpu --user-data-dir=" + (folder / "browser").string() +
      " --dump-dom file://" + page.string() + " >" + (folder / "dom").string() + " 2>" + (folder / "error").string();
  if (std::system(command.c_str()) != 0) throw std::runtime_error("chromium failed: " + content("error"));
  return content("dom");
}

}  // namespace switchyard
