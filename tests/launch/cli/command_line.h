// The program itself, run with arguments: what it prints and its exit code.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>

namespace switchyard {

struct Outcome {
  int code = -1;
  std::string out, err;
};

class CommandLine : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

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

  const std::string folder_ = testing::TempDir() + "command_line_test";
};

}  // namespace switchyard
