// Ops of plugins in a network: registered from this program, through the same C interface as from a library.
#include "bertie/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/message_of_test.h"
#include "network/plugin_compose.h"
#include "network/plugin_library.h"
#include "network/plugin_registry.h"

namespace bertie {
namespace {

using testing::HasSubstr;
using testing::Not;

std::unique_ptr<plugin::Kernel> no_kernel(const plugin::NodeView&, const plugin::Device&) { plugin::refuse("never"); }

// x * factor, with a composition; its behaviour can be broken by attributes.
struct Scale : plugin::Op {
  Scale() : Op("test.network::Scale", 3) {
    add_input("x");
    add_optional_input("unused");
    add_attribute("factor", 2.0);
    add_attribute("mode", std::string("good"));
    add_attribute("axes", std::vector<int64_t>{-1});
    add_attribute("weights", std::vector<double>{});
  }
  void infer(const plugin::ShapeRule& rule) const override {
    const std::string mode = rule.text("mode");
    if (mode == "throws") throw std::runtime_error("out of\nluck");
    if (mode == "throws an int") throw 5;
    if (mode == "no output") return;
    if (mode == "bad dtype") return rule.output(static_cast<DType>(77), rule.shape(0));
    if (mode == "rank 9") return rule.output(DType::f32, SymbolicShape(9, Dim(1)));
    if (mode == "negative") return rule.output(DType::f32, {Dim(-3)});
    if (mode == "unknown extent") return rule.output(DType::f32, {Dim(""), Dim(4)});
    if (mode == "undeclared") (void)rule.real("gone");
    if (mode == "left out") (void)rule.dtype(1);
    rule.require(rule.dtype(0) == DType::f32, "x of f32");
    rule.output(rule.dtype(0), rule.shape(0));
  }
  bool row_wise(const plugin::NodeView& node) const override { return node.text("mode") == "good"; }
  bool compose(const plugin::Composition& graph) const override {
    const std::string mode = graph.text("mode");
    if (mode == "not composed") return false;
    if (mode == "composes badly") graph.add_node("linear", {graph.input(0), graph.input(0)});
    if (mode == "composes itself") graph.add_node("test.network::Scale", {graph.input(0)});
    const ValueId factor = graph.add_scalar(static_cast<float>(graph.real("factor")));
    const ValueId product = graph.add_node("elementwise", {graph.input(0), factor}, {{"function", std::string("mul")}});
    graph.output(mode == "wrong result" ? factor : product);
    if (mode == "two results") graph.output(product);
    return true;
  }
};

struct Pair : plugin::Op {
  Pair() : Op("test.network::Pair", 1) {
    add_input("x");
    set_variadic();
    add_required_attribute("depth", int64_t{0});
    add_kernel("cpu", "pair", no_kernel);
  }
  void infer(const plugin::ShapeRule& rule) const override {
    rule.output(DType::f16, rule.shape(0));
    rule.output(DType::i64, {Dim(rule.integer("depth")), Dim(static_cast<int64_t>(rule.input_count()))});
  }
};

struct PluginTest : testing::Test {
  static void SetUpTestSuite() { plugin::register_ops<Scale, Pair>("network_test", "1.0"); }
  Network network;
  ValueId x = network.add_input("x", DType::f32, {"batch", "sequence", 6});

  ValueId scale(Attributes attributes, std::string name = "s") {
    return network.add_node("test.network::Scale", {x}, std::move(attributes), std::move(name))[0];
  }
  std::string scale_error(const std::string& mode) {
    return message_of([&] { scale({{"mode", mode}}); });
  }
};

TEST_F(PluginTest, ANodeHasItsShapeDefaultsAndVersion) {
  const ValueId y = scale({{"factor", 0.5}});
  EXPECT_EQ(to_string(network.value(y).shape), "[batch, sequence, 6]");
  const Node& node = network.node(network.value(y).producer);
  EXPECT_EQ(node.real("factor"), 0.5);
  EXPECT_EQ(node.text("mode"), "good");
  EXPECT_EQ(node.integers("axes"), std::vector<int64_t>{-1});
  EXPECT_EQ(node.integer(kPluginVersion), 3);
  network.add_output("y", y);
  EXPECT_NO_THROW(network.verify());
  EXPECT_THAT(network.to_string(), HasSubstr("test.network::Scale    s(x) axes=[-1] factor=0.5 mode=good plugin_version=3"));
}

TEST_F(PluginTest, SeveralOutputsAndRepeatedInputs) {
  const auto outputs = network.add_node("test.network::Pair", {x, x, x}, {{"depth", int64_t{7}}});
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(network.value(outputs[0]).dtype, DType::f16);
  EXPECT_EQ(to_string(network.value(outputs[1]).shape), "[7, 3]");
}

TEST_F(PluginTest, ShapeRulesRunAgainOnNewShapes) {
  const ValueId y = scale({});
  network.mutable_value(x).shape = {Dim(2), Dim(3), Dim(6)};
  network.infer_shapes();
  EXPECT_EQ(to_string(network.value(y).shape), "[2, 3, 6]");
}

TEST_F(PluginTest, AttributesAreCheckedByNameAndType) {
  EXPECT_EQ(message_of([&] { scale({{"factors", 1.0}}); }), "test.network::Scale 's': unknown attribute 'factors'");
  EXPECT_EQ(message_of([&] {
              scale({{"factor", std::string("2")}}, "t");
            }),
            "test.network::Scale 't': attribute 'factor' is a text, expected a real");
  EXPECT_EQ(message_of([&] { network.add_node("test.network::Pair", {x}, {}, "p"); }),
            "test.network::Pair 'p': attribute 'depth' is missing");
  // ONNX writers state 1 where 1.0 is meant.
  const Node& node =
      network.node(network.value(scale({{"factor", int64_t{1}}, {"weights", std::vector<int64_t>{1, 2}}})).producer);
  EXPECT_EQ(node.real("factor"), 1.0);
  EXPECT_EQ(std::get<std::vector<double>>(node.attributes.at("weights")), (std::vector<double>{1, 2}));
}

TEST_F(PluginTest, ANodeOfAnotherVersionIsRefused) {
  EXPECT_EQ(message_of([&] {
              scale({{"plugin_version", int64_t{2}}});
            }),
            "test.network::Scale 's': made with version 2 of the op, but plugin 'network_test v1.0' has version 3");
  EXPECT_NO_THROW(scale({{"plugin_version", int64_t{3}}}));
}

TEST_F(PluginTest, RejectionsReadLikeThoseOfTheVocabulary) {
  const ValueId ids = network.add_input("ids", DType::i64, {"batch"});
  EXPECT_EQ(message_of([&] { network.add_node("test.network::Scale", {ids}, {}, "s"); }),
            "test.network::Scale 's': expected x of f32; got x 'ids' i64 [batch]");
  EXPECT_EQ(message_of([&] { network.add_node("test.network::Scale", {}, {}, "u"); }),
            "test.network::Scale 'u': input 'x' is missing");
}

TEST_F(PluginTest, WhatAPluginDoesWrongIsOneErrorThatNamesIt) {
  const std::string prefix = "plugin 'network_test v1.0', test.network::Scale 's': its shape rule: ";
  EXPECT_EQ(scale_error("throws"), prefix + "out of luck");
  network = Network();
  x = network.add_input("x", DType::f32, {"batch", 6});
  const std::array<std::pair<const char*, const char*>, 7> faults = {{
      {"throws an int", "an exception that is no std::exception"},
      {"no output", "no output"},
      {"bad dtype", "output 0 has no such dtype: 77"},
      {"rank 9", "output 0 of rank 9; at most 8"},
      {"negative", "output 0 has a negative extent"},
      {"undeclared", "no attribute 'gone' of this type is declared"},
      {"left out", "input 1 is left out"},
  }};
  for (const auto& [mode, fault] : faults) {
    try {
      scale({{"mode", std::string(mode)}});
      ADD_FAILURE() << mode;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::plugin_failed);
      EXPECT_THAT(error.what(), HasSubstr(fault));
      EXPECT_THAT(error.what(), HasSubstr("plugin 'network_test v1.0', test.network::Scale"));
    }
  }
  EXPECT_EQ(network.order().size(), 0u);
}

TEST_F(PluginTest, AnExtentOnlyTheRunKnowsIsASymbolOfItsOwn) {
  const ValueId y = scale({{"mode", std::string("unknown extent")}});
  EXPECT_FALSE(network.value(y).shape[0].is_fixed());
  network.add_output("y", y);
  EXPECT_NO_THROW(network.verify());  // the same symbol at each inference
}

TEST_F(PluginTest, RowWiseIsAskedOfTheNode) {
  const auto is_row_wise = [&](ValueId value) {
    return is_row_wise_plugin(network, network.node(network.value(value).producer));
  };
  EXPECT_TRUE(is_row_wise(scale({})));
  EXPECT_FALSE(is_row_wise(scale({{"mode", std::string("other")}})));
  EXPECT_FALSE(is_row_wise(network.add_node("test.network::Pair", {x}, {{"depth", int64_t{1}}})[0]));
  EXPECT_FALSE(is_row_wise(network.add_gelu(x)));
}

TEST_F(PluginTest, CompositionsAreLaidDown) {
  const ValueId y = scale({});
  const auto composed = compose_plugin(network, network.value(y).producer);
  ASSERT_TRUE(composed);
  EXPECT_EQ(network.node(network.value(composed->at(0)).producer).op, "elementwise");
  EXPECT_EQ(to_string(network.value(composed->at(0)).shape), "[batch, sequence, 6]");
  const auto none = network.add_node("test.network::Pair", {x}, {{"depth", int64_t{1}}});
  EXPECT_FALSE(compose_plugin(network, network.value(none[0]).producer));
  EXPECT_FALSE(compose_plugin(network, network.value(scale({{"mode", std::string("not composed")}})).producer));
  const auto fault = [&](const char* mode) {
    const ValueId value = scale({{"mode", std::string(mode)}});
    return message_of([&] { compose_plugin(network, network.value(value).producer); });
  };
  EXPECT_THAT(fault("composes badly"), HasSubstr("its composition: linear"));
  EXPECT_THAT(fault("composes itself"), HasSubstr("a composition is made of ops of the vocabulary"));
  EXPECT_THAT(fault("wrong result"), HasSubstr("result 0 is f32 [], its shape rule says f32 [batch, sequence, 6]"));
  EXPECT_THAT(fault("two results"), HasSubstr("2 results, the op has 1"));
}

TEST_F(PluginTest, FoundByDomainAndType) {
  ASSERT_NE(find_plugin_op("test.network", "Scale"), nullptr);
  EXPECT_EQ(find_plugin_op("test.network", "Scale")->descriptor.name, "test.network::Scale");
  EXPECT_EQ(find_plugin_op("test.network", "Gone"), nullptr);
  EXPECT_EQ(find_plugin_op("", "Scale"), nullptr);
  EXPECT_EQ(message_of([&] { network.add_node("my.domain::Gone", {x}, {}); }),
            "op 'my.domain::Gone': no plugin that is loaded has it");
}

TEST_F(PluginTest, RegisteringAgainChangesNothingButAnothersNameIsTaken) {
  const size_t before = plugin_ops().size();
  const PluginInfo info = plugin::register_ops<Scale, Pair>("network_test", "1.0");
  EXPECT_EQ(info.ops, (std::vector<std::string>{"test.network::Scale v3", "test.network::Pair v1"}));
  EXPECT_EQ(message_of([] { plugin::register_ops<Pair>("other", "1.0"); }),
            "plugin: plugin 'network_test v1.0' already has an op 'test.network::Pair'");
  EXPECT_EQ(plugin_ops().size(), before);
  EXPECT_EQ(loaded_plugins()[0].name, "network_test");
}

TEST_F(PluginTest, ManyThreadsMayRegisterAndLookUp) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 200; ++round) {
        plugin::register_ops<Scale, Pair>("network_test", "1.0");
        EXPECT_NE(find_plugin_op("test.network::Scale"), nullptr);
        EXPECT_FALSE(plugin_ops().empty());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A sound description, to be broken in one place.
struct Description {
  BertieKernel kernel = {sizeof(BertieKernel), "cpu", "k", nullptr, prepare, release, nullptr, nullptr, nullptr, run};
  const BertieKernel* kernels[2] = {&kernel, &kernel};
  BertieAttribute attributes[2] = {};
  const char* inputs[2] = {"x", "y"};
  BertieOp op = {};
  const BertieOp* ops[2] = {&op, &op};
  BertiePlugin plugin = {BERTIE_PLUGIN_ABI, sizeof(BertiePlugin), "described", "1", nullptr, 1, ops, 0, nullptr};

  Description() {
    attributes[0].name = "a";
    attributes[1].name = "b";
    op = {sizeof(BertieOp), "test.described::Op", 1, 0, 1, 2, inputs, 2, attributes, 1, kernels, nullptr, infer, nullptr,
          nullptr};
  }
  static int32_t prepare(void*, const BertieNode*, const BertieDevice*, void**, const BertieText*) { return BERTIE_REFUSED; }
  static void release(void*) {}
  static int32_t run(const void*, const BertieRun*, const BertieText*) { return BERTIE_FAILED; }
  static int32_t infer(void*, const BertieNode*, const BertieShapes*, const BertieText*) { return BERTIE_REFUSED; }
};

TEST(PluginDescriptionTest, EveryFaultIsNamed) {
  const auto fault = [](auto&& breakage) {
    Description description;
    breakage(description);
    return message_of([&] { register_plugin(description.plugin); });
  };
  using D = Description;
  EXPECT_EQ(fault([](D& d) { d.plugin.abi = 7; }),
            "plugin: made for version 7 of the plugin interface; this bertie has version 1");
  EXPECT_EQ(fault([](D& d) { d.plugin.size = 8; }), "plugin: its description has 8 bytes");
  EXPECT_EQ(fault([](D& d) { d.plugin.error = "no memory"; }), "plugin: no memory");
  EXPECT_EQ(fault([](D& d) { d.plugin.name = nullptr; }), "plugin: it has no name or no version");
  EXPECT_EQ(fault([](D& d) { d.plugin.version = ""; }), "plugin: it has no name or no version");
  EXPECT_EQ(fault([](D& d) { d.plugin.op_count = 0; }), "plugin: 0 ops; 1 to 1024 are taken");
  EXPECT_EQ(fault([](D& d) { d.plugin.ops = nullptr; }), "plugin: 1 ops; 1 to 1024 are taken");
  EXPECT_EQ(fault([](D& d) { d.ops[0] = nullptr; }), "plugin: op 0 is missing");
  EXPECT_EQ(fault([](D& d) { d.op.size = 4; }), "plugin: op 0's description has 4 bytes");
  for (const char* name : {"Op", "::Op", "domain::", "a b::Op", "a:::Op", ""}) {
    EXPECT_EQ(fault([&](D& d) { d.op.name = name; }), "plugin: op 0 is not named domain::Name") << name;
  }
  EXPECT_EQ(fault([](D& d) { d.plugin.op_count = 2; }), "plugin: op 'test.described::Op' is described twice");
  const std::string op = "plugin: op 'test.described::Op': ";
  EXPECT_EQ(fault([](D& d) { d.op.version = 0; }), op + "version 0, but versions count from 1");
  EXPECT_EQ(fault([](D& d) { d.op.infer = nullptr; }), op + "it has no shape rule");
  EXPECT_EQ(fault([](D& d) { d.op.required_inputs = 3; }), op + "3 of 2 inputs required; at most 64 are taken");
  EXPECT_EQ(fault([](D& d) { d.op.input_count = 65; }), op + "1 of 65 inputs required; at most 64 are taken");
  EXPECT_EQ(fault([](D& d) { d.op.inputs = nullptr; }), op + "its inputs have no names");
  EXPECT_EQ(fault([](D& d) { d.inputs[1] = nullptr; }), op + "input 1 has no name");
  EXPECT_EQ(fault([](D& d) { d.inputs[1] = "x"; }), op + "input 'x' is named twice");
  EXPECT_EQ(fault([](D& d) { d.op.variadic = 1, d.op.input_count = d.op.required_inputs = 0; }),
            op + "variadic, without an input");
  EXPECT_EQ(fault([](D& d) { d.op.attribute_count = -1; }), op + "-1 attributes; at most 256 are taken");
  EXPECT_EQ(fault([](D& d) { d.attributes[0].name = nullptr; }), op + "an attribute has no name");
  EXPECT_EQ(fault([](D& d) { d.attributes[1].name = "a"; }), op + "attribute 'a' is named twice");
  EXPECT_EQ(fault([](D& d) { d.attributes[0].name = "plugin_version"; }), op + "attribute 'plugin_version' is bertie's own");
  EXPECT_EQ(fault([](D& d) { d.attributes[0].type = 9; }), op + "attribute 'a' has no such type: 9");
  for (int32_t type : {BERTIE_TEXT, BERTIE_INTEGERS, BERTIE_REALS}) {
    EXPECT_EQ(fault([&](D& d) { d.attributes[0].type = type, d.attributes[0].count = 1; }), op + "attribute 'a' has no default");
  }
  EXPECT_EQ(fault([](D& d) { d.op.kernel_count = 0; }), op + "it has neither a kernel nor a composition");
  EXPECT_EQ(fault([](D& d) { d.op.kernel_count = 99; }), op + "99 kernels; at most 64 are taken");
  EXPECT_EQ(fault([](D& d) { d.kernels[0] = nullptr; }), op + "a kernel is missing");
  EXPECT_EQ(fault([](D& d) { d.kernel.size = 1; }), op + "a kernel's description has 1 bytes");
  EXPECT_EQ(fault([](D& d) { d.kernel.device = nullptr; }), op + "a kernel has no name or no device");
  EXPECT_EQ(fault([](D& d) { d.kernel.run = nullptr; }), op + "kernel 'k' lacks prepare, release or run");
  EXPECT_EQ(find_plugin_op("test.described::Op"), nullptr);
}

struct ThrowsWhenMade : plugin::Op {
  ThrowsWhenMade() : Op("test.network::Throws", 1) { throw std::runtime_error("no licence"); }
  void infer(const plugin::ShapeRule&) const override {}
};

TEST(PluginDescriptionTest, AnOpThatCannotBeMadeSaysWhy) {
  EXPECT_EQ(message_of([] { plugin::register_ops<ThrowsWhenMade>("throws", "1"); }), "plugin: no licence");
}

// The first bytes of an ELF file.
std::vector<std::byte> elf(int elf_class, int order, int type, int machine) {
  std::vector<std::byte> bytes(20);
  const std::array<int, 6> start = {0x7f, 'E', 'L', 'F', elf_class, order};
  for (size_t i = 0; i < start.size(); ++i) bytes[i] = std::byte(start[i]);
  const size_t low = order == 1 ? 0 : 1;
  bytes[16 + low] = std::byte(type);
  bytes[18 + low] = std::byte(machine);
  return bytes;
}

TEST(PluginLibraryTest, OnlyLibrariesOfThisMachinePass) {
  const auto own = elf(2, 1, 3, 62);
  EXPECT_EQ(library_fault(own, own), "");
  EXPECT_EQ(library_fault({}, own), "not a shared library");
  EXPECT_EQ(library_fault(std::span(own).first(19), own), "not a shared library");
  EXPECT_EQ(library_fault(elf(2, 1, 1, 62), own), "not a shared library");  // an object file
  EXPECT_EQ(library_fault(elf(2, 1, 3, 183), own), "made for aarch64 of 64 bits, this program for x86-64 of 64");
  EXPECT_EQ(library_fault(elf(1, 1, 3, 3), own), "made for x86 of 32 bits, this program for x86-64 of 64");
  EXPECT_EQ(library_fault(elf(2, 2, 3, 22), own), "made for s390x of 64 bits, this program for x86-64 of 64");
  EXPECT_EQ(library_fault(elf(2, 1, 3, 183), {}), "");  // unknown program: the loader decides
}

TEST(PluginLibraryTest, FilesThatAreNone) {
  EXPECT_EQ(message_of([] { load_plugin("no/such/lib.so"); }), "plugin 'no/such/lib.so': no such file");
  EXPECT_EQ(message_of([] { load_plugin("src"); }), "plugin 'src': a folder, not a shared library");
  EXPECT_EQ(message_of([] { load_plugin("README.md"); }), "plugin 'README.md': not a shared library");
  EXPECT_EQ(message_of([] { load_plugin(""); }), "plugin '': no such file");
}

}  // namespace
}  // namespace bertie
