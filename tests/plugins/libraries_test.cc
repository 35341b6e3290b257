// What load_plugin says of real libraries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/message_of_test.h"
#include "bertie/plugin.h"

namespace bertie {
namespace {

using testing::HasSubstr;

TEST(PluginLibrariesTest, LoadedOnceHoweverOftenAndFromHoweverManyThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([] { EXPECT_EQ(load_plugin(LAYER_NORM_PLUGIN).name, "layer_norm"); });
  for (std::thread& thread : threads) thread.join();
  const PluginInfo info = load_plugin(std::filesystem::relative(LAYER_NORM_PLUGIN).string());
  EXPECT_EQ(info.version, "1.0");
  EXPECT_EQ(info.ops, std::vector<std::string>{"bertie.examples::LayerNorm v1"});
  int loaded = 0;
  for (const PluginInfo& plugin : loaded_plugins()) loaded += plugin.name == "layer_norm";
  EXPECT_EQ(loaded, 1);
}

TEST(PluginLibrariesTest, BrokenOnesAreRefusedInOneLine) {
  load_plugin(LAYER_NORM_PLUGIN);
  const auto said = [](const std::string& path) { return message_of([&] { load_plugin(path); }); };
  const auto named = [](const std::string& path) { return "plugin '" + path + "': "; };
  EXPECT_EQ(said(BROKEN_NO_ENTRY), named(BROKEN_NO_ENTRY) + "exports no bertie_plugin: not a bertie plugin");
  EXPECT_EQ(said(BROKEN_OTHER_ABI),
            named(BROKEN_OTHER_ABI) + "made for version 4000 of the plugin interface; this bertie has version 1");
  EXPECT_EQ(said(BROKEN_TAKEN_NAME),
            named(BROKEN_TAKEN_NAME) + "plugin 'layer_norm v1.0' already has an op 'bertie.examples::LayerNorm'");
  EXPECT_EQ(said(BROKEN_UNDEFINED_SYMBOL), named(BROKEN_UNDEFINED_SYMBOL) + "undefined symbol: nobody_has_this_function");
  // A copy of a good one has its names.
  const auto copy = std::filesystem::temp_directory_path() / ("copied_plugin_" + std::to_string(getpid()) + ".so");
  std::filesystem::copy_file(LAYER_NORM_PLUGIN, copy, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(said(copy), named(copy) + "plugin 'layer_norm v1.0' already has an op 'bertie.examples::LayerNorm'");
  // Cut short behind its header; another file, since the first copy stays mapped.
  const std::string cut = copy.string() + ".cut";
  std::filesystem::copy_file(LAYER_NORM_PLUGIN, cut, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::resize_file(cut, 400);
  EXPECT_THAT(said(cut), HasSubstr(named(cut)));
  EXPECT_EQ(said(cut).find('\n'), std::string::npos);
  std::filesystem::remove(cut);
  // A program is no library.
  EXPECT_THAT(said("/proc/self/exe"), HasSubstr("plugin '/proc/self/exe': "));
  std::filesystem::remove(copy);
}

}  // namespace
}  // namespace bertie
