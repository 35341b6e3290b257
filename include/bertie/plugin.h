// Custom ops: a shape rule, kernels and a meaning of your own, under a name like "my.domain::FancyNorm"; and custom calibrators.
// Long, because the C interface and the C++ classes over it are all that a plugin is built with: one header to take along.
//
// A plugin is a shared library made with this header alone (it links nothing of bertie), or code of the program that calls
// bertie::plugin::register_ops. Derive from bertie::plugin::Op or bertie::Calibrator, then name the classes at the end of the file:
//
//   BERTIE_PLUGIN("fancy", "1.0", FancyNorm)
//
// and load it with `--plugin libfancy.so` or bertie::load_plugin. docs/design/plugins.md is the guide,
// examples/layer_norm_plugin/ a whole plugin.
//
// Only the C structs of the first half cross the border between bertie and a plugin, so that the two may be built by different
// compilers. The C++ classes of the second half are compiled into the plugin. The first half alone may be used from C.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// ---- The C interface ----
// Strings are UTF-8 and end in 0. A plugin's descriptions live as long as the process; what bertie passes to a function lives
// until that function returns. Structs with `size` (sizeof, set by whoever fills it) may grow at their end without a new number
// here; nothing else may change under one.
#define BERTIE_PLUGIN_ABI 1

// What a plugin's function returns.
enum {
  BERTIE_OK = 0,
  BERTIE_REFUSED = 1,  // the inputs, or the step, are not for this op or kernel; the text says what was expected, or why
  BERTIE_FAILED = 2    // the plugin's code failed; the text says how
};

enum {
  BERTIE_F32 = 0,
  BERTIE_F16 = 1,
  BERTIE_BF16 = 2,
  BERTIE_F64 = 3,
  BERTIE_I8 = 4,
  BERTIE_U8 = 5,
  BERTIE_I32 = 6,
  BERTIE_I64 = 7,
  BERTIE_BOOL = 8
};

// Where a function leaves a sentence. The bytes are copied.
typedef struct BertieText {
  void* target;
  void (*write)(void* target, const char* text, size_t length);
} BertieText;

// A number, or a symbol such as "batch" (size -1). In a result, an empty symbol stands for an extent only the run can tell.
typedef struct BertieDim {
  int64_t size;
  const char* symbol;  // NULL: a number
} BertieDim;

enum { BERTIE_INTEGER = 0, BERTIE_REAL = 1, BERTIE_TEXT = 2, BERTIE_INTEGERS = 3, BERTIE_REALS = 4 };

typedef struct BertieAttribute {
  const char* name;
  int32_t type;      // which of the fields below holds the value
  int32_t required;  // of an op's description: there is no default
  int64_t integer;
  double real;
  const char* text;
  const int64_t* integers;
  const double* reals;
  int64_t count;  // of integers, reals, or bytes of text
} BertieAttribute;

// An input or output of a node, before the run.
typedef struct BertieValue {
  const char* name;  // NULL: an optional input that is left out
  int32_t dtype;
  int32_t rank;
  const BertieDim* shape;
  int32_t is_constant;      // its shape is all numbers then
  const void* constant;     // its bytes in the host's memory, dense and row-major; NULL where there are none
  const int64_t* elements;  // of a small integer tensor, where they are known before the run; else NULL
  int64_t element_count;
} BertieValue;

typedef struct BertieNode {
  uint32_t size;
  const char* op;
  const char* name;
  int64_t input_count;
  const BertieValue* inputs;
  int64_t output_count;  // 0 in the shape rule
  const BertieValue* outputs;
  int64_t attribute_count;
  const BertieAttribute* attributes;  // all that the op declares, defaults filled in
} BertieNode;

// Takes the results of a shape rule, first to last.
typedef struct BertieShapes {
  uint32_t size;
  void* target;
  void (*output)(void* target, int32_t dtype, int32_t rank, const BertieDim* shape);
} BertieShapes;

// Takes an op's composition from other ops. Values are numbers that these functions give.
typedef struct BertieGraph {
  uint32_t size;
  void* target;
  int64_t input_count;
  const int32_t* inputs;  // the node's; -1: left out
  // Copies the bytes. -1: failed; return BERTIE_FAILED then, bertie keeps the reason.
  int32_t (*constant)(void* target, int32_t dtype, int32_t rank, const int64_t* extents, const void* data);
  // How many outputs the node has, of which at most `capacity` are written. -1: failed, as above.
  int64_t (*node)(void* target, const char* op, int64_t input_count, const int32_t* inputs, int64_t attribute_count,
                  const BertieAttribute* attributes, int64_t capacity, int32_t* outputs);
  void (*output)(void* target, int32_t value);  // the composition's results, first to last
} BertieGraph;

typedef struct BertieDevice {
  uint32_t size;
  const char* name;  // "cpu", "cuda"
  int32_t index;     // of several GPUs
  int32_t threads;   // of the pool that parallel_for uses
  void* stream;      // cudaStream_t on "cuda": kernels are launched into it and not waited for; NULL on "cpu"
} BertieDevice;

// Upper bounds of the batches that a session takes.
typedef struct BertieLimits {
  uint32_t size;
  int64_t tokens, sequences, longest, rows;
} BertieLimits;

// Dense, row-major, in the device's memory.
typedef struct BertieTensor {
  void* data;  // NULL: left out, or a constant that the kernel said it does not read
  const int64_t* extents;
  int32_t dtype;
  int32_t rank;
} BertieTensor;

// One execution of a step. Inputs are not to be written to.
typedef struct BertieRun {
  uint32_t size;
  const BertieDevice* device;
  int64_t input_count;
  const BertieTensor* inputs;
  int64_t output_count;
  const BertieTensor* outputs;
  // The packed batch: sequence b is rows [cumulative_lengths[b], cumulative_lengths[b+1]) of a [tokens, ...] tensor. NULL where the
  // step runs padded. `columns`: place of each token in its padded row; NULL: 0, 1, ... in each sequence.
  int64_t tokens, sequences, longest, rows;
  const int32_t* cumulative_lengths;
  const int32_t* columns;
  void* workspace;  // 64-byte aligned (256 on "cuda"), in the device's memory
  size_t workspace_bytes;
  // Calls body(argument, task, worker) once for each task in [0, tasks), worker in [0, device->threads), and returns when all
  // are done. Not to be called from a body. NULL on "cuda".
  void* pool;
  void (*parallel_for)(void* pool, int64_t tasks, void (*body)(void* argument, int64_t task, int32_t worker), void* argument);
} BertieRun;

typedef struct BertieKernel {
  uint32_t size;
  const char* device;  // "cpu", "cuda"
  const char* name;    // "fancy_norm_avx2"
  void* self;
  // BERTIE_OK sets *step, and may say in `text` why it suits. Shapes may hold symbols: one step serves every batch.
  int32_t (*prepare)(void* self, const BertieNode* node, const BertieDevice* device, void** step, const BertieText* text);
  void (*release)(void* step);
  // Scratch for any batch within the limits; NULL: none. Negative: failed.
  int64_t (*workspace_bytes)(const void* step, const BertieLimits* limits, int32_t threads);
  // Whether run() still reads the bytes of constant input `input` (0: it kept its own copy); NULL: always.
  int32_t (*reads_constant)(const void* step, int64_t input);
  int64_t (*packed_bytes)(const void* step);  // memory that the step owns; NULL: none
  // May be called from several threads at once. Should allocate nothing.
  int32_t (*run)(const void* step, const BertieRun* run, const BertieText* text);
} BertieKernel;

typedef struct BertieOp {
  uint32_t size;
  const char* name;  // "my.domain::FancyNorm"
  int32_t version;   // >= 1; of the op's meaning: engine files keep it and ask for the same
  int32_t variadic;  // the last input may be repeated
  int64_t required_inputs;
  int64_t input_count;
  const char* const* inputs;  // names, optional ones last
  int64_t attribute_count;
  const BertieAttribute* attributes;
  int64_t kernel_count;
  const BertieKernel* const* kernels;  // in the order in which they are asked
  void* self;
  int32_t (*infer)(void* self, const BertieNode* node, const BertieShapes* shapes, const BertieText* text);
  // 1: row [b, s] of every result depends on row [b, s] alone of the inputs that have rows, and the rule takes [tokens, ...] for
  // [batch, sequence, ...]. NULL: never.
  int32_t (*row_wise)(void* self, const BertieNode* node);
  // BERTIE_REFUSED: this node has none. NULL: never.
  int32_t (*compose)(void* self, const BertieNode* node, const BertieGraph* graph, const BertieText* text);
} BertieOp;

// How often magnitudes occur: bin i of `bins` holds those in [i, i + 1) * range / bins.
typedef struct BertieHistogram {
  uint32_t size;
  double range;  // above 0
  int64_t bins;
  const uint64_t* counts;
} BertieHistogram;

// Chooses scales of eight-bit activations: `bertie calibrate --method NAME`, bertie::find_calibrator.
typedef struct BertieCalibrator {
  uint32_t size;
  const char* name;  // "my.domain::Name"
  void* self;
  // *magnitude: what becomes 127, finite and above 0. May be called from several threads at once.
  int32_t (*threshold)(void* self, const BertieHistogram* histogram, double* magnitude, const BertieText* text);
} BertieCalibrator;

typedef struct BertiePlugin {
  uint32_t abi;  // BERTIE_PLUGIN_ABI; the first field under every number
  uint32_t size;
  const char* name;
  const char* version;  // for people: "1.0"
  const char* error;    // why the description could not be made; NULL: it could
  int64_t op_count;
  const BertieOp* const* ops;
  // A description may end here, by its `size`.
  int64_t calibrator_count;
  const BertieCalibrator* const* calibrators;
} BertiePlugin;

// A plugin library exports   const BertiePlugin* bertie_plugin(void)
typedef const BertiePlugin* (*BertiePluginEntry)(void);  // NOLINT(modernize-redundant-void-arg): C too
#define BERTIE_PLUGIN_ENTRY "bertie_plugin"

#ifdef __cplusplus
}  // extern "C"

#include <algorithm>
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "bertie/calibration.h"
#include "bertie/network.h"

namespace bertie {

// ---- Loading ----

struct PluginInfo {
  std::string name, version;
  std::string path;              // of the library; empty where the program registered it
  std::vector<std::string> ops;  // "my.domain::FancyNorm v1"
  std::vector<std::string> calibrators;
};

// Loads a plugin library and registers its ops and calibrators, for the life of the process; loading one again changes nothing. From then on
// Network::add_node, the ONNX importer (domain and op type), engine files and engines know them. Safe from any thread.
// Throws Error(not_found) where there is no such file, Error(invalid_file) where it is no library for this machine, or no plugin,
// Error(unsupported) for another BERTIE_PLUGIN_ABI, Error(invalid_argument) for an op, or another plugin's calibrator, whose name is taken.
BERTIE_API PluginInfo load_plugin(const std::string& path);
// The same for a description in this program; see plugin::register_ops.
BERTIE_API PluginInfo register_plugin(const BertiePlugin& plugin);
BERTIE_API std::vector<PluginInfo> loaded_plugins();  // in the order in which they came

// ---- Writing a plugin in C++ ----
// Any exception out of these functions, a kernel's loop bodies included, reaches bertie's caller as one Error(plugin_failed) that
// names plugin, op and node. The namespace is versioned so that plugins built with different headers may live in one process.
namespace plugin {
inline namespace v1 {

// Thrown by refuse(): the op or the kernel does not take this node.
struct Refusal {
  std::string text;
};
[[noreturn]] inline void refuse(std::string text) { throw Refusal{std::move(text)}; }

// A node and what is known of its inputs before the run.
class NodeView {
 public:
  explicit NodeView(const BertieNode& node) : node_(&node) {}

  std::string_view op() const { return node_->op; }
  std::string_view name() const { return node_->name; }
  size_t input_count() const { return static_cast<size_t>(node_->input_count); }
  bool has(size_t input) const { return input < input_count() && node_->inputs[input].name; }
  DType dtype(size_t input) const { return static_cast<DType>(value(input).dtype); }
  SymbolicShape shape(size_t input) const {
    SymbolicShape shape;
    const BertieValue& own = value(input);
    for (int32_t i = 0; i < own.rank; ++i) {
      if (own.shape[i].symbol)
        shape.emplace_back(own.shape[i].symbol);
      else
        shape.emplace_back(own.shape[i].size);
    }
    return shape;
  }
  bool is_constant(size_t input) const { return has(input) && value(input).is_constant; }
  // The bytes of a constant input, in the host's memory.
  template <typename T>
  const T* constant(size_t input) const {
    return static_cast<const T*>(value(input).constant);
  }

  // Attributes, the default where the node does not state one. Throws std::logic_error for one that the op does not declare so.
  int64_t integer(std::string_view attribute) const { return find(attribute, BERTIE_INTEGER).integer; }
  double real(std::string_view attribute) const { return find(attribute, BERTIE_REAL).real; }
  std::string text(std::string_view attribute) const {
    const BertieAttribute& found = find(attribute, BERTIE_TEXT);
    return {found.text, static_cast<size_t>(found.count)};
  }
  std::span<const int64_t> integers(std::string_view attribute) const {
    const BertieAttribute& found = find(attribute, BERTIE_INTEGERS);
    return {found.integers, static_cast<size_t>(found.count)};
  }
  std::span<const double> reals(std::string_view attribute) const {
    const BertieAttribute& found = find(attribute, BERTIE_REALS);
    return {found.reals, static_cast<size_t>(found.count)};
  }
  const BertieNode& abi() const { return *node_; }

 private:
  const BertieValue& value(size_t input) const {
    if (!has(input)) throw std::logic_error("input " + std::to_string(input) + " is left out");
    return node_->inputs[input];
  }
  const BertieAttribute& find(std::string_view attribute, int32_t type) const {
    for (int64_t i = 0; i < node_->attribute_count; ++i) {
      const BertieAttribute& candidate = node_->attributes[i];
      if (attribute == candidate.name && candidate.type == type) return candidate;
    }
    throw std::logic_error("no attribute '" + std::string(attribute) + "' of this type is declared");
  }

  const BertieNode* node_;
};

// A node whose results are asked for.
class ShapeRule : public NodeView {
 public:
  ShapeRule(const BertieNode& node, const BertieShapes& shapes) : NodeView(node), shapes_(shapes) {}

  // The error that the caller of add_node gets names op, node, inputs and this.
  void require(bool condition, std::string_view expected) const {
    if (!condition) refuse(std::string(expected));
  }
  // The next output. A Dim of an empty symbol is an extent that only the run can tell.
  void output(DType dtype, const SymbolicShape& shape) const {
    std::vector<BertieDim> dims;
    for (const Dim& dim : shape) dims.push_back({dim.size, dim.size == -1 ? dim.symbol.c_str() : nullptr});
    shapes_.output(shapes_.target, static_cast<int32_t>(dtype), static_cast<int32_t>(dims.size()), dims.data());
  }

 private:
  const BertieShapes& shapes_;
};

namespace detail {
// `storage` keeps nothing: the attribute must live as long as the result.
inline BertieAttribute to_abi(const std::string& name, const Attribute& attribute, bool required = false) {
  BertieAttribute abi = {};
  abi.name = name.c_str();
  abi.required = required;
  abi.type = static_cast<int32_t>(attribute.index());
  if (const auto* integer = std::get_if<int64_t>(&attribute)) abi.integer = *integer;
  if (const auto* real = std::get_if<double>(&attribute)) abi.real = *real;
  if (const auto* text = std::get_if<std::string>(&attribute)) {
    abi.text = text->c_str();
    abi.count = static_cast<int64_t>(text->size());
  }
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&attribute)) {
    abi.integers = integers->data();
    abi.count = static_cast<int64_t>(integers->size());
  }
  if (const auto* reals = std::get_if<std::vector<double>>(&attribute)) {
    abi.reals = reals->data();
    abi.count = static_cast<int64_t>(reals->size());
  }
  return abi;
}

// Calls body, and turns what it throws into a status and a sentence.
template <typename Body>
int32_t guarded(const BertieText& text, Body&& body) noexcept {
  const auto say = [&](std::string_view words) { text.write(text.target, words.data(), words.size()); };
  try {
    body();
    return BERTIE_OK;
  } catch (const Refusal& refusal) {
    say(refusal.text);
    return BERTIE_REFUSED;
  } catch (const std::exception& error) {
    say(error.what());
  } catch (...) {
    say("an exception that is no std::exception");
  }
  return BERTIE_FAILED;
}
}  // namespace detail

// Lays an op down from others, as Network does.
class Composition : public NodeView {
 public:
  Composition(const BertieNode& node, const BertieGraph& graph) : NodeView(node), graph_(graph) {}

  ValueId input(size_t index) const { return index < input_count() ? graph_.inputs[index] : kNone; }
  ValueId add_constant(DType dtype, std::span<const int64_t> extents, const void* data) const {
    return taken(
        graph_.constant(graph_.target, static_cast<int32_t>(dtype), static_cast<int32_t>(extents.size()), extents.data(), data));
  }
  ValueId add_scalar(float value) const { return add_constant(DType::f32, {}, &value); }
  // A constant i64 vector, for ops that take shapes and axes as inputs.
  ValueId add_integers(std::span<const int64_t> numbers) const {
    const int64_t extent = static_cast<int64_t>(numbers.size());
    return add_constant(DType::i64, {&extent, 1}, numbers.data());
  }
  // Any op but plugins'. At most 16 outputs.
  std::vector<ValueId> add_node(const std::string& op, std::span<const ValueId> inputs, const Attributes& attributes = {}) const {
    std::vector<BertieAttribute> abi;
    for (const auto& [name, value] : attributes) abi.push_back(detail::to_abi(name, value));
    std::vector<ValueId> outputs(16);
    const int64_t count =
        graph_.node(graph_.target, op.c_str(), static_cast<int64_t>(inputs.size()), inputs.data(),
                    static_cast<int64_t>(abi.size()), abi.data(), static_cast<int64_t>(outputs.size()), outputs.data());
    taken(count < 0 ? kNone : 0);
    outputs.resize(static_cast<size_t>(std::min<int64_t>(count, 16)));
    return outputs;
  }
  ValueId add_node(const std::string& op, std::initializer_list<ValueId> inputs, const Attributes& attributes = {}) const {
    return add_node(op, std::span<const ValueId>(inputs.begin(), inputs.size()), attributes)[0];
  }
  // The next result.
  void output(ValueId value) const { graph_.output(graph_.target, value); }

 private:
  static ValueId taken(ValueId value) {
    if (value < 0) throw std::runtime_error("its composition was not taken");  // bertie knows why
    return value;
  }
  const BertieGraph& graph_;
};

// What is run. Making it, and all its functions, allocate nothing.
class Run {
 public:
  explicit Run(const BertieRun& run) : run_(run) {}

  size_t input_count() const { return static_cast<size_t>(run_.input_count); }
  template <typename T>
  const T* input(size_t index) const {
    return static_cast<const T*>(run_.inputs[index].data);
  }
  template <typename T>
  T* output(size_t index) const {
    return static_cast<T*>(run_.outputs[index].data);
  }
  std::span<const int64_t> input_shape(size_t index) const { return shape(run_.inputs[index]); }
  std::span<const int64_t> output_shape(size_t index) const { return shape(run_.outputs[index]); }
  DType input_dtype(size_t index) const { return static_cast<DType>(run_.inputs[index].dtype); }
  std::span<std::byte> workspace() const { return {static_cast<std::byte*>(run_.workspace), run_.workspace_bytes}; }
  int threads() const { return run_.device->threads; }
  void* stream() const { return run_.device->stream; }
  const BertieRun& abi() const { return run_; }

  // body(task, worker) for each task in [0, tasks), shared between the threads; worker in [0, threads()). Throws what the first
  // body to fail threw; the other tasks run all the same.
  template <typename Body>
  void parallel_for(int64_t tasks, Body&& body) const {
    struct Loop {
      std::remove_reference_t<Body>& body;
      std::atomic_flag failed = ATOMIC_FLAG_INIT;
      std::exception_ptr error = nullptr;
    } loop{body};
    run_.parallel_for(
        run_.pool, tasks,
        [](void* argument, int64_t task, int32_t worker) noexcept {
          Loop& own = *static_cast<Loop*>(argument);
          try {
            own.body(task, worker);
          } catch (...) {
            if (!own.failed.test_and_set()) own.error = std::current_exception();
          }
        },
        &loop);
    if (loop.error) std::rethrow_exception(loop.error);
  }

 private:
  static std::span<const int64_t> shape(const BertieTensor& tensor) { return {tensor.extents, static_cast<size_t>(tensor.rank)}; }
  const BertieRun& run_;
};

using Limits = BertieLimits;
using Device = BertieDevice;

// One prepared step. Immutable after it was made: run() may be called from several threads at once.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void run(const Run& run) const = 0;
  // Scratch for any batch within the limits, shared by all threads.
  virtual size_t workspace_bytes(const Limits&, int /*threads*/) const { return 0; }
  // Whether run() still reads the bytes of constant input `index` (false where the kernel keeps its own copy).
  virtual bool reads_constant(size_t /*index*/) const { return true; }
  virtual size_t packed_bytes() const { return 0; }  // memory the kernel owns
};

// A custom op. The constructor declares its inputs, attributes and kernels.
class Op {
 public:
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;
  virtual ~Op() = default;

  // Checks the inputs' dtypes and shapes and states each output's. It runs again whenever shapes change: symbols at first, then
  // perhaps [tokens, ...] for [batch, sequence, ...], or numbers.
  virtual void infer(const ShapeRule& rule) const = 0;
  // Whether row [b, s] of every result depends on row [b, s] alone of the inputs that have rows. Then padding can be left out.
  virtual bool row_wise(const NodeView&) const { return false; }
  // The op from other ops: its meaning where no kernel takes it, and what its kernels may be tested against. false: there is none.
  virtual bool compose(const Composition&) const { return false; }

 protected:
  // name: "my.domain::FancyNorm". version: of the op's meaning, >= 1.
  Op(std::string name, int version) : name_(std::move(name)), version_(version) {}

  void add_input(std::string name) {
    inputs_.push_back(std::move(name));
    required_inputs_ = inputs_.size();
  }
  void add_optional_input(std::string name) { inputs_.push_back(std::move(name)); }
  void set_variadic() { variadic_ = true; }  // the last input may be repeated
  // Its type is the default's.
  void add_attribute(std::string name, Attribute value) { attributes_.push_back({std::move(name), std::move(value), false}); }
  // `type` is an example: only its type counts.
  void add_required_attribute(std::string name, Attribute type) {
    attributes_.push_back({std::move(name), std::move(type), true});
  }
  // Makes a kernel for a node, or calls refuse(). Kernels of one device are asked in the order in which they were added.
  using Prepare = std::function<std::unique_ptr<Kernel>(const NodeView&, const Device&)>;
  void add_kernel(std::string device, std::string name, Prepare prepare) {
    kernels_.push_back(std::make_unique<Entry>(Entry{std::move(device), std::move(name), std::move(prepare), {}}));
  }

 private:
  friend class Library;
  struct Declared {
    std::string name;
    Attribute value;
    bool required;
  };
  struct Entry {
    std::string device, name;
    Prepare prepare;
    BertieKernel abi;
  };

  const BertieOp& make_abi() {
    for (const std::string& input : inputs_) abi_inputs_.push_back(input.c_str());
    for (const Declared& own : attributes_) abi_attributes_.push_back(detail::to_abi(own.name, own.value, own.required));
    for (const auto& kernel : kernels_) {
      kernel->abi = {.size = sizeof(BertieKernel),
                     .device = kernel->device.c_str(),
                     .name = kernel->name.c_str(),
                     .self = kernel.get(),
                     .prepare = abi_prepare,
                     .release = abi_release,
                     .workspace_bytes = abi_workspace_bytes,
                     .reads_constant = abi_reads_constant,
                     .packed_bytes = abi_packed_bytes,
                     .run = abi_run};
      abi_kernels_.push_back(&kernel->abi);
    }
    abi_ = {.size = sizeof(BertieOp),
            .name = name_.c_str(),
            .version = version_,
            .variadic = variadic_,
            .required_inputs = static_cast<int64_t>(required_inputs_),
            .input_count = static_cast<int64_t>(abi_inputs_.size()),
            .inputs = abi_inputs_.data(),
            .attribute_count = static_cast<int64_t>(abi_attributes_.size()),
            .attributes = abi_attributes_.data(),
            .kernel_count = static_cast<int64_t>(abi_kernels_.size()),
            .kernels = abi_kernels_.data(),
            .self = this,
            .infer = abi_infer,
            .row_wise = abi_row_wise,
            .compose = abi_compose};
    return abi_;
  }

  static int32_t abi_infer(void* self, const BertieNode* node, const BertieShapes* shapes, const BertieText* text) {
    return detail::guarded(*text, [&] { static_cast<const Op*>(self)->infer(ShapeRule(*node, *shapes)); });
  }
  static int32_t abi_row_wise(void* self, const BertieNode* node) {
    try {
      return static_cast<const Op*>(self)->row_wise(NodeView(*node));
    } catch (...) {
      return 0;  // not known to be
    }
  }
  static int32_t abi_compose(void* self, const BertieNode* node, const BertieGraph* graph, const BertieText* text) {
    return detail::guarded(*text, [&] {
      if (!static_cast<const Op*>(self)->compose(Composition(*node, *graph))) refuse("the op has no composition");
    });
  }
  static int32_t abi_prepare(void* self, const BertieNode* node, const BertieDevice* device, void** step,
                             const BertieText* text) {
    return detail::guarded(*text, [&] {
      *step = static_cast<const Entry*>(self)->prepare(NodeView(*node), *device).release();
      if (!*step) throw std::logic_error("prepare gave no kernel");
    });
  }
  static void abi_release(void* step) { delete static_cast<Kernel*>(step); }
  static int64_t abi_workspace_bytes(const void* step, const BertieLimits* limits, int32_t threads) {
    try {
      return static_cast<int64_t>(static_cast<const Kernel*>(step)->workspace_bytes(*limits, threads));
    } catch (...) {
      return -1;
    }
  }
  static int32_t abi_reads_constant(const void* step, int64_t input) {
    return static_cast<const Kernel*>(step)->reads_constant(static_cast<size_t>(input));
  }
  static int64_t abi_packed_bytes(const void* step) {
    return static_cast<int64_t>(static_cast<const Kernel*>(step)->packed_bytes());
  }
  static int32_t abi_run(const void* step, const BertieRun* run, const BertieText* text) {
    return detail::guarded(*text, [&] { static_cast<const Kernel*>(step)->run(Run(*run)); });
  }

  std::string name_;
  int version_;
  bool variadic_ = false;
  std::vector<std::string> inputs_;
  size_t required_inputs_ = 0;
  std::vector<Declared> attributes_;
  std::vector<std::unique_ptr<Entry>> kernels_;
  BertieOp abi_ = {};
  std::vector<const char*> abi_inputs_;
  std::vector<BertieAttribute> abi_attributes_;
  std::vector<const BertieKernel*> abi_kernels_;
};

// A plugin's ops and calibrators with their C description. Must live as long as the process.
class Library {
 public:
  template <typename... Classes>
  static const BertiePlugin* make(const char* name, const char* version) {
    auto* library = new Library;  // never freed: bertie keeps reading it
    library->abi_ = {BERTIE_PLUGIN_ABI, sizeof(BertiePlugin), name, version, nullptr, 0, nullptr, 0, nullptr};
    try {
      (library->add<Classes>(), ...);
      for (const auto& op : library->ops_) library->abi_ops_.push_back(&op->make_abi());
      for (const auto& own : library->calibrators_) {
        own->abi = {sizeof(BertieCalibrator), own->name.c_str(), own.get(), abi_threshold};
        library->abi_calibrators_.push_back(&own->abi);
      }
    } catch (const std::exception& error) {
      library->error_ = error.what();
    } catch (...) {
      library->error_ = "an exception that is no std::exception";
    }
    if (!library->error_.empty()) library->abi_.error = library->error_.c_str();
    library->abi_.op_count = static_cast<int64_t>(library->abi_ops_.size());
    library->abi_.ops = library->abi_ops_.data();
    library->abi_.calibrator_count = static_cast<int64_t>(library->abi_calibrators_.size());
    library->abi_.calibrators = library->abi_calibrators_.data();
    return &library->abi_;
  }

 private:
  struct OwnCalibrator {
    std::unique_ptr<Calibrator> calibrator;
    std::string name;
    BertieCalibrator abi;
  };

  Library() = default;

  template <typename Class>
  void add() {
    if constexpr (std::is_base_of_v<Calibrator, Class>) {
      auto own = std::make_unique<OwnCalibrator>(OwnCalibrator{std::make_unique<Class>(), {}, {}});
      own->name = own->calibrator->name();
      calibrators_.push_back(std::move(own));
    } else {
      ops_.push_back(std::make_unique<Class>());
    }
  }

  static int32_t abi_threshold(void* self, const BertieHistogram* histogram, double* magnitude, const BertieText* text) {
    return detail::guarded(*text, [&] {
      if (histogram->bins != static_cast<int64_t>(Histogram::kBins)) throw std::logic_error("a histogram of another size");
      Histogram copy(histogram->range);
      for (size_t bin = 0; bin < Histogram::kBins; ++bin) copy.add_count(bin, histogram->counts[bin]);
      *magnitude = static_cast<const OwnCalibrator*>(self)->calibrator->threshold(copy);
    });
  }

  std::vector<std::unique_ptr<Op>> ops_;
  std::vector<const BertieOp*> abi_ops_;
  std::vector<std::unique_ptr<OwnCalibrator>> calibrators_;
  std::vector<const BertieCalibrator*> abi_calibrators_;
  std::string error_;
  BertiePlugin abi_ = {};
};

// Registers ops, or calibrators, of the program's own. Throws as bertie::load_plugin.
template <typename... Classes>
PluginInfo register_ops(const char* name, const char* version) {
  static const BertiePlugin* const plugin = Library::make<Classes...>(name, version);
  return register_plugin(*plugin);
}

}  // namespace v1
}  // namespace plugin
}  // namespace bertie

// At the end of a plugin library's source, with the classes of its ops and calibrators.
#define BERTIE_PLUGIN(name, version, ...)                                                                \
  extern "C" __attribute__((visibility("default"))) const BertiePlugin* bertie_plugin(void) {            \
    static const BertiePlugin* const plugin = bertie::plugin::Library::make<__VA_ARGS__>(name, version); \
    return plugin;                                                                                       \
  }

#endif  // __cplusplus
