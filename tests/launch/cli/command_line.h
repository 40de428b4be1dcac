// The program itself, run with arguments: what it prints and its exit code.
#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>

#include "tests/support/temporary_folder.h"

namespace switchyard {

struct Outcome {
  int code = -1;
  std::string out, err;
};

class CommandLine : public testing::Test {
 protected:
  Outcome run(const std::string& arguments, const std::string& program = SWITCHYARD_PROGRAM) const {
    const std::string out = folder_ + "/out", err = folder_ + "/err";
    const std::string command = program + " " + arguments + " >" + out + " 2>" + err;
    const int state = std::system(command.c_str());
    return {WIFEXITED(state) ? WEXITSTATUS(state) : -1, read(out), read(err)};
  }
  Outcome run_ranks(int ranks, const std::string& arguments, const std::string& program = SWITCHYARD_PROGRAM) const {
    return run(arguments, SWITCHYARD_SOURCE "/tests/support/mpirun.sh " + std::to_string(ranks) + " " + program);
  }
  std::string file(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  static std::string read(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  static int errors_in(const std::string& text) {
    int count = 0;
    for (size_t at = text.find("switchyard: error: "); at != std::string::npos; ++count) {
      at = text.find("switchyard: error: ", at + 1);
    }
    return count;
  }

  const TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path().string();
};

}  // namespace switchyard
