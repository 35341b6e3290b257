// A folder for the files of one test, for tests.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace bertie {

// Beside testing::Test among a fixture's bases; gone with it.
class TemporaryFolder {
 protected:
  TemporaryFolder() {
    std::string name = testing::TempDir() + "/bertie_XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(folder_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  std::string folder_;
};

}  // namespace bertie
